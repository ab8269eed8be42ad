//! Takes what is due from the store and has it attempted.
//!
//! The [`Agenda`] knows which queues want attention and when; one task ([`dispatch`]) wakes up for the earliest and
//! starts a [`drain`] of that queue, at most one at a time per queue. A drain takes as many permits as the function has
//! free, leases that many invocations, and ends when there was less to lease than it had permits for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::outcome::Outcome;
use evoke_core::record::{AttemptRecord, Trigger};
use evoke_core::retry::RetryPolicy;
use evoke_core::runtime::{Input, Request};
use evoke_core::store::{Leased, Queue, SettleError, Settlement, StoreError, StoredInput, Verdict};
use evoke_core::time::Timestamp;
use http::Method;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::admission::{Door, Permit};
use crate::attempt::{Attempt, Caller, Executed, failure_of};
use crate::engine::Inner;
use crate::pool::not_deployed;
use crate::route::{App, Target};
use crate::settle::{decide, state_after};
use crate::trace::TraceParent;
use crate::{ingest, pool};

/// Due times kept per queue; later ones are found again by the refresh.
const TIMES_MAX: usize = 1_024;
/// How often the agenda is compared with the store: it finds leases that ran out and what the agenda forgot.
const REFRESH: Duration = Duration::from_secs(5);
/// Invocations taken in one lease.
const LEASE_MAX: usize = 64;
/// How often an attempt whose state changed under it is made again before that counts as a failed attempt.
const CONFLICTS_MAX: u32 = 5;

/// Which queues want attention, and when.
#[derive(Default)]
pub(crate) struct Agenda {
    queues: Mutex<HashMap<Queue, Plan>>,
    changed: Notify,
}

#[derive(Default)]
struct Plan {
    times: BTreeSet<Timestamp>,
    draining: bool,
}

impl Agenda {
    /// Notes that `queues` have something due at `at`.
    pub fn wake(&self, queues: impl IntoIterator<Item = Queue>, at: Timestamp) {
        let mut plans = self.queues.lock();
        let mut any = false;
        for queue in queues {
            any = true;
            let times = &mut plans.entry(queue).or_default().times;
            times.insert(at);
            if times.len() > TIMES_MAX {
                times.pop_last();
            }
        }
        drop(plans);
        if any {
            self.changed.notify_one();
        }
    }

    /// Queues to drain now, which are then being drained, and when to look again.
    fn take_due(&self, now: Timestamp) -> (Vec<Queue>, Option<Timestamp>) {
        let horizon = Timestamp(now.0 + 1);
        let mut due = Vec::new();
        let mut next = None::<Timestamp>;
        let mut plans = self.queues.lock();
        for (queue, plan) in plans.iter_mut().filter(|(_, plan)| !plan.draining) {
            let later = plan.times.split_off(&horizon);
            if !std::mem::replace(&mut plan.times, later).is_empty() {
                plan.draining = true;
                due.push(queue.clone());
            } else if let Some(first) = plan.times.first() {
                next = Some(next.map_or(*first, |next| next.min(*first)));
            }
        }
        (due, next)
    }

    /// Forgets what is due in a queue that is about to be leased from: the lease will see it.
    fn taking(&self, queue: &Queue, now: Timestamp) {
        if let Some(plan) = self.queues.lock().get_mut(queue) {
            plan.times = plan.times.split_off(&Timestamp(now.0 + 1));
        }
    }

    fn drained(&self, queue: &Queue) {
        let mut plans = self.queues.lock();
        if let Some(plan) = plans.get_mut(queue) {
            plan.draining = false;
            if plan.times.is_empty() {
                plans.remove(queue);
            }
        }
        drop(plans);
        self.changed.notify_one();
    }
}

/// Notes what the store says is due.
pub(crate) async fn refresh(inner: &Inner) -> Result<(), StoreError> {
    for due in inner.store.due().await? {
        inner.agenda.wake([due.queue], due.at);
    }
    Ok(())
}

