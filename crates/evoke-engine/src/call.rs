//! Synchronous calls: somebody waits for the response.

mod once;

use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{Cause, RunRecord, RunState, Trigger};
use evoke_core::runtime::{Input, Request, Response};
use evoke_core::store::{SettleError, StoreError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::{Permit, Refused};
use crate::attempt::{self, Attempt, Caller, Executed, NoAnswer, Remember};
use crate::effects::Effects;
use crate::engine::Inner;
use crate::route::{App, Target};
use crate::trace::TraceParent;
use crate::{Engine, ingest};

pub(crate) use once::KeysInUse;

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
    /// The caller's trace, when it sent one.
    pub trace: Option<TraceParent>,
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
    /// Too many calls wait, or this one waited too long.
    #[error(
        "function {function} is at its limit of {concurrency} concurrent calls, and {waiting} more were waiting"
    )]
    Overloaded {
        /// The function.
        function: FunctionName,
        /// Its `concurrency`.
        concurrency: u32,
        /// How many waited.
        waiting: usize,
        /// When to try again.
        retry_after: Duration,
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
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Calls a function and waits for the head of its response. Dropping the future, or the response's body, cancels
    /// the run. Effects are durable before this returns.
    pub async fn call(&self, call: CallRequest) -> Result<Answered, CallError> {
        let CallRequest { app, function, request, trigger, trace, idempotency_key } = call;
        let inner = &self.0;
        let run = inner.new_run_id();
        let cause = inner.cause_of_arrival(Some(run.as_str()), trace.as_ref());
        let ask = Ask { app, function, request, trigger, run, cause, deadline: None };
        match idempotency_key {
            Some(key) => once::call(inner, ask, key).await,
            None => make(inner, ask, None).await,
        }
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
    /// The caller's own, when it has one: the callee has to be done by then.
    pub deadline: Option<Instant>,
}

/// Makes the call. `remember` turns the answer into a write that is committed with the call's effects.
pub(crate) async fn make(
    inner: &Arc<Inner>,
    ask: Ask,
    remember: Option<Remember>,
) -> Result<Answered, CallError> {
    // What a running function calls is part of the work that a drain waits for.
    let _work = match ask.cause.parent {
        Some(_) => inner.work.token(),
        None => inner.begin().ok_or(CallError::Draining)?,
    };
    let Ask { app: app_name, function, mut request, trigger, run, cause, deadline } = ask;
    let (asked, asked_at) = (Instant::now(), inner.now());
    let patience = asked + inner.limits.waiting;
    let patience = deadline.map_or(patience, |deadline| deadline.min(patience));
    let (app, target, permit) = enter(inner, (app_name.clone(), function.clone()), &cause, patience).await?;

    let record = ingest::queued(run.clone(), app_name, function.clone(), trigger, cause.clone(), asked_at);
    if let Ok(traceparent) = TraceParent::header(&cause).parse() {
        request.headers.insert("traceparent", traceparent);
    }
    let (head, answer) = oneshot::channel();
    let timeout = target.settings.timeout;
    let timeout = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(asked).min(timeout));
    let cancel = inner.ending.child_token();
    let guard = cancel.clone().drop_guard();
    let task = Running { inner: inner.clone(), app, target, record, timeout, cancel, asked, patience };
    let done = inner.work.spawn(task.run(permit, request, head, remember));
    let answer = answer.await;
    match answer {
        Ok(Ok(response)) => {
            // From here on a dropped body says that nobody wants the rest.
            guard.disarm();
            Ok(Answered { run, response, replayed: false })
        }
        Ok(Err(NoAnswer::Outcome(outcome, after))) => Err(no_answer(outcome, run, function, timeout, after)),
        Ok(Err(NoAnswer::Settle(SettleError::Store(error)))) => Err(CallError::Store(error)),
        Ok(Err(NoAnswer::Settle(error))) => Err(CallError::Failed {
            run,
            function,
            failure: attempt::failure_of(&error),
            after: asked.elapsed(),
        }),
        Err(_) => {
            let why = if done.await.is_err() {
                "the attempt panicked"
            } else {
                "the attempt ended without an answer"
            };
            let failure = Failure::new(FailureCode::ProtocolViolation, why);
            Err(CallError::Failed { run, function, failure, after: asked.elapsed() })
        }
    }
}

