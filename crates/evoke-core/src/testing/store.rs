//! A complete store in memory: what the seam promises, short of surviving the process.
//!
//! It is the reference the other back ends are compared with, so it does everything in the plainest way, under one
//! lock. [`MemoryStore::reopen`] stands for the death of the process that used it.

mod archive;
mod erase;
mod history;
mod keys;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::holdings::Holdings;
use crate::id::{AppName, RunId};
use crate::record::{LogRecord, RunRecord};
use crate::store::{
    Append, Appended, Cancellation, DeadLetter, DeadLetterQuery, Dedup, Entry, EventQuery, Lease, Leased,
    ListQuery, LogQuery, Queue, QueueDue, Retention, RunQuery, SettleError, Settled, Settlement, Space,
    Store, StoreError, StoredEvent, Waiting, Write,
};
use crate::time::Timestamp;

/// A [`Store`] in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    all: Mutex<All>,
}

/// Everything it holds. Each invocation is pending, dead or ended; only the first two are in `invocations`.
#[derive(Debug, Default)]
struct All {
    closed: bool,
    /// The last number given away: log positions, revisions and tokens come from one sequence.
    last: u64,
    log: BTreeMap<u64, queue::Accepted>,
    seen: HashMap<(AppName, Dedup), u64>,
    invocations: BTreeMap<RunId, queue::Invocation>,
    /// How many invocations were ever accepted.
    accepted: u64,
    /// Every pending invocation, by when it becomes available.
    available: BTreeSet<(Queue, Timestamp, RunId)>,
    runs: BTreeMap<RunId, RunRecord>,
    logs: VecDeque<(u64, LogRecord)>,
    log_lines: u64,
    entries: BTreeMap<(Space, String), Entry>,
    objects: HashMap<String, Bytes>,
    /// Objects that nothing referred to, and since when.
    idle: HashMap<String, Timestamp>,
    watched: HashMap<Space, watch::Sender<u64>>,
}

impl All {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// As if another process had opened the same data: it is usable again if it was closed, and the leases of the
    /// former process are void, so that their invocations are available at once.
    pub fn reopen(&self) {
        let mut all = self.all.lock();
        all.closed = false;
        all.idle.clear();
        all.watched.clear();
        all.void_leases();
    }

    fn open(&self) -> Result<parking_lot::MutexGuard<'_, All>, StoreError> {
        let all = self.all.lock();
        if all.closed { Err(StoreError::Closed("it was shut down".to_owned())) } else { Ok(all) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, items: Vec<Append>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        items.iter().try_for_each(Append::check)?;
        let mut all = self.open()?;
        Ok(items.into_iter().map(|item| all.append(item, now)).collect())
    }

    async fn due(&self) -> Result<Vec<QueueDue>, StoreError> {
        Ok(self.open()?.due())
    }

    async fn lease(
        &self,
        queue: &Queue,
        max: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        Ok(self.open()?.lease(queue, max, now, now.after(hold)))
    }

    async fn waiting(&self, queue: &Queue, now: Timestamp, max: u64) -> Result<Waiting, StoreError> {
        Ok(self.open()?.waiting(queue, now, max))
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        Ok(self.open()?.extend(lease, until))
    }

    async fn settle(&self, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError> {
        settlement.check()?;
        self.open()?.settle(settlement, now)
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.open()?.dead_letters(query))
    }

    async fn redrive(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        let mut all = self.open()?;
        Ok(runs.iter().filter(|run| all.redrive(app, run, now)).cloned().collect())
    }

    async fn purge(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        let mut all = self.open()?;
        Ok(runs.iter().filter(|run| all.purge(app, run, now)).cloned().collect())
    }

    async fn cancel(
        &self,
        cancellation: Cancellation,
        now: Timestamp,
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        cancellation.appends.iter().try_for_each(Append::check)?;
        Ok(self.open()?.cancel(cancellation, now))
    }

    async fn get(&self, space: &Space, key: &str, now: Timestamp) -> Result<Option<Entry>, StoreError> {
        Ok(self.open()?.entry(space, key, now).cloned())
    }

    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Vec<Entry>, StoreError> {
        Ok(self.open()?.list(query, now))
    }

    async fn write(&self, writes: Vec<Write>, now: Timestamp) -> Result<Vec<u64>, SettleError> {
        let mut all = self.open()?;
        all.check_writes(&writes, now)?;
        Ok(all.apply_writes(writes))
    }

    fn watch(&self, space: &Space) -> watch::Receiver<u64> {
        let mut all = self.all.lock();
        let last = all.last;
        all.watched.entry(space.clone()).or_insert_with(|| watch::channel(last).0).subscribe()
    }

    async fn put_object(&self, bytes: Bytes) -> Result<String, StoreError> {
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut all = self.open()?;
        all.idle.remove(&digest);
        all.objects.insert(digest.clone(), bytes);
        Ok(digest)
    }

    async fn get_object(&self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.open()?.objects.get(digest).cloned())
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(self.open()?.events(query))
    }

    async fn record(&self, runs: Vec<RunRecord>, logs: Vec<LogRecord>) -> Result<(), StoreError> {
        self.open()?.record(runs, logs);
        Ok(())
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        Ok(self.open()?.find_runs(query))
    }

    async fn logs(&self, query: &LogQuery) -> Result<Vec<(u64, LogRecord)>, StoreError> {
        Ok(self.open()?.find_logs(query))
    }

    async fn sweep(&self, keep: &Retention, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.open()?.sweep(keep, now))
    }

    async fn holdings(&self, app: &AppName) -> Result<Holdings, StoreError> {
        Ok(self.open()?.holdings(app))
    }

    async fn erase(&self, app: &AppName) -> Result<bool, StoreError> {
        self.open()?.erase(app);
        Ok(false)
    }

    async fn sweep_objects(&self, grace: Duration, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.open()?.sweep_objects(grace, now))
    }

    async fn close(&self) -> Result<(), StoreError> {
        let mut all = self.all.lock();
        all.closed = true;
        all.watched.clear();
        Ok(())
    }
}
