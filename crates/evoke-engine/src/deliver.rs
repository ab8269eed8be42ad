//! One leased invocation: attempted, and settled.
//!
//! The lease is kept for as long as an attempt runs. When it is lost, somebody else has the invocation, and what this
//! attempt did would be refused: it is dropped.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::outcome::Outcome;
use evoke_core::record::{AttemptRecord, Cause, Trigger};
use evoke_core::retry::RetryPolicy;
use evoke_core::runtime::{Input, Request};
use evoke_core::store::{
    Append, Leased, Queue, SettleError, Settled, Settlement, StoreError, StoredInput, Verdict, Write,
};
use evoke_core::time::Timestamp;
use http::Method;

use crate::admission::Permit;
use crate::attempt::{Attempt, Executed, Taken, failure_of};
use crate::engine::Inner;
use crate::route::{App, Target};
use crate::settle::decide;
use crate::{ingest, later, pool};

/// How often an attempt whose state changed under it is made again before that counts as a failed attempt.
const CONFLICTS_MAX: u32 = 5;
/// The longest pause before the first such repetition; later ones are longer.
const CONFLICT_PAUSE: Duration = Duration::from_millis(10);
/// Pauses before a settlement that the store did not take is tried again, far shorter together than a lease. When that
/// did not help either, the lease runs out and the attempt is made again.
const SETTLE_PAUSES_MS: [u64; 5] = [50, 100, 200, 400, 800];

/// Attempts `leased` and settles it. `found` is who it is for, unless that is gone.
pub(crate) async fn deliver(
    inner: Arc<Inner>,
    found: Option<(Arc<App>, Arc<Target>)>,
    leased: Leased,
    permit: Permit,
) {
    match found {
        Some((app, target)) => Delivery { inner: &inner, app, target, leased: &leased }.run(permit).await,
        None => {
            let gone = Outcome::Rejected(pool::not_deployed(&queue_of(&leased)));
            let record = Taken::now(&inner).unstarted(&inner, leased.attempt, None, gone);
            settle_unattempted(&inner, &leased, record, &RetryPolicy::default()).await;
        }
    }
}

struct Delivery<'a> {
    inner: &'a Arc<Inner>,
    app: Arc<App>,
    target: Arc<Target>,
    leased: &'a Leased,
}

/// What an attempt left to be settled.
struct Attempted {
    executed: Executed,
    /// The cause of what it emitted.
    children: Cause,
}

impl Delivery<'_> {
    async fn run(&self, permit: Permit) {
        let Self { inner, leased, .. } = self;
        let (policy, timeout) = self.terms();
        if leased.attempt > policy.attempts {
            return settle_lost(inner, leased, policy).await;
        }
        let mut permit = Some(permit);
        let mut lease_lost = pin!(keep_lease(inner, leased));
        for conflicts in 0..=CONFLICTS_MAX {
            let attempted = tokio::select! {
                biased;
                attempted = self.attempt(timeout) => attempted,
                () = &mut lease_lost => return,
            };
            let attempted = match attempted {
                Ok(attempted) => attempted,
                Err(rejected) => return settle_unattempted(inner, leased, rejected, policy).await,
            };
            // One after the other is what `concurrency = 1` promises to those who change state; others need not wait
            // for the disk.
            if attempted.executed.effects.is_empty() {
                drop(permit.take());
            }
            let may_repeat = conflicts < CONFLICTS_MAX && !inner.ending.is_cancelled();
            if !self.settle(attempted, policy, may_repeat).await {
                return;
            }
            tokio::time::sleep(CONFLICT_PAUSE.mul_f64(f64::from(conflicts + 1) * inner.random())).await;
        }
    }

    /// Retry policy and time limit for what started the invocation.
    fn terms(&self) -> (&RetryPolicy, Duration) {
        let settings = &self.target.settings;
        let subscription = match &self.leased.run.trigger {
            Trigger::Event { subscription, .. } => settings.on.get(*subscription as usize),
            Trigger::Http { .. } | Trigger::Call { .. } => None,
        };
        match subscription {
            Some(subscription) => (&subscription.retry, subscription.timeout.unwrap_or(settings.timeout)),
            None => (&settings.retry, settings.timeout),
        }
    }

    /// Makes one attempt: the execution with all its effects, or the record of an attempt that never began.
    async fn attempt(&self, timeout: Duration) -> Result<Attempted, AttemptRecord> {
        let Self { inner, app, target, leased } = self;
        let taken = Taken::now(inner);
        let slot = target.pool.take(inner, None, &inner.ending).await.map_err(|failure| {
            taken.unstarted(inner, leased.attempt, Some(target), Outcome::Rejected(failure))
        })?;
        let (found, cancel) = ((app.clone(), target.clone()), inner.ending.child_token());
        let attempt = Attempt::new(inner, found, &leased.run, leased.attempt, timeout, None, cancel);
        let children = attempt.cause_of_children();
        let executed = attempt.execute(slot, taken, input_of(leased), None).await;
        Ok(Attempted { executed, children })
    }

    /// Ends the attempt in the store. `true` when its state changed under it and it has to be made again.
    async fn settle(&self, attempted: Attempted, policy: &RetryPolicy, may_repeat: bool) -> bool {
        let Attempted { executed: Executed { mut record, mut effects }, children } = attempted;
        let (inner, leased) = (self.inner, self.leased);
        let (mut writes, mut events) = effects.take();
        loop {
            let now = inner.now();
            let verdict = decide(&record.outcome, policy, leased.attempt, inner.random(), now);
            if verdict != Verdict::Complete {
                (writes, events) = (Vec::new(), Vec::new());
            }
            let append = |event| ingest::append_event(inner, &self.app, event, &children, now);
            let appends: Vec<Append> = std::mem::take(&mut events).into_iter().map(append).collect();
            let effects = (std::mem::take(&mut writes), appends);
            match conclude(inner, leased, Some(record.clone()), verdict, effects, now).await {
                Ok(()) => {}
                Err(SettleError::Conflict { .. }) if may_repeat => return true,
                Err(error @ SettleError::Conflict { .. }) => {
                    record.outcome = Outcome::Failed(failure_of(&error));
                    continue;
                }
                Err(error) => unsettled(leased, &error),
            }
            return false;
        }
    }
}