/// Finds the function and waits until it lets the call in: until `patience`, or until the server takes no more calls from
/// outside.
async fn enter(
    inner: &Inner,
    (app, function): (AppName, FunctionName),
    cause: &Cause,
    patience: Instant,
) -> Result<(Arc<App>, Arc<Target>, Permit), CallError> {
    loop {
        let found = inner.directory.snapshot().find(&app, &function);
        let Some((app, target)) = found else { return Err(CallError::NotFound { app, function }) };
        let entered = target.pool.door.enter(patience);
        let entered = match cause.parent {
            Some(_) => Some(entered.await),
            None => inner.stopping.run_until_cancelled(entered).await,
        };
        match entered {
            Some(Ok(permit)) => return Ok((app, target, permit)),
            // Another revision is current now, with a door of its own.
            Some(Err(Refused::Closed)) => {}
            Some(Err(Refused::Full { waiting })) => {
                let (concurrency, retry_after) = (target.pool.concurrency, target.pool.door.retry_after());
                return Err(CallError::Overloaded { function, concurrency, waiting, retry_after });
            }
            None => return Err(CallError::Draining),
        }
    }
}

/// A call that was let in.
struct Running {
    inner: Arc<Inner>,
    app: Arc<App>,
    target: Arc<Target>,
    record: RunRecord,
    timeout: Duration,
    cancel: CancellationToken,
    asked: Instant,
    patience: Instant,
}

impl Running {
    async fn run(
        self,
        permit: Permit,
        request: Request,
        head: oneshot::Sender<Result<Response, NoAnswer>>,
        remember: Option<Remember>,
    ) {
        let Self { inner, app, target, mut record, timeout, cancel, asked, patience } = self;
        let started_at = inner.now();
        let slot = target.pool.take(&inner, Some(patience), &cancel).await;
        let waited = asked.elapsed();
        let executed = match slot {
            Ok(slot) => {
                let (run, cause) = (record.id.clone(), record.cause.clone());
                let mut attempt = Attempt::new(&inner, (app, target.clone()), run, 1, cause, timeout);
                attempt.cancel = cancel;
                let caller = Caller::Waiting { head, remember, record: Box::new(record.clone()) };
                attempt.execute(slot, Input::Request(request), caller).await
            }
            Err(failure) => {
                let outcome = Outcome::Rejected(failure);
                let _ = head.send(Err(NoAnswer::Outcome(outcome.clone(), Duration::ZERO)));
                Executed { outcome, effects: Effects::default(), started_at, ran: Duration::ZERO, cold: true }
            }
        };
        drop(permit);
        let now = inner.now();
        record.state = if executed.outcome.is_completed() { RunState::Completed } else { RunState::Failed };
        record.ended_at = Some(now);
        record.push_attempt(executed.record(1, &target, waited, now));
        inner.recorder.run(record);
    }
}

fn no_answer(
    outcome: Outcome,
    run: RunId,
    function: FunctionName,
    limit: Duration,
    after: Duration,
) -> CallError {
    match outcome {
        Outcome::TimedOut { .. } => CallError::TimedOut { run, function, limit, after },
        Outcome::Rejected(failure) if failure.code == FailureCode::Draining => CallError::Draining,
        Outcome::Failed(failure) | Outcome::Rejected(failure) => {
            CallError::Failed { run, function, failure, after }
        }
        Outcome::Completed { .. } | Outcome::Lost => {
            let failure = Failure::new(FailureCode::ProtocolViolation, "the attempt ended without an answer");
            CallError::Failed { run, function, failure, after }
        }
    }
}
