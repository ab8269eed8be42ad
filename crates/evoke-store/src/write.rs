//! The one writer: a named thread that takes whatever waits, runs it in one transaction, and answers.
//!
//! Group commit: while one transaction is being synced, the next batch gathers. A piece of work first checks whether
//! it may be done and only then changes anything, so one that is refused (a conflict, a lease no longer held) costs
//! its neighbours nothing. One that fails midway takes its transaction with it; then the batch is run again, each
//! piece in a transaction of its own, so that only the culprit gets the error.

pub(crate) mod append;
pub(crate) mod cancel;
pub(crate) mod erase;
pub(crate) mod inbox;
pub(crate) mod lease;
pub(crate) mod purge;
pub(crate) mod record;
pub(crate) mod redrive;
pub(crate) mod settle;
mod shrink;
pub(crate) mod state;
pub(crate) mod sweep;
pub(crate) mod tx;

use std::sync::Arc;

use evoke_core::store::{SettleError, StoreError};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::dir::Owner;
use crate::table::counters::Counters;
use crate::trouble::{Stop, Trouble};
use inbox::Inbox;
use tx::{Memory, Tx};

/// Something to be done in a transaction. It may be run more than once, but only the last run counts.
pub(crate) trait Work: Send + 'static {
    /// What it answers when its transaction is durable.
    type Answer: Send;
    /// Whether the answer has to wait until the disk has it. What does not is in the log all the same, in its place:
    /// the next transaction that waits takes it along, and a power cut loses a tail of the log, never a part from its middle.
    const SYNCED: bool = true;

    /// Does it. Must not have changed anything when it returns [`Stop::Refused`].
    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Stop>;
}

/// A piece of work with whoever waits for it.
pub(crate) trait Job: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Trouble>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
    /// See [`Work::SYNCED`].
    fn synced(&self) -> bool;
    /// Bytes, for the bound on a batch.
    fn size(&self) -> usize;
}

/// Where the answer to a piece of work arrives.
pub(crate) type Answer<W> = oneshot::Receiver<Result<<W as Work>::Answer, SettleError>>;

struct Waiting<W: Work> {
    work: W,
    size: usize,
    done: Option<Result<W::Answer, SettleError>>,
    reply: oneshot::Sender<Result<W::Answer, SettleError>>,
    _room: OwnedSemaphorePermit,
}

/// Makes a job of a piece of work, and the receiver of its answer.
pub(crate) fn job<W: Work>(work: W, size: usize, room: OwnedSemaphorePermit) -> (Box<dyn Job>, Answer<W>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Waiting { work, size, done: None, reply, _room: room }), answer)
}

impl<W: Work> Job for Waiting<W> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Trouble> {
        self.done = None;
        match self.work.run(tx) {
            Ok(answer) => self.done = Some(Ok(answer)),
            Err(Stop::Refused(why)) => self.done = Some(Err(why)),
            Err(Stop::Failed(trouble)) => return Err(trouble),
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let unrun = || Err(StoreError::Unavailable("it was not run".to_owned()).into());
        let answer = match committed {
            Ok(()) => self.done.unwrap_or_else(unrun),
            Err(error) => Err(error.into()),
        };
        // Whoever asked may have gone; what was done stays done.
        let _ = self.reply.send(answer);
    }

    fn synced(&self) -> bool {
        W::SYNCED
    }

    fn size(&self) -> usize {
        self.size
    }
}

/// What the writer thread owns.
pub(crate) struct Writer {
    pub conn: Connection,
    pub inbox: Arc<Inbox>,
    pub counters: Counters,
    pub memory: Memory,
    /// Whether a commit waits for the disk, as the connection is set now.
    pub syncs: bool,
    /// Set when the thread is through.
    pub ended: watch::Sender<bool>,
    /// Released last.
    pub owner: Owner,
}

/// What became of a transaction.
enum Committed {
    Done,
    /// It was rolled back.
    Undone(Trouble),
    /// The disk failed while it was being made durable.
    Unknown(String),
}

impl Writer {
    /// Runs until the inbox is closed and empty.
    pub fn run(mut self) {
        let _abandon = Abandon(self.inbox.clone());
        while let Some(batch) = self.inbox.take() {
            self.batch(batch);
        }
        self.finish();
        drop(self.conn);
        drop(self.owner);
        self.ended.send_replace(true);
    }

