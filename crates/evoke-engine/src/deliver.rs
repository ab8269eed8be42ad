//! One call of a function with what was leased for it, an invocation or a batch of them: attempted, and settled.
//!
//! The leases are kept for as long as an attempt runs. When one is lost, somebody else has the invocation, and what this
//! attempt did would be refused: it is dropped.

mod conclude;
mod undecided;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::answer::Answer;
use evoke_core::body::Body;
use evoke_core::event::{Attribute, Event, REPLAY};
use evoke_core::manifest::Subscription;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{AttemptRecord, Cause, LogRecord, LogStream, Trigger};
use evoke_core::retry::RetryPolicy;
use evoke_core::runtime::{Input, Request};
use evoke_core::store::{Append, Leased, Queue, SettleError, StoredInput, Verdict, Write};
use http::Method;
use tokio_util::sync::CancellationToken;

use crate::admission::Admitted;
use crate::attempt::{Attempt, Executed, Taken, failure_of};
use crate::engine::Inner;
use crate::route::{App, Target};
use crate::settle::decide;
use crate::under_way::Entered;
use crate::{chain, hook, ingest, lifecycle, pool, rollout};
use conclude::{End, conclude, unsettled};

/// How often an attempt whose state changed under it is made again before that counts as a failed attempt.
const CONFLICTS_MAX: u32 = 5;
/// The longest pause before the first such repetition; later ones are longer.
const CONFLICT_PAUSE: Duration = Duration::from_millis(10);

/// Attempts what is `leased`, one invocation or a batch of one subscription, and settles it. `found` is who it is for,
/// unless that is gone.
pub(crate) async fn deliver(
    inner: Arc<Inner>,
    found: Option<(Arc<App>, Arc<Target>)>,
    leased: Vec<Leased>,
    admitted: Option<Admitted>,
) {
    let Some((app, target)) = found else {
        for leased in &leased {
            let gone = Outcome::Rejected(pool::not_deployed(&Queue::of(&leased.run)));
            let record = Taken::now(&inner).unstarted(&inner, leased.attempt, None, gone);
            settle_one(&inner, leased, Some(record), &RetryPolicy::default()).await;
        }
        return;
    };
    // A batch is one call, of one version.
    let current = target;
    let (app, target) = match leased.first() {
        Some(first) => inner.directory.snapshot().taker((app, current.clone()), &first.run),
        None => (app, current.clone()),
    };
    let (policy, timeout, batched) = terms(&current, &target, &leased);
    let mut live = Vec::with_capacity(leased.len());
    for leased in leased {
        match leased.attempt > policy.attempts {
            // What may have brought the server down is not tried for ever. The store has noted the lost attempt already.
            true => settle_one(&inner, &leased, None, &policy).await,
            false => match stopped(&inner, &app, &target, &leased) {
                Some(record) => settle_one(&inner, &leased, Some(record), &policy).await,
                None => live.push(leased),
            },
        }
    }
    let live = undecided::decide(&inner, &current, live).await;
    if !live.is_empty() {
        let delivery = Delivery { inner: &inner, app, target, leased: &live, policy, timeout, batched };
        delivery.run(admitted).await;
    }
}

/// The record of an invocation whose chain goes round. It is judged once; later attempts add nothing to the chain.
fn stopped(inner: &Arc<Inner>, app: &App, target: &Target, leased: &Leased) -> Option<AttemptRecord> {
    if leased.attempt > 1 {
        return None;
    }
    let stopped = chain::admit(inner, app, target, &leased.run).err()?;
    let outcome = Outcome::Rejected(chain::failure(&stopped));
    Some(Taken::now(inner).unstarted(inner, leased.attempt, Some(target), outcome))
}

/// Gives back what was leased and cannot be attempted now.
pub(crate) async fn release(inner: &Inner, leased: &Leased) {
    let end = End { leased, record: None, verdict: Verdict::Release, answer: None };
    let accepting = inner.accepting().await;
    if let Err(error) = conclude(inner, &accepting, vec![end], (Vec::new(), Vec::new()), inner.now()).await {
        unsettled(leased, &error);
    }
}

/// Retry policy and time limit for what started the invocations, and whether they go in an array. Subscriptions are those of the
/// current version, whichever has the work.
fn terms(current: &Target, target: &Target, leased: &[Leased]) -> (RetryPolicy, Duration, bool) {
    let settings = &current.settings;
    let subscription: Option<&Subscription> = leased.first().and_then(|first| {
        match (&first.run.subscription, &first.run.trigger) {
            (Some(name), _) => current.subscription(name),
            // From before subscriptions had queues of their own.
            (None, Trigger::Event { subscription, .. }) => settings.on.get(*subscription as usize),
            (None, _) => None,
        }
    });
    match subscription {
        Some(on) => (on.retry.clone(), on.timeout.unwrap_or(target.settings.timeout), on.batch.is_some()),
        None => (settings.retry.clone(), target.settings.timeout, leased.len() > 1),
    }
}

