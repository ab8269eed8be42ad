//! Synchronous calls: somebody waits for the response.

mod door;
mod making;
mod once;
mod repeat;

use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::chain::{Edge, LoopStopped};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::manifest::OnDisconnect;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{AttemptRecord, Cause, RunRecord, RunState, Trigger};
use evoke_core::runtime::{Input, Request, Response};
use evoke_core::store::{SettleError, Space, StoreError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use crate::admission::Bound;
use crate::admission::{Allowed, Door, Full, Kind, Permit, Refused, Visitor};
use crate::arrival::Arrival;
use crate::attempt::{self, Attempt, Caller, Executed, Head, NoAnswer, Taken};
use crate::engine::Inner;
use crate::next::{Next, Onward};
use crate::rollout::NotLive;
use crate::route::{App, Snapshot, Target};
use crate::under_way::Calling;
use crate::{Engine, chain, ingest, lifecycle, rollout};

use making::Making;
use repeat::Again;

pub(crate) use once::{Keyed, KeysInUse};

/// A call to make now.
#[derive(Debug)]
pub struct CallRequest {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// The request it gets.
    pub request: Request,
    /// How it came to be.
    pub trigger: Trigger,
    /// Where it came from.
    pub from: Arrival,
    /// The caller's `Idempotency-Key`: the same key within a day gets the first answer again.
    pub idempotency_key: Option<String>,
}

/// A call that was answered.
#[derive(Debug)]
pub struct Answered {
    /// Its run.
    pub run: RunId,
    /// The answer; its body may still be arriving.
    pub response: Response,
    /// It was answered before, under the same `Idempotency-Key`.
    pub replayed: bool,
}

/// Why a call got no answer from its function.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nothing of that name is deployed.
    #[error("app {app} has no function {function}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The function.
        function: FunctionName,
    },
    /// A version was asked for that does no work.
    #[error("version {version} of app {app} does no work; {live} can be asked for")]
    NoVersion {
        /// The app.
        app: AppName,
        /// Which was asked for.
        version: u64,
        /// Those that can be.
        live: String,
    },
    /// The chain of calls and events that led here has reached a bound.
    #[error("function {function} was not called: {stopped}")]
    Loop {
        /// Its run, which did not begin.
        run: RunId,
        /// The function.
        function: FunctionName,
        /// The chain, and the bound.
        stopped: Box<LoopStopped>,
    },
    /// Too many calls wait, this one would have waited too long, or did.
    #[error("function {function} was not called: {bound}, and {waiting} more calls of it were waiting")]
    Overloaded {
        /// The function.
        function: FunctionName,
        /// What kept it from being let in.
        bound: Bound,
        /// How many waited.
        waiting: usize,
        /// When those are through who wait.
        retry_after: Duration,
    },
    /// What is left of the calling function's time is less than this one usually takes.
    #[error(
        "function {function} was not called: it usually takes {} ms, and its caller has {} ms left",
        typical.as_millis(), left.as_millis()
    )]
    TooLate {
        /// The function.
        function: FunctionName,
        /// What is left.
        left: Duration,
        /// What half of its attempts stay below.
        typical: Duration,
    },
    /// The function failed.
    #[error("function {function} failed: {failure}")]
    Failed {
        /// Its run.
        run: RunId,
        /// The function.
        function: FunctionName,
        /// What went wrong.
        failure: Failure,
        /// How long it ran.
        after: Duration,
    },
    /// The function reached its time limit.
    #[error("function {function} was ended at its time limit of {} ms", limit.as_millis())]
    TimedOut {
        /// Its run.
        run: RunId,
        /// The function.
        function: FunctionName,
        /// The limit.
        limit: Duration,
        /// How long it ran.
        after: Duration,
    },
    /// The request body is too large.
    #[error("request body is larger than the limit of {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The client stopped sending its body.
    #[error("{0}")]
    BodyAborted(String),
    /// A call with the same `Idempotency-Key` is still running.
    #[error("a call with idempotency key {key:?} is still running")]
    KeyInUse {
        /// The key.
        key: String,
    },
    /// The same `Idempotency-Key` was used with another request.
    #[error("idempotency key {key:?} was used before with a different request")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store did not say whether it kept what the function changed.
    #[error("whether what function {function} changed was kept is unknown")]
    Unknown {
        /// Its run: completed, when it was kept.
        run: RunId,
        /// The function.
        function: FunctionName,
        /// The call has an idempotency key: made again it has its effects once.
        keyed: bool,
    },
    /// The store failed; nothing was kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Calls a function and waits for the head of its response. Dropping the future, or the response's body, cancels
    /// the run. Effects are durable before this returns.
    pub async fn call(&self, call: CallRequest) -> Result<Answered, CallError> {
        self.call_along(call, None, None).await
    }

    /// [`Engine::call`] on the way along a route: caused by the decorator before (`after`), and with more to come behind it
    /// (`next`), for one that is a decorator itself.
    pub async fn call_along(
        &self,
        call: CallRequest,
        after: Option<Onward>,
        next: Option<Next>,
    ) -> Result<Answered, CallError> {
        let CallRequest { app, function, request, trigger, from, idempotency_key } = call;
        let inner = &self.0;
        let run = inner.new_run_id();
        let (mut cause, of, deadline) = match after {
            Some(Onward { cause, of, deadline }) => (cause, of, Some(deadline)),
            None => (inner.cause_of_run(&run, &from), None, None),
        };
        if cause.parent.is_none() {
            let assigned = inner.directory.snapshot().assign(&app, &from.wish, run.as_str());
            cause.version = assigned.map_err(|error| CallError::no_version(&app, error))?;
        }
        let ask = Ask { app, function, request, trigger, run, cause, of, deadline, next };
        match idempotency_key {
            Some(key) => Box::pin(once::call(inner, ask, key)).await,
            None => make(inner, ask, None).await,
        }
    }
}