/// Starts drains when they are due, until the engine stops taking work.
pub(crate) async fn dispatch(inner: Arc<Inner>) {
    let mut refresh_at = Instant::now() + REFRESH;
    while !inner.stopping.is_cancelled() {
        let now = inner.now();
        let (due, next) = inner.agenda.take_due(now);
        for queue in due {
            inner.work.spawn(drain(inner.clone(), queue));
        }
        let wait = next.map_or(REFRESH, |next| next.since(now));
        tokio::select! {
            () = inner.agenda.changed.notified() => {}
            () = tokio::time::sleep(wait.min(REFRESH)) => {}
            () = inner.stopping.cancelled() => return,
        }
        if Instant::now() >= refresh_at {
            refresh_at = Instant::now() + REFRESH;
            if let Err(error) = refresh(&inner).await {
                tracing::warn!(%error, "the store does not say what is due");
            }
        }
    }
}

/// Works off what is due in `queue`.
async fn drain(inner: Arc<Inner>, queue: Queue) {
    // What is queued for a function that is gone still has to be looked at, to become dead letters.
    let gone = Door::new(1, 0);
    while !inner.stopping.is_cancelled() {
        let found = inner.directory.snapshot().apps.get(&queue.app).cloned();
        let found = found.and_then(|app| Some((app.clone(), app.functions.get(&queue.function)?.clone())));
        let door = found.as_ref().map_or(&gone, |(_, target)| &target.pool.door);
        let Some(permits) = inner.stopping.run_until_cancelled(door.enter_many(LEASE_MAX)).await else {
            break;
        };
        let (wanted, now) = (permits.len(), inner.now());
        inner.agenda.taking(&queue, now);
        let leased = match inner.store.lease(&queue, wanted, now, inner.limits.lease).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::warn!(%error, function = %queue.function, app = %queue.app, "nothing could be leased");
                inner.agenda.wake([queue.clone()], inner.now().after(Duration::from_secs(1)));
                break;
            }
        };
        let less = leased.len() < wanted;
        for (leased, permit) in leased.into_iter().zip(permits) {
            inner.work.spawn(deliver(inner.clone(), queue.clone(), found.clone(), leased, permit));
        }
        if less {
            break;
        }
    }
    inner.agenda.drained(&queue);
}

/// Attempts a leased invocation and settles it.
async fn deliver(
    inner: Arc<Inner>,
    queue: Queue,
    found: Option<(Arc<App>, Arc<Target>)>,
    leased: Leased,
    permit: Permit,
) {
    let taken = Instant::now();
    let Some((app, target)) = found else {
        let outcome = Outcome::Rejected(not_deployed(&queue));
        return settle_without(&inner, &leased, outcome, &RetryPolicy::default()).await;
    };
    let (policy, timeout) = delivery_of(&target, &leased.run.trigger);
    let mut keeper = std::pin::pin!(keep_lease(&inner, &leased));
    for conflict in 0.. {
        let work = attempt(&inner, &app, &target, &leased, timeout, &permit, taken);
        let (executed, waited) = tokio::select! {
            done = work => match done {
                Ok(done) => done,
                Err(rejected) => return settle_without(&inner, &leased, rejected, policy).await,
            },
            // Somebody else holds the invocation now: what this attempt did would be refused anyway.
            () = &mut keeper => return,
        };
        let again = settle(&inner, &app, &target, &leased, executed, waited, policy, conflict).await;
        if !again {
            break;
        }
        let pause = Duration::from_micros((10_000.0 * f64::from(conflict + 1) * inner.random()) as u64);
        tokio::time::sleep(pause).await;
    }
    drop(permit);
}

/// Makes one attempt: the execution with all its effects, or why there was none.
async fn attempt(
    inner: &Arc<Inner>,
    app: &Arc<App>,
    target: &Arc<Target>,
    leased: &Leased,
    timeout: Duration,
    permit: &Permit,
    taken: Instant,
) -> Result<(Delivered, Duration), Outcome> {
    let slot = match inner.ending.run_until_cancelled(target.pool.take(inner, permit)).await {
        Some(slot) => slot.map_err(Outcome::Rejected)?,
        None => return Err(Outcome::Rejected(pool::draining())),
    };
    let waited = taken.elapsed();
    let run = leased.run.id.clone();
    let cause = leased.run.cause.clone();
    let attempt = Attempt::new(inner, (app.clone(), target.clone()), run, leased.attempt, cause, timeout);
    let children = attempt.cause_of_children();
    let executed = attempt.execute(slot, input_of(leased), Caller::Nobody).await;
    Ok((Delivered { executed, children }, waited))
}