    fn batch(&mut self, mut batch: Vec<Box<dyn Job>>) {
        match self.transaction(&mut batch) {
            Committed::Undone(trouble) if batch.len() > 1 && !trouble.fatal => {
                for job in batch {
                    self.alone(job);
                }
            }
            outcome => self.conclude(batch, outcome),
        }
    }

    fn alone(&mut self, job: Box<dyn Job>) {
        let mut batch = vec![job];
        let outcome = self.transaction(&mut batch);
        self.conclude(batch, outcome);
    }

    fn conclude(&self, batch: Vec<Box<dyn Job>>, outcome: Committed) {
        let result = match outcome {
            Committed::Done => Ok(()),
            Committed::Undone(Trouble { error: StoreError::Full(what), .. }) => {
                Err(StoreError::Full(crate::dir::room(self.conn.path().unwrap_or_default().as_ref(), &what)))
            }
            Committed::Undone(Trouble { error, fatal }) => {
                if fatal {
                    self.inbox.poison(format!("it refuses to go on after a failed write: {error}"));
                }
                Err(error)
            }
            Committed::Unknown(cause) => {
                self.inbox.poison(format!("it refuses to go on after a failed commit: {cause}"));
                Err(StoreError::Outcome(cause))
            }
        };
        if let Err(error) = &result {
            tracing::error!(items = batch.len(), %error, "a write failed");
        }
        batch.into_iter().for_each(|job| job.answer(result.clone()));
    }

    fn transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Committed {
        if let Some(why) = self.inbox.poisoned() {
            return Committed::Undone(Trouble { error: StoreError::Closed(why), fatal: true });
        }
        let syncs = batch.iter().any(|job| job.synced());
        let begun = self.set_sync(syncs).and_then(|()| execute(&self.conn, "BEGIN IMMEDIATE"));
        if let Err(error) = begun {
            return Committed::Undone(error.into());
        }
        let mut tx = Tx::new(&self.conn, self.counters, &mut self.memory);
        let ran = batch.iter_mut().try_for_each(|job| job.run(&mut tx));
        let (counters, touched) = match ran.and_then(|()| tx.end()) {
            Ok(ended) => ended,
            Err(trouble) => return self.roll_back(trouble),
        };
        match execute(&self.conn, "COMMIT") {
            Ok(()) => {
                self.counters = counters;
                self.inbox.wrote(counters.last, touched);
                Committed::Done
            }
            Err(error) => match Trouble::from(error) {
                // The write-ahead log could not grow: the transaction has no commit record.
                trouble @ Trouble { error: StoreError::Full(_), .. } => self.roll_back(trouble),
                trouble => Committed::Unknown(trouble.error.to_string()),
            },
        }
    }

    /// In WAL mode `NORMAL` leaves out the sync of a commit, and that alone: checkpoints sync as they do under `FULL`.
    fn set_sync(&mut self, syncs: bool) -> rusqlite::Result<()> {
        if self.syncs != syncs {
            execute(
                &self.conn,
                if syncs { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" },
            )?;
            self.syncs = syncs;
        }
        Ok(())
    }

    fn roll_back(&mut self, trouble: Trouble) -> Committed {
        self.memory.forget();
        if self.conn.is_autocommit() {
            return Committed::Undone(trouble); // SQLite had done it.
        }
        match execute(&self.conn, "ROLLBACK") {
            Ok(()) => Committed::Undone(trouble),
            Err(error) => {
                tracing::error!(%error, "a transaction could not be rolled back");
                Committed::Undone(Trouble { fatal: true, ..trouble })
            }
        }
    }

    /// Leaves one file behind instead of three.
    fn finish(&self) {
        if self.inbox.poisoned().is_some() {
            return;
        }
        if let Err(error) = self.conn.pragma_update(None, "wal_checkpoint", "truncate") {
            tracing::warn!(%error, "the write-ahead log could not be moved into the database; it will be read again");
        }
    }
}

/// However the thread ends, nobody waits for it in vain.
struct Abandon(Arc<Inbox>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

fn execute(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}