impl CallError {
    fn no_version(app: &AppName, NotLive { version, live }: NotLive) -> Self {
        let live = live.iter().map(|version| format!("version {version}")).collect::<Vec<_>>();
        Self::NoVersion { app: app.clone(), version, live: live.join(" or ") }
    }
}

/// A call from outside or from another function, ready to be made.
pub(crate) struct Ask {
    pub app: AppName,
    pub function: FunctionName,
    pub request: Request,
    pub trigger: Trigger,
    pub run: RunId,
    pub cause: Cause,
    /// The version of the app that calls, when it does: it calls its own functions, also when it has been replaced since.
    pub of: Option<Arc<App>>,
    /// The caller's own, when it has one: the callee has to be done by then.
    pub deadline: Option<Instant>,
    /// What follows it on its route, when it is a decorator.
    pub next: Option<Next>,
}

/// Makes the call. With a key, its answer is remembered in the same transaction as its effects.
pub(crate) async fn make(inner: &Arc<Inner>, ask: Ask, keyed: Option<Keyed>) -> Result<Answered, CallError> {
    // What a running function calls is part of the work that a drain waits for.
    let _work = match ask.cause.parent {
        Some(_) => inner.work.token(),
        None => inner.begin().ok_or(CallError::Draining)?,
    };
    let Ask { app: app_name, function, request, trigger, run, cause, of, deadline, next } = ask;
    let taken = Taken::now(inner);
    let name = (app_name.clone(), function.clone());
    let record = ingest::queued(run.clone(), app_name, function.clone(), trigger, cause, taken.at);
    let found = Found::of(inner, &name, &record.cause, of.as_ref());
    if let Some(Found { app, target, .. }) = &found
        && let Err(stopped) = chain::admit(inner, app, target, &record)
    {
        let outcome = Outcome::Rejected(chain::failure(&stopped));
        let attempt = taken.unstarted(inner, 1, Some(target), outcome);
        inner.recorder.run(ended(record, attempt));
        return Err(CallError::Loop { run, function, stopped });
    }
    let record = Arc::new(record);
    let coming = Coming {
        cause: &record.cause,
        of: of.as_ref(),
        since: taken.since,
        deadline,
        bytes: held_bytes(&request.body),
    };
    let entering = enter(inner, name, found, coming);
    let ((app, target, permit, patience), waited) = door::enter(inner, &record, taken, entering).await?;
    let cancel = app.life.ending.child_token();
    // Fires when nobody wants the answer any more, and also when somebody asks for its end.
    let is_inner = record.cause.parent.is_some();
    let calling = match waited {
        Some(waited) => {
            drop(record);
            waited.go_on(&cancel);
            waited
        }
        None => inner.under_way.call(record, &cancel),
    };
    let is_keyed = keyed.is_some();
    // What has not arrived does not arrive any more, so a call without it could not finish.
    let finishes = matches!(request.body, Body::Full(_))
        && target.settings.admission.on_disconnect == OnDisconnect::Finish;
    let stop = (!finishes).then(|| calling.stop.clone());
    let (head, answer) = oneshot::channel();
    let task =
        Running { inner: inner.clone(), app, target, calling, deadline, next, cancel, taken, patience };
    let making = Making::new(inner, Box::pin(task.run(permit, request, head, keyed)), is_inner, stop);
    let after = || taken.since.elapsed();
    match making.answered(answer).await {
        Ok(Ok(response)) => Ok(Answered { run, response, replayed: false }),
        Ok(Err(NoAnswer::Outcome(outcome, after))) => Err(no_answer(outcome, run, function, after)),
        Ok(Err(NoAnswer::Settle(SettleError::Store(StoreError::Outcome(cause))))) => {
            tracing::error!(%run, %function, cause, "the store did not say whether it kept the effects of a call");
            Err(CallError::Unknown { run, function, keyed: is_keyed })
        }
        Ok(Err(NoAnswer::Settle(error))) => Err(not_kept(error, run, function, after())),
        Err(words) => Err(without_answer(words, run, function, after())),
    }
}

