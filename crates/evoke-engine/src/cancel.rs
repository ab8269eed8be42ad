//! Ending runs because somebody says so: what waits is never attempted, what is being attempted is ended with all that it has
//! called, and the record says who did it.
//!
//! Of an invocation from a queue the store decides, in one transaction: whichever comes first, the cancellation or the
//! settlement of the attempt, happens, and the other is refused (`docs/decisions/0033`). Only then the attempt is ended, so that
//! one which is not noticed in time has no effects all the same. A sync call has no lease: its attempt is ended, and what that
//! came to is told.

use std::time::Duration;

use evoke_core::destination::Ended;
use evoke_core::id::{AppName, Correlation, FunctionName, RunId, SubscriptionName};
use evoke_core::manifest::Fate;
use evoke_core::outcome::FailureCode;
use evoke_core::record::{LogRecord, LogStream, RunRecord, RunState};
use evoke_core::store::{Append, Appended, Cancellation, Queue, RunQuery, StoreError};
use evoke_core::time::Timestamp;

use crate::choose::{Bounds, choose};
use crate::endings::{find, is_pending};
use crate::engine::Inner;
use crate::ingest::queues_of;
use crate::under_way::Stop;
use crate::{Engine, destination};

/// How long a sync call that is being ended is waited for.
const ENDING: Duration = Duration::from_secs(10);
/// How often a cancellation that the store did not take is tried again, and the pause before.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// What its record says where nobody gave a reason.
const NO_REASON: &str = "somebody with the token ended it";
/// Runs that are read at once while they are chosen.
const PAGE: usize = 200;

/// How a run is to be cancelled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelOrder {
    /// Why, in one sentence.
    pub reason: Option<String>,
    /// Its `on_failure` is not told.
    pub silent: bool,
}

/// A run that is cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// Its record.
    pub run: RunRecord,
    /// It had been cancelled before.
    pub before: bool,
}

