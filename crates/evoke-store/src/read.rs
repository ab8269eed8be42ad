//! The readers: named threads, each with a connection, that take questions from a bounded queue.
//!
//! A question sees one moment of the database, however many statements it takes, and never waits for the writer.

pub(crate) mod dead;
pub(crate) mod due;
pub(crate) mod events;
pub(crate) mod holdings;
pub(crate) mod logs;
pub(crate) mod runs;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use evoke_core::store::StoreError;
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::limit;
use crate::trouble::Trouble;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The reading threads.
pub(crate) struct Readers {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    room: Arc<Semaphore>,
    /// How many threads are through.
    ended: watch::Sender<usize>,
    count: usize,
}

#[derive(Default)]
struct Waiting {
    questions: VecDeque<Question>,
    closed: bool,
}

impl Readers {
    /// Starts a thread for each connection.
    pub fn start(connections: Vec<Connection>) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let readers = Arc::new(Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            room: Arc::new(Semaphore::new(limit::READS_WAITING)),
            ended: watch::channel(0).0,
            count: connections.len(),
        });
        let start = |(n, conn)| {
            let readers = readers.clone();
            thread::Builder::new().name(format!("evoke-read-{n}")).spawn(move || readers.run(conn))
        };
        let threads = connections.into_iter().enumerate().map(start).collect::<Result<_, _>>()?;
        Ok((readers, threads))
    }

    /// Asks in a read transaction. Waits for a reader.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.work(move |conn| {
            let moment = conn.unchecked_transaction().map_err(Trouble::from)?;
            Ok(question(&moment)?)
        })
        .await
    }

    /// Does something that blocks. Waits for a reader.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Closed("it was shut down".to_owned());
        let room = self.room.clone().acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |conn| {
            let _ = reply.send(work(conn));
            drop(room);
        });
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(closed());
            }
            waiting.questions.push_back(question);
        }
        self.changed.notify_one();
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("a reader gave no answer".to_owned())))
    }

    /// No further questions; those that wait are answered.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until all threads are through.
    pub async fn ended(&self) {
        let all = self.count;
        // The sender is ours, so this cannot fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended == all).await;
    }

    fn run(&self, conn: Connection) {
        while let Some(question) = self.take() {
            // One bad question must not take the reader from the others; whoever asked hears that there is no answer.
            if catch_unwind(AssertUnwindSafe(|| question(&conn))).is_err() {
                tracing::error!("a question to the store panicked");
            }
        }
        drop(conn);
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn take(&self) -> Option<Question> {
        let mut waiting = self.waiting.lock();
        loop {
            match waiting.questions.pop_front() {
                Some(question) => return Some(question),
                None if waiting.closed => return None,
                None => self.changed.wait(&mut waiting),
            }
        }
    }
}