/// A call on its way to its function's door.
struct Coming<'a> {
    cause: &'a Cause,
    of: Option<&'a Arc<App>>,
    since: Instant,
    /// The caller's own.
    deadline: Option<Instant>,
    /// Of its body, while it waits.
    bytes: u64,
}

/// Finds the function and waits until it lets the call in: as long as calls may, or until the server takes no more calls
/// from outside. Says until when the call may wait for an instance.
async fn enter(
    inner: &Inner,
    name: (AppName, FunctionName),
    mut found: Option<Found>,
    coming: Coming<'_>,
) -> Result<(Arc<App>, Arc<Target>, Permit, Instant), CallError> {
    let mut started = None;
    loop {
        let found = found.take().or_else(|| Found::of(inner, &name, coming.cause, coming.of));
        let Some(Found { app, target, snapshot }) = found else {
            let (app, function) = name;
            return Err(CallError::NotFound { app, function });
        };
        let most = target.settings.admission.max_wait.unwrap_or(inner.limits.waiting);
        let patience = coming.since + most;
        let patience = coming.deadline.map_or(patience, |deadline| deadline.min(patience));
        let visitor = Visitor {
            kind: Kind::Sync,
            inner: coming.cause.parent.is_some().then(|| calls_above(coming.cause)),
            patience,
            deadline: coming.deadline,
            bytes: coming.bytes,
        };
        let function = name.1.clone();
        if let Some(allowed) = target.rate.as_ref().filter(|_| started.is_none()) {
            started = Some(Start::of(inner, allowed, &function)?);
        }
        let door = match coming.of {
            Some(_) => door_of(inner, &name, &target),
            None => target.door.clone(),
        };
        let entered = match coming.cause.parent {
            _ if coming.cause.shadow => Some(door.enter_spare()),
            Some(_) => Some(door.enter(visitor).await),
            None if inner.stopping.is_cancelled() => None,
            // Mostly there is room, and then nobody has to be told of the end.
            None => tokio::select! {
                biased;
                entered = door.enter(visitor) => Some(entered),
                () = inner.stopping.cancelled() => None,
            },
        };
        match entered {
            // Its version was withdrawn while it waited; the door is that of the other one too.
            Some(Ok(permit))
                if coming.of.is_none()
                    && !inner.directory.is_current(&snapshot)
                    && !inner.directory.snapshot().is_live(&name.0, &target) =>
            {
                permit.unused();
            }
            Some(Ok(permit)) => {
                if let Some(start) = started {
                    start.made();
                }
                // The function's own bound is for its line; how long a start takes is not up to it.
                let patience = coming.since + most.max(inner.limits.waiting);
                let patience = coming.deadline.map_or(patience, |deadline| deadline.min(patience));
                return Ok((app, target, permit, patience));
            }
            // Another revision is current now, with a door of its own.
            Some(Err(Refused::Closed)) => {}
            Some(Err(Refused::Full(full))) => return Err(overloaded(inner, function, &full)),
            Some(Err(Refused::TooLate { left, typical })) => {
                return Err(CallError::TooLate { function, left, typical });
            }
            None => return Err(CallError::Draining),
        }
    }
}

/// A start that the function's rate allows. Dropping it gives it back.
struct Start(Option<Arc<Allowed>>);