/// Why a run was not cancelled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CancelError {
    /// There is none of that id.
    #[error("app {app} has no run {run}; it may be older than runs are kept")]
    NotFound {
        /// The app.
        app: AppName,
        /// The id.
        run: RunId,
    },
    /// It has come to its end by itself.
    #[error("run {} of function {} has ended: {}", run.id, run.function, ended_words(run))]
    Ended {
        /// Its record.
        run: Box<RunRecord>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which of the runs that are pending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingRuns {
    /// Of this function.
    pub function: Option<FunctionName>,
    /// Deliveries of this subscription.
    pub subscription: Option<SubscriptionName>,
    /// Queued, or running; both when it does not say.
    pub state: Option<RunState>,
    /// With this root cause.
    pub root: Option<Correlation>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub until: Option<Timestamp>,
}

impl PendingRuns {
    fn takes(&self, run: &RunRecord) -> bool {
        self.function.as_ref().is_none_or(|function| *function == run.function)
            && self.root.as_ref().is_none_or(|root| *root == run.cause.root)
            && self.subscription.as_ref().is_none_or(|name| run.subscription.as_ref() == Some(name))
            && self.since.is_none_or(|since| run.created_at >= since)
            && self.until.is_none_or(|until| run.created_at < until)
    }
}

impl Engine {
    /// Cancels a run. Durable when it returns; repeating it changes nothing.
    pub async fn cancel_run(
        &self,
        app: &AppName,
        run: &RunId,
        order: &CancelOrder,
    ) -> Result<Cancelled, CancelError> {
        let inner = &self.0;
        let reason = order.reason.as_deref().unwrap_or(NO_REASON);
        for _ in 0..TRIES {
            if let Some(stop) = inner.under_way.find(run).filter(|stop| is_call_of(stop, app)) {
                return end_call(&stop, reason).await;
            }
            let Some(found) = find(inner, app, run).await? else {
                return Err(CancelError::NotFound { app: app.clone(), run: run.clone() });
            };
            if !is_pending(found.state) {
                return concluded(found);
            }
            if take_out(inner, &found, reason, order).await? {
                let run = find(inner, app, run).await?.unwrap_or(found);
                return Ok(Cancelled { run, before: false });
            }
        }
        // It is neither ended nor pending, each time it is looked at.
        Err(StoreError::Unavailable(format!("run {run} could not be cancelled; try again")).into())
    }

    /// Runs of `app` that wait or are being attempted, of those that `which` takes the newest `limit`; whether there may be more.
    pub async fn pending_runs(
        &self,
        app: &AppName,
        which: &PendingRuns,
        limit: usize,
    ) -> Result<(Vec<RunRecord>, bool), StoreError> {
        let wants = |state| which.state.is_none_or(|wanted| wanted == state);
        let mut chosen = Vec::new();
        let calls = self.calls_under_way(app).into_iter();
        chosen.extend(calls.filter(|run| wants(run.state) && which.takes(run)).take(limit));
        let mut more = false;
        for state in [RunState::Running, RunState::Queued].into_iter().filter(|state| wants(*state)) {
            let read = |before, limit| {
                let (app, function, root) = (Some(app.clone()), which.function.clone(), which.root.clone());
                let query = RunQuery { app, function, root, state: Some(state), id: None, before, limit };
                async move { self.store().runs(&query).await }
            };
            let bounds = Bounds { limit: limit - chosen.len(), looks: usize::MAX, page: PAGE };
            let (place, takes) = (|run: &RunRecord| run.id.clone(), |run: &RunRecord| which.takes(run));
            let (runs, next) = choose(bounds, None, read, place, takes).await?;
            chosen.extend(runs);
            more |= next.is_some();
        }
        Ok((chosen, more))
    }
}

fn is_call_of(stop: &Stop, app: &AppName) -> bool {
    stop.record().is_some_and(|record| record.app == *app)
}

async fn end_call(stop: &Stop, reason: &str) -> Result<Cancelled, CancelError> {
    stop.fire(reason);
    // An instance is killed if its handler does not stop, so this is only for what cannot be.
    let _ = tokio::time::timeout(ENDING, stop.over()).await;
    let record = stop.record().expect("it is a sync call, which has one");
    if is_pending(record.state) { Ok(Cancelled { run: record, before: false }) } else { concluded(record) }
        .map(|cancelled| Cancelled { before: false, ..cancelled })
}

/// What is said of a run that has ended.
fn concluded(run: RunRecord) -> Result<Cancelled, CancelError> {
    if is_cancelled(&run) {
        return Ok(Cancelled { run, before: true });
    }
    Err(CancelError::Ended { run: Box::new(run) })
}

/// Whether somebody cancelled it.
fn is_cancelled(run: &RunRecord) -> bool {
    let code = run.attempts.last().and_then(|attempt| attempt.outcome.failure()).map(|failure| failure.code);
    run.state == RunState::Failed && code == Some(FailureCode::CancelledByOperator)
}

fn ended_words(run: &RunRecord) -> String {
    match (run.state, run.attempts.last()) {
        (RunState::DeadLettered, _) => "it is a dead letter, which `evoke dlq purge` lets go".to_owned(),
        (state, Some(last)) if !last.outcome.is_completed() => {
            format!("{}, {}", state.as_str(), last.outcome.reason())
        }
        (state, _) => state.as_str().to_owned(),
    }
}

/// Takes an invocation out of its queue, and ends the attempt at it. `false` when it was not there any more.
async fn take_out(
    inner: &Inner,
    run: &RunRecord,
    reason: &str,
    order: &CancelOrder,
) -> Result<bool, StoreError> {
    let accepting = inner.accepting().await;
    let mut told = run.clone();
    let since = told.attempts.last().map_or(0, |attempt| attempt.number);
    let open = (run.state == RunState::Running).then(|| (since + 1, inner.now()));
    told.cancel(reason, open, true, inner.now());
    let ended = Ended { run: &told, fate: Fate::Failure, input: None, answer: None, at: inner.now() };
    let appends: Vec<Append> =
        (!order.silent).then(|| destination::tell(inner, &accepting, &ended)).flatten().into_iter().collect();
    let mut queues = queues_of(&appends);
    // The next of its key can be had now.
    queues.extend(run.key.is_some().then(|| Queue::of(run)));
    let waits = inner.waits.before(&[], &appends);
    let cancellation =
        Cancellation { app: run.app.clone(), run: run.id.clone(), reason: reason.to_owned(), appends };
    let cancelled = cancel(inner, cancellation).await;
    inner.waits.after(waits, cancelled.as_ref().ok().and_then(|done| done.as_deref()));
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(queues, inner.now());
    if cancelled?.is_none() {
        return Ok(false);
    }
    if let Some(stop) = inner.under_way.find(&run.id) {
        stop.fire(reason);
    }
    inner.endings.tell(&run.id);
    inner.recorder.keep(LogRecord {
        at: inner.now(),
        run: run.id.clone(),
        app: run.app.clone(),
        function: run.function.clone(),
        attempt: run.attempts.last().map_or(0, |attempt| attempt.number),
        stream: LogStream::Platform,
        line: format!("cancelled by the operator: {reason}"),
    });
    Ok(true)
}

/// Cancels, and again as long as the store says that this can help.
async fn cancel(inner: &Inner, cancellation: Cancellation) -> Result<Option<Vec<Appended>>, StoreError> {
    let mut may_have_happened = false;
    for _ in 0..TRIES {
        match inner.store.cancel(cancellation.clone(), inner.now()).await {
            Err(error) if error.retryable() => {
                may_have_happened |= matches!(error, StoreError::Outcome(_));
                tokio::time::sleep(PAUSE).await;
            }
            Ok(None) if may_have_happened => {
                // Either this did it, or the attempt was settled before: the record knows.
                let found = find(inner, &cancellation.app, &cancellation.run).await?;
                return Ok(found.filter(is_cancelled).map(|_| Vec::new()));
            }
            done => return done,
        }
    }
    inner.store.cancel(cancellation, inner.now()).await
}
