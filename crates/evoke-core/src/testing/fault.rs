//! A store that fails when it is told to.
//!
//! It counts the calls that change something (in the order they arrive, from 1), and makes chosen ones fail: before
//! they took effect, after, or as the death of the process, from which on every call fails. A simulation runs once
//! to learn how many there are, then once per call and [`Fault`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::holdings::Holdings;
use crate::id::{AppName, RunId};
use crate::record::{LogRecord, RunRecord};
use crate::store::{
    Append, Appended, Cancellation, DeadLetter, DeadLetterQuery, Entry, EventQuery, Lease, Leased, ListQuery,
    LogQuery, Queue, QueueDue, Retention, RunQuery, SettleError, Settled, Settlement, Space, Store,
    StoreError, StoredEvent, Waiting, Write,
};
use crate::time::Timestamp;

/// How a call fails, or is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and says so: [`StoreError::Unavailable`].
    Before,
    /// It does its work and does not know it: [`StoreError::Outcome`].
    After,
    /// The process dies before the work is done: [`StoreError::Closed`], now and from now on.
    CrashBefore,
    /// The process dies when the work is done, before the caller hears of it.
    CrashAfter,
    /// It does its work this much later.
    Late(Duration),
}

/// A [`Store`] around another one.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    mutations: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
}

impl FaultyStore {
    /// Passes everything on until told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, script: Mutex::default() }
    }

    /// Makes the `n`-th call that changes something fail, counted from 1 since the store was made.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        self.script.lock().faults.insert(n, fault);
    }

    /// Makes the next call that changes something fail.
    pub fn fail_next(&self, fault: Fault) {
        let mut script = self.script.lock();
        let next = script.mutations + 1;
        script.faults.insert(next, fault);
    }

    /// From now on every call fails.
    pub fn crash(&self) {
        self.script.lock().crashed = true;
    }

    /// Whether it has crashed.
    pub fn crashed(&self) -> bool {
        self.script.lock().crashed
    }

    /// How many calls that change something there were, failed ones included.
    pub fn mutations(&self) -> u64 {
        self.script.lock().mutations
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.crashed() { Err(dead()) } else { Ok(()) }
    }

    /// Counts the call and lets it happen or not, as the script says.
    async fn change<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let (n, fault) = {
            let mut script = self.script.lock();
            if script.crashed {
                return Err(dead().into());
            }
            script.mutations += 1;
            let n = script.mutations;
            let fault = script.faults.remove(&n);
            script.crashed = matches!(fault, Some(Fault::CrashBefore | Fault::CrashAfter));
            (n, fault)
        };
        match fault {
            None => {
                let done = work.await;
                self.alive()?;
                done
            }
            Some(Fault::Before) => Err(StoreError::Unavailable(format!("injected before change {n}")).into()),
            Some(Fault::After) => {
                work.await?;
                Err(StoreError::Outcome(format!("injected after change {n}")).into())
            }
            Some(Fault::Late(pause)) => {
                tokio::time::sleep(pause).await;
                work.await
            }
            Some(Fault::CrashBefore) => Err(dead().into()),
            Some(Fault::CrashAfter) => {
                work.await?;
                Err(dead().into())
            }
        }
    }
}

fn dead() -> StoreError {
    StoreError::Closed("injected crash".to_owned())
}

#[async_trait]
impl Store for FaultyStore {
    async fn append(&self, items: Vec<Append>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        self.change(self.inner.append(items, now)).await
    }

    async fn due(&self) -> Result<Vec<QueueDue>, StoreError> {
        self.alive()?;
        self.inner.due().await
    }

    async fn lease(
        &self,
        queue: &Queue,
        max: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        self.change(self.inner.lease(queue, max, now, hold)).await
    }

    async fn waiting(&self, queue: &Queue, now: Timestamp, max: u64) -> Result<Waiting, StoreError> {
        self.alive()?;
        self.inner.waiting(queue, now, max).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.change(self.inner.extend(lease, until)).await
    }

    async fn settle(&self, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError> {
        self.change(self.inner.settle(settlement, now)).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.alive()?;
        self.inner.dead_letters(query).await
    }

    async fn redrive(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        self.change(self.inner.redrive(app, runs, now)).await
    }

    async fn purge(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        self.change(self.inner.purge(app, runs, now)).await
    }

    async fn cancel(
        &self,
        cancellation: Cancellation,
        now: Timestamp,
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        self.change(self.inner.cancel(cancellation, now)).await
    }

    async fn get(&self, space: &Space, key: &str, now: Timestamp) -> Result<Option<Entry>, StoreError> {
        self.alive()?;
        self.inner.get(space, key, now).await
    }

    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Vec<Entry>, StoreError> {
        self.alive()?;
        self.inner.list(query, now).await
    }

    async fn write(&self, writes: Vec<Write>, now: Timestamp) -> Result<Vec<u64>, SettleError> {
        self.change(self.inner.write(writes, now)).await
    }

    fn watch(&self, space: &Space) -> watch::Receiver<u64> {
        self.inner.watch(space)
    }

    async fn put_object(&self, bytes: Bytes) -> Result<String, StoreError> {
        self.change(self.inner.put_object(bytes)).await
    }

    async fn get_object(&self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        self.alive()?;
        self.inner.get_object(digest).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.alive()?;
        self.inner.events(query).await
    }

    async fn record(&self, runs: Vec<RunRecord>, logs: Vec<LogRecord>) -> Result<(), StoreError> {
        self.change(self.inner.record(runs, logs)).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        self.alive()?;
        self.inner.runs(query).await
    }

    async fn logs(&self, query: &LogQuery) -> Result<Vec<(u64, LogRecord)>, StoreError> {
        self.alive()?;
        self.inner.logs(query).await
    }

    async fn sweep(&self, keep: &Retention, now: Timestamp) -> Result<u64, StoreError> {
        self.change(self.inner.sweep(keep, now)).await
    }

    async fn holdings(&self, app: &AppName) -> Result<Holdings, StoreError> {
        self.alive()?;
        self.inner.holdings(app).await
    }

    async fn erase(&self, app: &AppName) -> Result<bool, StoreError> {
        self.change(self.inner.erase(app)).await
    }

    async fn sweep_objects(&self, grace: Duration, now: Timestamp) -> Result<u64, StoreError> {
        self.change(self.inner.sweep_objects(grace, now)).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.alive()?;
        self.inner.close().await
    }
}
