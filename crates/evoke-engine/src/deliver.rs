//! One leased invocation: attempted, and settled.
//!
//! The lease is kept for as long as the attempt runs. When it is lost, somebody else has the invocation, and what this
//! attempt did would be refused: it is dropped.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::outcome::Outcome;
use evoke_core::record::{AttemptRecord, Cause, Trigger};
use evoke_core::retry::RetryPolicy;
use evoke_core::runtime::{Input, Request};
use evoke_core::store::{Append, Leased, Queue, SettleError, Settlement, StoredInput, Verdict, Write};
use evoke_core::time::Timestamp;
use http::Method;
use tokio::time::Instant;

use crate::admission::Permit;
use crate::attempt::{Attempt, Caller, Executed, failure_of};
use crate::engine::Inner;
use crate::route::{App, Target};
use crate::settle::{decide, state_after};
use crate::trace::TraceParent;
use crate::{ingest, pool};

/// How often an attempt whose state changed under it is made again before that counts as a failed attempt.
const CONFLICTS_MAX: u32 = 5;
/// The longest pause before the first such repetition; later ones are longer.
const CONFLICT_PAUSE: Duration = Duration::from_millis(10);

/// Attempts `leased` and settles it. `found` is who it is for, unless that is gone.
pub(crate) async fn deliver(
    inner: Arc<Inner>,
    found: Option<(Arc<App>, Arc<Target>)>,
    leased: Leased,
    permit: Permit,
) {
    let keeper = keep_lease(&inner, &leased);
    let delivery = async {
        let Some((app, target)) = found else {
            let gone = Outcome::Rejected(pool::not_deployed(&queue_of(&leased)));
            return settle_unattempted(&inner, &leased, gone, &RetryPolicy::default()).await;
        };
        Delivery { inner: &inner, app, target, leased: &leased }.run(permit).await;
    };
    tokio::select! {
        () = delivery => {}
        () = keeper => {}
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
    waited: Duration,
    /// The cause of what it emitted.
    children: Cause,
}

impl Delivery<'_> {
    async fn run(&self, permit: Permit) {
        let (policy, timeout) = self.terms();
        let mut permit = Some(permit);
        for conflicts in 0..=CONFLICTS_MAX {
            let attempted = match self.attempt(timeout).await {
                Ok(attempted) => attempted,
                Err(rejected) => return settle_unattempted(self.inner, self.leased, rejected, policy).await,
            };
            // One after the other is what `concurrency = 1` promises to those who change state; others need not wait
            // for the disk.
            if attempted.executed.effects.is_empty() {
                drop(permit.take());
            }
            let may_repeat = conflicts < CONFLICTS_MAX && !self.inner.ending.is_cancelled();
            if !self.settle(attempted, policy, may_repeat).await {
                return;
            }
            tokio::time::sleep(CONFLICT_PAUSE.mul_f64(f64::from(conflicts + 1) * self.inner.random())).await;
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

    /// Makes one attempt: the execution with all its effects, or why there was none.
    async fn attempt(&self, timeout: Duration) -> Result<Attempted, Outcome> {
        let Self { inner, app, target, leased } = self;
        let taken = Instant::now();
        let slot = target.pool.take(inner, None, &inner.ending).await.map_err(Outcome::Rejected)?;
        let waited = taken.elapsed();
        let (run, cause) = (leased.run.id.clone(), leased.run.cause.clone());
        let attempt = Attempt::new(inner, (app.clone(), target.clone()), run, leased.attempt, cause, timeout);
        let children = attempt.cause_of_children();
        let executed = attempt.execute(slot, input_of(leased), Caller::Nobody).await;
        Ok(Attempted { executed, waited, children })
    }

    /// Ends the attempt in the store. `true` when its state changed under it and it has to be made again.
    async fn settle(&self, attempted: Attempted, policy: &RetryPolicy, may_repeat: bool) -> bool {
        let Attempted { mut executed, waited, children } = attempted;
        let (inner, leased) = (self.inner, self.leased);
        let (mut writes, mut events) = executed.effects.take();
        loop {
            let now = inner.now();
            let verdict = decide(&executed.outcome, policy, leased.attempt, inner.random(), now);
            if verdict != Verdict::Complete {
                (writes, events) = (Vec::new(), Vec::new());
            }
            let append = |event| ingest::append_event(inner, &self.app, event, &children, now);
            let appends: Vec<Append> = std::mem::take(&mut events).into_iter().map(append).collect();
            let queues = ingest::queues_of(&appends);
            let record = executed.record(leased.attempt, &self.target, waited, now);
            let effects = (std::mem::take(&mut writes), appends);
            match conclude(inner, leased, record, verdict, effects, now).await {
                Ok(()) => inner.agenda.wake(queues, now),
                Err(SettleError::Conflict { .. }) if may_repeat => return true,
                Err(error @ SettleError::Conflict { .. }) => {
                    executed.outcome = Outcome::Failed(failure_of(&error));
                    continue;
                }
                Err(error) => unsettled(leased, &error),
            }
            return false;
        }
    }
}

/// Settles an invocation whose handler was never called.
async fn settle_unattempted(inner: &Inner, leased: &Leased, outcome: Outcome, policy: &RetryPolicy) {
    let now = inner.now();
    let verdict = decide(&outcome, policy, leased.attempt, inner.random(), now);
    let record = AttemptRecord {
        number: leased.attempt,
        revision: None,
        started_at: now,
        ended_at: now,
        waited_us: 0,
        ran_us: 0,
        cold: true,
        outcome,
    };
    if let Err(error) = conclude(inner, leased, record, verdict, (Vec::new(), Vec::new()), now).await {
        unsettled(leased, &error);
    }
}

/// Carries the verdict out, and has the queue looked at when the invocation is due again.
async fn conclude(
    inner: &Inner,
    leased: &Leased,
    record: AttemptRecord,
    verdict: Verdict,
    (writes, appends): (Vec<Write>, Vec<Append>),
    now: Timestamp,
) -> Result<(), SettleError> {
    let mut run = leased.run.clone();
    run.state = state_after(&verdict);
    run.due_at = match &verdict {
        Verdict::Defer { until } => Some(*until),
        Verdict::Release => Some(now),
        Verdict::Complete | Verdict::DeadLetter { .. } => None,
    };
    run.ended_at = run.due_at.is_none().then_some(now);
    // An attempt that was given back does not count and leaves no trace.
    if verdict != Verdict::Release {
        run.push_attempt(record);
    }
    let due_at = run.due_at;
    let lease = Some(leased.lease.clone());
    inner.store.settle(Settlement { lease, verdict, run: Some(run), writes, appends }, now).await?;
    if let Some(due_at) = due_at {
        inner.agenda.wake([queue_of(leased)], due_at);
    }
    Ok(())
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
        StoredInput::Request(stored) => {
            let mut headers = ingest::header_map(&stored.headers);
            if let Ok(traceparent) = TraceParent::header(&leased.run.cause).parse() {
                headers.insert(ingest::TRACEPARENT, traceparent);
            }
            Input::Request(Request {
                method: Method::from_bytes(stored.method.as_bytes()).unwrap_or(Method::POST),
                uri: stored.uri.clone(),
                headers,
                params: stored.params.clone(),
                client: None,
                body: Body::Full(stored.body.clone()),
            })
        }
    }
}