impl Start {
    fn of(inner: &Inner, allowed: &Arc<Allowed>, function: &FunctionName) -> Result<Self, CallError> {
        match allowed.take() {
            Ok(()) => Ok(Self(Some(allowed.clone()))),
            Err(again) => {
                let full = Full { bound: Bound::Rate(allowed.rate), waiting: 0, again: Some(again) };
                Err(overloaded(inner, function.clone(), &full))
            }
        }
    }

    fn made(mut self) {
        self.0 = None;
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(allowed) = &self.0 {
            allowed.give_back(1);
        }
    }
}

/// When to come again where nothing was measured yet, and within what it is said.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// The times that callers are told differ by up to this part, so that they do not all come at once.
const AGAIN_SPREAD: f64 = 0.5;

pub(crate) fn overloaded(inner: &Inner, function: FunctionName, full: &Full) -> CallError {
    let again = full.again.unwrap_or(AGAIN).clamp(AGAIN_MIN, AGAIN_MAX);
    let retry_after = again.mul_f64(1.0 + AGAIN_SPREAD * inner.random());
    CallError::Overloaded { function, bound: full.bound, waiting: full.waiting, retry_after }
}

/// Calls that running functions made and wait for, above this one.
fn calls_above(cause: &Cause) -> usize {
    cause.chain.links().iter().rev().take_while(|link| link.by == Edge::Call).count()
}

/// What a body that is still arriving holds at most: what is on its way between connection and function.
const ARRIVING_BYTES: u64 = 64 << 10;

fn held_bytes(body: &Body) -> u64 {
    match body {
        Body::Full(bytes) => bytes.len() as u64,
        Body::Stream(_) | Body::Watched(_) => ARRIVING_BYTES,
    }
}

/// Where to be let in to an instance of `target`. One that was replaced since is behind the door of what took its place.
fn door_of(inner: &Inner, (app, function): &(AppName, FunctionName), target: &Target) -> Arc<Door> {
    if !target.door.is_closed() {
        return target.door.clone();
    }
    let now = inner.directory.snapshot().target(app, function).map(|now| now.door.clone());
    // Nothing did: those who still call it have a door of their own each.
    now.unwrap_or_else(|| inner.hall.door(app, target.door.terms))
}

/// The function of that name that can be called. A hook takes events only.
struct Found {
    app: Arc<App>,
    target: Arc<Target>,
    /// What was deployed when it was looked for.
    snapshot: Arc<Snapshot>,
}

impl Found {
    fn of(
        inner: &Inner,
        (app, function): &(AppName, FunctionName),
        cause: &Cause,
        of: Option<&Arc<App>>,
    ) -> Option<Self> {
        let snapshot = inner.directory.snapshot();
        let (app, target) = match of.filter(|_| snapshot.apps.contains_key(app)) {
            Some(of) => (of.clone(), of.functions.get(function)?.clone()),
            None => snapshot.callee(app, function, cause)?,
        };
        target.settings.hook.is_none().then_some(Self { app, target, snapshot })
    }
}

/// The record of a call after its only attempt.
fn ended(mut record: RunRecord, attempt: AttemptRecord) -> RunRecord {
    end(&mut record, attempt);
    record
}

fn end(record: &mut RunRecord, attempt: AttemptRecord) {
    record.state = if attempt.outcome.is_completed() { RunState::Completed } else { RunState::Failed };
    record.ended_at = Some(attempt.ended_at);
    record.push_attempt(attempt);
}

/// A call that was let in.
struct Running {
    inner: Arc<Inner>,
    app: Arc<App>,
    target: Arc<Target>,
    calling: Calling,
    /// The caller's own.
    deadline: Option<Instant>,
    next: Option<Next>,
    cancel: CancellationToken,
    taken: Taken,
    patience: Instant,
}

