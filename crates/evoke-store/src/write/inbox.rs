//! What waits for the writer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use evoke_core::store::{Space, StoreError};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::Job;
use crate::limit;

/// A queue that one thread empties. How much may be in it is bounded by whoever puts something in.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Calls of `record` that are not durable yet.
    buffered: AtomicU64,
    last: AtomicU64,
    watched: Mutex<HashMap<Space, watch::Sender<u64>>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    /// How many of them somebody waits for.
    urgent: usize,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// No new jobs; those there are will be done.
    Closing,
    /// A write failed: nothing will be done any more.
    Poisoned(String),
}

/// How soon a job is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Somebody waits.
    Now,
    /// With the next batch, or after [`limit::RECORD_DELAY`].
    Soon,
}

impl Inbox {
    pub fn new(last: u64) -> Self {
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            buffered: AtomicU64::new(0),
            last: AtomicU64::new(last),
            watched: Mutex::default(),
        }
    }

    pub fn put(&self, job: Box<dyn Job>, haste: Haste) -> Result<(), StoreError> {
        let mut queue = self.queue.lock();
        queue.state.check()?;
        queue.jobs.push_back(job);
        queue.urgent += usize::from(haste == Haste::Now);
        let waiting = queue.jobs.len() - queue.urgent;
        // A first record starts the writer's clock; many end its patience.
        if haste == Haste::Now || waiting == 1 || waiting >= limit::RECORDS_WAITING {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes a batch of it; `None` once there will be none any more.
    pub fn take(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut queue = self.queue.lock();
        let mut overdue = false;
        loop {
            let open = matches!(queue.state, State::Open);
            let hurry = queue.urgent > 0 || overdue || queue.jobs.len() >= limit::RECORDS_WAITING || !open;
            if hurry && !queue.jobs.is_empty() {
                return Some(queue.batch());
            }
            match (open, queue.jobs.is_empty()) {
                (false, _) => return None,
                (true, true) => self.changed.wait(&mut queue),
                (true, false) => overdue = self.changed.wait_for(&mut queue, limit::RECORD_DELAY).timed_out(),
            }
        }
    }

    /// No further jobs.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        if matches!(queue.state, State::Open) {
            queue.state = State::Closing;
        }
        self.changed.notify_all();
    }

    /// No further jobs, and those that wait will not be done. The first reason stays.
    pub fn poison(&self, why: String) {
        let mut queue = self.queue.lock();
        if !matches!(queue.state, State::Poisoned(_)) {
            queue.state = State::Poisoned(why);
        }
    }

    /// The writer is gone: nobody will take what waits. Those who wait learn that the outcome is unknown.
    pub fn abandon(&self) {
        self.close();
        self.poison("its writer ended unexpectedly".to_owned());
        self.queue.lock().jobs.clear();
    }

    pub fn poisoned(&self) -> Option<String> {
        match &self.queue.lock().state {
            State::Poisoned(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Whether jobs are taken.
    pub fn check(&self) -> Result<(), StoreError> {
        self.queue.lock().state.check()
    }

    /// Notes a call of `record` that waits.
    pub fn buffer(&self) {
        self.buffered.fetch_add(1, Ordering::SeqCst);
    }

    /// Such a call is durable, or failed.
    pub fn unbuffer(&self) {
        self.buffered.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn has_buffered(&self) -> bool {
        self.buffered.load(Ordering::SeqCst) > 0
    }

    /// A transaction is durable: tells those who watch.
    pub fn wrote(&self, last: i64, touched: Vec<(Space, u64)>) {
        self.last.store(crate::number::num(last), Ordering::SeqCst);
        if touched.is_empty() {
            return;
        }
        let watched = self.watched.lock();
        for (space, revision) in touched {
            if let Some(sender) = watched.get(&space) {
                sender.send_replace(revision);
            }
        }
    }

    pub fn watch(&self, space: &Space) -> watch::Receiver<u64> {
        let mut watched = self.watched.lock();
        watched.retain(|_, sender| sender.receiver_count() > 0);
        let last = self.last.load(Ordering::SeqCst);
        watched.entry(space.clone()).or_insert_with(|| watch::channel(last).0).subscribe()
    }
}

impl Queue {
    fn batch(&mut self) -> Vec<Box<dyn Job>> {
        let mut bytes = 0;
        let mut fits = |job: &dyn Job| {
            bytes += job.size();
            bytes <= limit::BATCH_BYTES
        };
        let jobs = self.jobs.iter().take(limit::BATCH_ITEMS);
        let count = jobs.take_while(|job| fits(job.as_ref())).count().max(1);
        let batch: Vec<_> = self.jobs.drain(..count.min(self.jobs.len())).collect();
        // Which of them were urgent does not matter: if any job is left, the next batch follows at once.
        self.urgent = self.jobs.len();
        batch
    }
}

impl State {
    fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Open => Ok(()),
            Self::Closing => Err(StoreError::Closed("it was shut down".to_owned())),
            Self::Poisoned(why) => Err(StoreError::Closed(why.clone())),
        }
    }
}