struct Delivery<'a> {
    inner: &'a Arc<Inner>,
    app: Arc<App>,
    target: Arc<Target>,
    /// At least one.
    leased: &'a [Leased],
    policy: RetryPolicy,
    timeout: Duration,
    batched: bool,
}

/// What an attempt left to be settled.
struct Attempted {
    executed: Executed,
    /// The cause of what it emitted.
    children: Cause,
}

impl Delivery<'_> {
    async fn run(&self, mut admitted: Option<Admitted>) {
        let inner = self.inner;
        let cancel = self.app.life.ending.child_token();
        let runs = self.leased.iter().map(|leased| leased.run.id.clone());
        let under_way = inner.under_way.deliveries(runs, &cancel);
        let mut lease_lost = pin!(keep_leases(inner, self.leased));
        for conflicts in 0..=CONFLICTS_MAX {
            let attempted = tokio::select! {
                biased;
                attempted = self.attempt(&cancel, &under_way) => attempted,
                () = &mut lease_lost => return,
            };
            if under_way.is_stopped() {
                return self.give_back(&under_way).await;
            }
            let record = attempted.as_ref().map_or_else(|record| record, |done| &done.executed.record);
            lifecycle::attempted(inner, &self.app, &self.target, &self.leased[0].run, record);
            rollout::attempted(inner, &self.app, &self.target, record);
            let attempted = match attempted {
                Ok(attempted) => attempted,
                Err(rejected) => return self.settle_unattempted(&rejected).await,
            };
            // One after the other is what `concurrency = 1` promises to those who change state; others need not wait
            // for the disk.
            let conflict = attempted.executed.record.outcome.is_state_conflict();
            if attempted.executed.effects.is_empty() && !conflict {
                drop(admitted.take());
            }
            let may_repeat = conflicts < CONFLICTS_MAX && !self.app.life.ending.is_cancelled();
            if !(may_repeat && conflict || self.settle(attempted, may_repeat).await) {
                return;
            }
            tokio::time::sleep(CONFLICT_PAUSE.mul_f64(f64::from(conflicts + 1) * inner.random())).await;
        }
    }

    /// Makes one attempt: the execution with all its effects, or the record of an attempt that never began.
    async fn attempt(
        &self,
        cancel: &CancellationToken,
        under_way: &Entered,
    ) -> Result<Attempted, AttemptRecord> {
        let Self { inner, app, target, leased, .. } = self;
        let first = &leased[0];
        let taken = Taken::now(inner);
        if let Some(disabled) = inner.hooks.refuses(target) {
            return Err(taken.unstarted(inner, first.attempt, None, disabled));
        }
        let slot = target.pool.take(inner, None, cancel).await.map_err(|failure| {
            taken.unstarted(inner, first.attempt, Some(target), Outcome::Rejected(failure))
        })?;
        let (found, cancel) = ((app.clone(), target.clone()), cancel.child_token());
        let record = Arc::new(first.run.clone());
        let mut attempt = Attempt::new(inner, found, record, first.attempt, self.timeout, None, cancel);
        attempt.stop = under_way.first();
        let children = attempt.cause_of_children();
        self.tell_where_the_logs_are();
        let executed = attempt.execute(slot, taken, self.input(), None).await;
        hook::heed(inner, target, &first.run.id, &executed.record.outcome).await;
        Ok(Attempted { executed, children })
    }

    /// What somebody cancelled is over. The others of its batch were ended with it, and are made again.
    async fn give_back(&self, under_way: &Entered) {
        for leased in self.leased.iter().filter(|leased| !under_way.has_stopped(&leased.run.id)) {
            release(self.inner, leased).await;
        }
    }

    fn input(&self) -> Input {
        if !self.batched {
            return input_of(&self.leased[0]);
        }
        let events = self.leased.iter().filter_map(|leased| match &leased.input {
            StoredInput::Event(event) => Some(told(leased, event)),
            StoredInput::Request(_) => None,
        });
        Input::Events(events.collect())
    }

    /// A batch is one call, whose lines belong to its first run.
    fn tell_where_the_logs_are(&self) {
        let (first, others) = (&self.leased[0], &self.leased[1..]);
        for other in others {
            self.inner.recorder.log(LogRecord {
                at: self.inner.now(),
                run: other.run.id.clone(),
                app: other.run.app.clone(),
                function: other.run.function.clone(),
                attempt: other.attempt,
                stream: LogStream::Platform,
                line: format!("delivered in one call with {}, which has its log lines", first.run.id),
            });
        }
    }

    /// Ends the attempt in the store. `true` when its state changed under it and it has to be made again.
    async fn settle(&self, attempted: Attempted, may_repeat: bool) -> bool {
        let Attempted { executed, children } = attempted;
        let Executed { mut record, mut effects, failed, answer, .. } = executed;
        let inner = self.inner;
        let (mut writes, mut events) = effects.take();
        loop {
            let now = inner.now();
            let ends = self.ends(&record, &failed, answer.as_ref());
            if !ends.iter().any(|end| end.verdict == Verdict::Complete) {
                (writes, events) = (Vec::new(), Vec::new());
            }
            let mut allowance = inner.allowance();
            let accepting = inner.accepting().await;
            let to = (&accepting, accepting.current(&self.app));
            let append = |event| ingest::append_event(inner, to, event, &children, &mut allowance, now);
            let appends: Vec<Append> = std::mem::take(&mut events).into_iter().map(append).collect();
            let effects: (Vec<Write>, Vec<Append>) = (std::mem::take(&mut writes), appends);
            match conclude(inner, &accepting, ends, effects, now).await {
                Ok(()) => {}
                Err(SettleError::Conflict { .. }) if may_repeat => return true,
                Err(error @ SettleError::Conflict { .. }) => {
                    record.outcome = Outcome::Failed(failure_of(&error));
                    continue;
                }
                // Somebody has one of the batch, or cancelled it; the others need not wait until their leases run out.
                Err(SettleError::StaleLease { run }) if self.leased.len() > 1 => {
                    for leased in self.leased.iter().filter(|leased| leased.run.id != run) {
                        release(inner, leased).await;
                    }
                }
                Err(error) => unsettled(&self.leased[0], &error),
            }
            return false;
        }
    }

    /// What becomes of each. Those that `failed` names failed, although the attempt did not.
    fn ends<'s>(
        &'s self,
        record: &AttemptRecord,
        failed: &[String],
        answer: Option<&'s Answer>,
    ) -> Vec<End<'s>> {
        let inner = self.inner;
        let end = |leased: &'_ Leased| {
            let usage = record.usage.one_of(self.leased.len());
            let mut record = AttemptRecord { number: leased.attempt, usage, ..record.clone() };
            let named = match &leased.input {
                StoredInput::Event(event) => failed.iter().any(|id| id == event.id()),
                StoredInput::Request(_) => false,
            };
            if named && record.outcome.is_completed() {
                let words = "the handler named it among batchItemFailures";
                record.outcome = Outcome::Failed(Failure::new(FailureCode::FunctionError, words));
            }
            let verdict = inner.decide(leased, &record.outcome, &self.policy);
            (record, verdict)
        };
        let ends = self.leased.iter().map(|leased| {
            let (record, verdict) = end(leased);
            let answer = answer.filter(|_| matches!(leased.input, StoredInput::Request(_)));
            End { leased, record: Some(record), verdict, answer }
        });
        ends.collect()
    }

    /// Settles what the handler was not called with this time; `record` says why.
    async fn settle_unattempted(&self, record: &AttemptRecord) {
        let ends = self.ends(record, &[], None);
        let accepting = self.inner.accepting().await;
        let none = (Vec::new(), Vec::new());
        if let Err(error) = conclude(self.inner, &accepting, ends, none, self.inner.now()).await {
            unsettled(&self.leased[0], &error);
        }
    }
}

