//! What is being attempted on this node, by run: so that somebody can end one, and see a sync call that the store does not
//! know yet.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use evoke_core::id::{AppName, RunId};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunRecord;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The attempts being made. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashMap<RunId, Arc<Stop>>>>);

/// What ends the attempt at a run before its time.
#[derive(Default)]
pub(crate) struct Stop {
    /// Ends the attempt. Those of one batch share it.
    end: Mutex<CancellationToken>,
    /// Why somebody has ended it, once that is so.
    why: OnceLock<String>,
    /// Of a sync call: its record, at last that of its end.
    call: Option<Mutex<Arc<RunRecord>>>,
    /// Nothing is attempted any more.
    over: CancellationToken,
}

/// Attempts at these runs are being made, until it is dropped.
pub(crate) struct Entered {
    all: UnderWay,
    stops: Vec<(RunId, Arc<Stop>)>,
}

impl UnderWay {
    /// What is leased, one invocation or a batch, is about to be attempted; `end` ends that.
    pub fn deliveries(&self, runs: impl Iterator<Item = RunId>, end: &CancellationToken) -> Entered {
        let stop = |run| (run, Arc::new(Stop { end: Mutex::new(end.clone()), ..Stop::default() }));
        self.enter(runs.map(stop).collect())
    }

    /// A sync call waits, or is about to be attempted; `end` ends that.
    pub fn call(&self, record: Arc<RunRecord>, end: &CancellationToken) -> Entered {
        let run = record.id.clone();
        let stop = Stop { end: Mutex::new(end.clone()), call: Some(Mutex::new(record)), ..Stop::default() };
        self.enter(vec![(run, Arc::new(stop))])
    }

    fn enter(&self, stops: Vec<(RunId, Arc<Stop>)>) -> Entered {
        self.0.lock().extend(stops.iter().cloned());
        Entered { all: self.clone(), stops }
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
    /// Of a sync call: its record so far.
    pub fn record(&self) -> Option<RunRecord> {
        self.call.as_ref().map(|record| RunRecord::clone(&record.lock()))
    }

    /// Ends the attempt; whoever comes first says why.
    pub fn fire(&self, why: &str) {
        let _ = self.why.set(why.to_owned());
        self.end.lock().cancel();
    }

    /// What the attempt failed with, if somebody has ended it.
    pub fn failure(&self) -> Option<Failure> {
        self.why.get().map(|why| Failure::new(FailureCode::CancelledByOperator, why.as_str()))
    }

    /// Waits until the attempt has ended.
    pub async fn over(&self) {
        self.over.cancelled().await;
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

    /// The sync call has come to this, and is ended by `end` from now on.
    pub fn go_on(&self, record: &Arc<RunRecord>, end: &CancellationToken) {
        self.note(record);
        for (_, stop) in &self.stops {
            *stop.end.lock() = end.clone();
            // Somebody may have ended it by what ended it before.
            if stop.why.get().is_some() {
                end.cancel();
            }
        }
    }

    /// The sync call has come to this.
    pub fn note(&self, record: &Arc<RunRecord>) {
        for call in self.stops.iter().filter_map(|(_, stop)| stop.call.as_ref()) {
            call.lock().clone_from(record);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        for (run, stop) in &self.stops {
            // Another lease of the same run may have come in between.
            if all.get(run).is_some_and(|other| Arc::ptr_eq(other, stop)) {
                all.remove(run);
            }
        }
        drop(all);
        self.stops.iter().for_each(|(_, stop)| stop.over.cancel());
    }
}