/// Settles an invocation whose handler was not called this time; `record` says why.
async fn settle_unattempted(inner: &Inner, leased: &Leased, record: AttemptRecord, policy: &RetryPolicy) {
    let now = inner.now();
    let verdict = decide(&record.outcome, policy, leased.attempt, inner.random(), now);
    if let Err(error) = conclude(inner, leased, Some(record), verdict, (Vec::new(), Vec::new()), now).await {
        unsettled(leased, &error);
    }
}

/// Gives up an invocation whose last attempt was lost: what may have brought the server down is not tried for ever. The
/// store has noted the lost attempt already.
async fn settle_lost(inner: &Inner, leased: &Leased, policy: &RetryPolicy) {
    let now = inner.now();
    let verdict = decide(&Outcome::Lost, policy, leased.attempt - 1, 0.0, now);
    if let Err(error) = conclude(inner, leased, None, verdict, (Vec::new(), Vec::new()), now).await {
        unsettled(leased, &error);
    }
}

/// Carries the verdict out, and has the queues looked at to which it adds.
async fn conclude(
    inner: &Inner,
    leased: &Leased,
    record: Option<AttemptRecord>,
    verdict: Verdict,
    (writes, appends): (Vec<Write>, Vec<Append>),
    now: Timestamp,
) -> Result<(), SettleError> {
    let mut run = leased.run.clone();
    // An attempt that was given back does not count and leaves no trace.
    if let Some(record) = record.filter(|_| verdict != Verdict::Release) {
        run.push_attempt(record);
    }
    let queues = ingest::queues_of(&appends);
    let delays = later::is_among(&writes);
    let again_at = match &verdict {
        Verdict::Defer { until } => Some(*until),
        Verdict::Release => Some(now),
        Verdict::Complete | Verdict::DeadLetter { .. } => None,
    };
    let lease = Some(leased.lease.clone());
    let settled = settle(inner, Settlement { lease, verdict, run: Some(run), writes, appends }, now).await;
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(queues, now);
    if delays {
        inner.later.wake();
    }
    if let Some(again_at) = again_at {
        inner.agenda.wake([queue_of(leased)], again_at);
    }
    settled.map(drop)
}

/// Settles, and again as long as the store says that this can help.
async fn settle(inner: &Inner, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError> {
    let mut pauses_ms = SETTLE_PAUSES_MS.into_iter();
    let mut may_have_happened = false;
    loop {
        match inner.store.settle(settlement.clone(), now).await {
            Err(SettleError::Store(error)) if error.retryable() => {
                may_have_happened |= matches!(error, StoreError::Outcome(_));
                let Some(pause_ms) = pauses_ms.next() else { return Err(error.into()) };
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            Err(SettleError::StaleLease { .. }) if may_have_happened => return Ok(Settled::default()),
            done => return done,
        }
    }
}

/// The lease runs out and the invocation is attempted again; nothing is lost, only repeated.
fn unsettled(leased: &Leased, error: &SettleError) {
    tracing::warn!(%error, run = %leased.run.id, function = %leased.run.function, "an attempt could not be settled");
}

/// Extends the lease for as long as it is polled; returns when it is lost.
async fn keep_lease(inner: &Inner, leased: &Leased) {
    let hold = inner.limits.lease;
    loop {
        tokio::time::sleep(hold / 3).await;
        match inner.store.extend(&leased.lease, inner.now().after(hold)).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, run = %leased.run.id, "a lease could not be extended"),
        }
    }
}

fn queue_of(leased: &Leased) -> Queue {
    Queue { app: leased.run.app.clone(), function: leased.run.function.clone() }
}

fn input_of(leased: &Leased) -> Input {
    match &leased.input {
        StoredInput::Event(event) => Input::Event(event.clone()),
        StoredInput::Request(stored) => Input::Request(Request {
            method: Method::from_bytes(stored.method.as_bytes()).unwrap_or(Method::POST),
            uri: stored.uri.clone(),
            headers: ingest::header_map(&stored.headers),
            params: stored.params.clone(),
            client: None,
            body: Body::Full(stored.body.clone()),
        }),
    }
}