struct Delivered {
    executed: Executed,
    children: evoke_core::record::Cause,
}

/// Ends the attempt in the store. `true` when it has to be made again at once.
#[expect(clippy::too_many_arguments, reason = "each is one thing the verdict depends on")]
async fn settle(
    inner: &Arc<Inner>,
    app: &App,
    target: &Target,
    leased: &Leased,
    delivered: Delivered,
    waited: Duration,
    policy: &RetryPolicy,
    conflicts: u32,
) -> bool {
    let Delivered { mut executed, children } = delivered;
    loop {
        let now = inner.now();
        let verdict = decide(&executed.outcome, policy, leased.attempt, inner.random(), now);
        let record = executed.record(leased.attempt, target, waited, now);
        let (writes, events) = match verdict {
            Verdict::Complete => (executed.effects.writes().to_vec(), executed.effects.emitted().to_vec()),
            _ => (Vec::new(), Vec::new()),
        };
        let append = |event| ingest::append_event(inner, app, event, &children, now);
        let appends: Vec<_> = events.into_iter().map(append).collect();
        let queues = ingest::queues_of(&appends);
        match conclude(inner, leased, record, verdict, writes, appends, now).await {
            Ok(()) => {
                inner.agenda.wake(queues, now);
                return false;
            }
            Err(SettleError::Conflict { .. })
                if conflicts < CONFLICTS_MAX && !inner.ending.is_cancelled() =>
            {
                return true;
            }
            Err(error @ SettleError::Conflict { .. }) => {
                executed.outcome = Outcome::Failed(failure_of(&error))
            }
            Err(error) => {
                give_up_settling(leased, &error);
                return false;
            }
        }
    }
}

/// Settles an invocation whose handler was never called.
async fn settle_without(inner: &Arc<Inner>, leased: &Leased, outcome: Outcome, policy: &RetryPolicy) {
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
    if let Err(error) = conclude(inner, leased, record, verdict, Vec::new(), Vec::new(), now).await {
        give_up_settling(leased, &error);
    }
}

async fn conclude(
    inner: &Arc<Inner>,
    leased: &Leased,
    record: AttemptRecord,
    verdict: Verdict,
    writes: Vec<evoke_core::store::Write>,
    appends: Vec<evoke_core::store::Append>,
    now: Timestamp,
) -> Result<(), SettleError> {
    let mut run = leased.run.clone();
    run.state = state_after(&verdict);
    run.due_at = None;
    let wake_at = match &verdict {
        Verdict::Defer { until } => Some(*until),
        Verdict::Release => Some(now),
        Verdict::Complete | Verdict::DeadLetter { .. } => None,
    };
    match wake_at {
        Some(at) => run.due_at = Some(at),
        None => run.ended_at = Some(now),
    }
    // An attempt that was given back does not count and leaves no trace.
    if verdict != Verdict::Release {
        run.push_attempt(record);
    }
    let queue = Queue { app: run.app.clone(), function: run.function.clone() };
    let lease = Some(leased.lease.clone());
    inner.store.settle(Settlement { lease, verdict, run: Some(run), writes, appends }, now).await?;
    if let Some(at) = wake_at {
        inner.agenda.wake([queue], at);
    }
    Ok(())
}

/// The lease runs out and the invocation is attempted again; nothing is lost, only repeated.
fn give_up_settling(leased: &Leased, error: &SettleError) {
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

/// Retry policy and time limit for what `trigger` started.
fn delivery_of<'a>(target: &'a Target, trigger: &Trigger) -> (&'a RetryPolicy, Duration) {
    let settings = &target.settings;
    let subscription = match trigger {
        Trigger::Event { subscription, .. } => settings.on.get(*subscription as usize),
        Trigger::Http { .. } | Trigger::Call { .. } => None,
    };
    match subscription {
        Some(subscription) => (&subscription.retry, subscription.timeout.unwrap_or(settings.timeout)),
        None => (&settings.retry, settings.timeout),
    }
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
