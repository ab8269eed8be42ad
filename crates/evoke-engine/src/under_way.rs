//! What is being attempted on this node, by run: so that somebody can end one, and see a sync call that the store does not
//! know yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use evoke_core::id::{AppName, RunId};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunRecord;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The attempts being made. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashMap<RunId, Arc<Stop>>>>);

/// What ends the attempt at a run before its time.
pub(crate) struct Stop {
    /// Ends the attempt. Those of one batch share it.
    end: Mutex<CancellationToken>,
    /// Why somebody has ended it, once that is so.
    why: OnceLock<String>,
    /// Nobody waits for the answer any more.
    left: AtomicBool,
    /// Of a sync call: its record, at last that of its end.
    call: Option<Mutex<Arc<RunRecord>>>,
    /// Nothing is attempted any more.
    is_over: AtomicBool,
    over: Notify,
}

/// Attempts at these runs are being made, until it is dropped.
pub(crate) struct Entered {
    all: UnderWay,
    stops: Vec<(RunId, Arc<Stop>)>,
}

/// A sync call that waits, or is being made, until it is dropped.
pub(crate) struct Calling {
    all: UnderWay,
    run: RunId,
    pub stop: Arc<Stop>,
}

impl UnderWay {
    /// What is leased, one invocation or a batch, is about to be attempted; `end` ends that.
    pub fn deliveries(&self, runs: impl Iterator<Item = RunId>, end: &CancellationToken) -> Entered {
        let stops: Vec<_> = runs.map(|run| (run, Arc::new(Stop::new(end, None)))).collect();
        self.0.lock().extend(stops.iter().cloned());
        Entered { all: self.clone(), stops }
    }

    /// A sync call waits, or is about to be attempted; `end` ends that.
    pub fn call(&self, record: Arc<RunRecord>, end: &CancellationToken) -> Calling {
        let run = record.id.clone();
        let stop = Arc::new(Stop::new(end, Some(record)));
        self.0.lock().insert(run.clone(), stop.clone());
        Calling { all: self.clone(), run, stop }
    }

    /// Nothing is attempted at `run` any more.
    fn leave(&self, run: &RunId, stop: &Arc<Stop>) {
        let mut all = self.0.lock();
        // Another lease of the same run may have come in between.
        if all.get(run).is_some_and(|entered| Arc::ptr_eq(entered, stop)) {
            all.remove(run);
        }
        drop(all);
        stop.is_over.store(true, Ordering::Release);
        stop.over.notify_waiters();
    }

    /// What ends the attempt at `run`, if one is being made here.
    pub fn find(&self, run: &RunId) -> Option<Arc<Stop>> {
        self.0.lock().get(run).cloned()
    }

    /// The sync calls of an app that are being made here.
    pub fn calls(&self, app: &AppName) -> Vec<RunRecord> {
        let stops: Vec<Arc<Stop>> = self.0.lock().values().cloned().collect();
        let records = stops.iter().filter_map(|stop| stop.record());
        records.filter(|record| record.app == *app).collect()
    }
}

impl Stop {
    fn new(end: &CancellationToken, call: Option<Arc<RunRecord>>) -> Self {
        Self {
            end: Mutex::new(end.clone()),
            why: OnceLock::new(),
            left: AtomicBool::new(false),
            call: call.map(Mutex::new),
            is_over: AtomicBool::new(false),
            over: Notify::new(),
        }
    }

    /// Of a sync call: its record so far.
    pub fn record(&self) -> Option<RunRecord> {
        self.call.as_ref().map(|record| RunRecord::clone(&record.lock()))
    }

    /// Ends the attempt; whoever comes first says why.
    pub fn fire(&self, why: &str) {
        let _ = self.why.set(why.to_owned());
        self.end.lock().cancel();
    }

    /// Ends the attempt: nobody waits for its answer.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.end.lock().cancel();
    }

    /// What the attempt failed with, if somebody has ended it.
    pub fn failure(&self) -> Option<Failure> {
        self.why.get().map(|why| Failure::new(FailureCode::CancelledByOperator, why.as_str()))
    }

    /// Waits until the attempt has ended.
    pub async fn over(&self) {
        // Before the look, so that no end falls between the two.
        let over = self.over.notified();
        if !self.is_over.load(Ordering::Acquire) {
            over.await;
        }
    }
}

impl Entered {
    /// The first of them, which an attempt at all of them is told by.
    pub fn first(&self) -> Option<Arc<Stop>> {
        self.stops.first().map(|(_, stop)| stop.clone())
    }

    /// Whether somebody has ended one of them.
    pub fn is_stopped(&self) -> bool {
        self.stops.iter().any(|(_, stop)| stop.why.get().is_some())
    }

    /// Whether somebody has ended this one.
    pub fn has_stopped(&self, run: &RunId) -> bool {
        self.stops.iter().any(|(id, stop)| id == run && stop.why.get().is_some())
    }
}

impl Calling {
    /// Which.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Whether somebody has ended it.
    pub fn is_stopped(&self) -> bool {
        self.stop.why.get().is_some()
    }

    /// It is ended by `end` from now on.
    pub fn go_on(&self, end: &CancellationToken) {
        *self.stop.end.lock() = end.clone();
        // It may have been ended by what ended it before.
        if self.is_stopped() || self.stop.left.load(Ordering::Acquire) {
            end.cancel();
        }
    }

    /// The call comes to this: its record after `change`.
    pub fn note(&self, change: impl FnOnce(&mut RunRecord)) -> Arc<RunRecord> {
        let mut record = self.stop.call.as_ref().expect("a sync call has a record").lock();
        change(Arc::make_mut(&mut record));
        record.clone()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.stops.iter().for_each(|(run, stop)| self.all.leave(run, stop));
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.all.leave(&self.run, &self.stop);
    }
}