impl Running {
    async fn run(self, permit: Permit, request: Request, head: Head, keyed: Option<Keyed>) {
        let Self { inner, app, target, calling, deadline, next, mut cancel, taken, patience } = self;
        // The key is in use until this run is over, whether or not its caller is still there.
        let (remember, _in_use) = keyed.map(|keyed| (keyed.remember, keyed.in_use)).unzip();
        let mut record = calling.note(|record| record.state = RunState::Running);
        let mut again = Again::new(&target, &request, deadline);
        let (mut request, mut head, mut taken, mut patience) = (request, head, taken, patience);
        let (attempt, unknown) = loop {
            let slot = match target.pool.take(&inner, Some(patience), &cancel).await {
                Ok(slot) => slot,
                Err(failure) => {
                    let outcome = Outcome::Rejected(calling.stop.failure().unwrap_or(failure));
                    // Nobody may be there to hear it.
                    let _ = head.send(Err(NoAnswer::Outcome(outcome.clone(), Duration::ZERO)));
                    break (taken.unstarted(&inner, again.number(), Some(&target), outcome), false);
                }
            };
            let (until, found) = (again.begin(), (app.clone(), target.clone()));
            let (number, timeout) = (again.number(), target.settings.timeout);
            let mut attempt =
                Attempt::new(&inner, found, record.clone(), number, timeout, until, cancel.clone());
            attempt.next.clone_from(&next);
            attempt.stop = Some(calling.stop.clone());
            attempt.of_caller = deadline.is_some_and(|deadline| deadline <= attempt.deadline);
            let caller = Caller::new(head, remember.clone(), again.is_possible());
            let executed = attempt.execute(slot, taken, Input::Request(request), Some(caller)).await;
            let Executed { record: attempt, called, unanswered, unknown, .. } = executed;
            let Some(unheard) = unanswered.and_then(Caller::into_head) else { break (attempt, unknown) };
            let finishes = target.settings.admission.on_disconnect == OnDisconnect::Finish;
            let abandoned = unheard.is_closed() && !finishes;
            let ended = app.life.ending.is_cancelled() || calling.is_stopped();
            let next = match called || abandoned || ended {
                true => None,
                false => Box::pin(again.next(&inner)).await,
            };
            let Some(next) = next else {
                let ran = Duration::from_micros(attempt.ran_us);
                let _ = unheard.send(Err(NoAnswer::Outcome(attempt.outcome.clone(), ran)));
                break (attempt, false);
            };
            Arc::make_mut(&mut record).push_attempt(attempt);
            (request, head, taken) = (next, unheard, Taken::now(&inner));
            patience = again.patience(taken.since + inner.limits.waiting);
            // The attempt may have ended itself, which is not to end the next one.
            cancel = app.life.ending.child_token();
            calling.go_on(&cancel);
        };
        drop(permit);
        lifecycle::attempted(&inner, &app, &target, &record, &attempt);
        rollout::attempted(&inner, &app, &target, &attempt);
        let attempts = Arc::unwrap_or_clone(record).attempts;
        let unknown = unknown && Box::pin(repeat::is_kept(&inner, calling.run())).await;
        let ended = calling.note(|record| {
            record.attempts = attempts;
            end(record, attempt);
            if unknown {
                record.state = RunState::Completed;
            }
        });
        if unknown {
            return;
        }
        let run = calling.run().clone();
        inner.recorder.run(ended);
        // Who looks for it finds it in one of the two.
        drop(calling);
        inner.endings.tell(&run);
    }
}

/// What the caller is told when the function gave no answer.
fn no_answer(outcome: Outcome, run: RunId, function: FunctionName, after: Duration) -> CallError {
    match outcome {
        Outcome::TimedOut { after_ms, .. } => {
            CallError::TimedOut { run, function, limit: Duration::from_millis(after_ms), after }
        }
        Outcome::Rejected(failure) if failure.code == FailureCode::Draining => CallError::Draining,
        Outcome::Failed(failure) | Outcome::Rejected(failure) => {
            CallError::Failed { run, function, failure, after }
        }
        Outcome::Completed { .. } | Outcome::Lost => without_answer(ENDED, run, function, after),
    }
}

/// What the caller is told when the store did not take the effects.
fn not_kept(error: SettleError, run: RunId, function: FunctionName, after: Duration) -> CallError {
    match error {
        SettleError::Store(error) => CallError::Store(error),
        // Only answers are kept there: another node answered the same key meanwhile.
        SettleError::Conflict { space, key, .. } if space == Space::answers() => CallError::KeyInUse { key },
        error => CallError::Failed { run, function, failure: attempt::failure_of(&error), after },
    }
}

const ENDED: &str = "the attempt ended without an answer";

fn without_answer(words: &str, run: RunId, function: FunctionName, after: Duration) -> CallError {
    let failure = Failure::new(FailureCode::ProtocolViolation, words);
    CallError::Failed { run, function, failure, after }
}