/// Settles one invocation whose handler was not called: `record` says why, or the store has the lost attempt already.
async fn settle_one(inner: &Inner, leased: &Leased, record: Option<AttemptRecord>, policy: &RetryPolicy) {
    let now = inner.now();
    let verdict = match &record {
        Some(record) => inner.decide(leased, &record.outcome, policy),
        None => decide(&Outcome::Lost, policy, leased.attempt - 1, 0.0, now),
    };
    let end = End { leased, record, verdict, answer: None };
    let accepting = inner.accepting().await;
    if let Err(error) = conclude(inner, &accepting, vec![end], (Vec::new(), Vec::new()), now).await {
        unsettled(leased, &error);
    }
}

/// Extends the leases for as long as it is polled; returns when one is lost.
async fn keep_leases(inner: &Inner, leased: &[Leased]) {
    let hold = inner.limits.lease;
    loop {
        tokio::time::sleep(hold / 3).await;
        for leased in leased {
            match inner.store.extend(&leased.lease, inner.steady().after(hold)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, run = %leased.run.id, "a lease could not be extended"),
            }
        }
    }
}

fn input_of(leased: &Leased) -> Input {
    match &leased.input {
        StoredInput::Event(event) => Input::Event(told(leased, event)),
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

/// The event as the function gets it: one that is delivered again says by which replay.
fn told(leased: &Leased, event: &Event) -> Event {
    match &leased.run.replay {
        Some(replay) => event.clone().with_extension(REPLAY, Attribute::String(replay.to_string())),
        None => event.clone(),
    }
}
