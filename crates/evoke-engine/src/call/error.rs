//! Why a call got no answer, in the words and with the hints that its caller gets.

use std::time::Duration;

use evoke_core::chain::LoopStopped;
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::store::{SettleError, Space, StoreError};

use crate::admission::{Bound, Full};
use crate::attempt;
use crate::engine::Inner;
use crate::rollout::NotLive;

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

impl CallError {
    pub(super) fn no_version(app: &AppName, NotLive { version, live }: NotLive) -> Self {
        let live = live.iter().map(|version| format!("version {version}")).collect::<Vec<_>>();
        Self::NoVersion { app: app.clone(), version, live: live.join(" or ") }
    }
}

/// When to come again where nothing was measured yet, and within what it is said.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// The times that callers are told differ by up to this part, so that they do not all come at once.
const AGAIN_SPREAD: f64 = 0.5;

pub(super) fn overloaded(inner: &Inner, function: FunctionName, full: &Full) -> CallError {
    let again = full.again.unwrap_or(AGAIN).clamp(AGAIN_MIN, AGAIN_MAX);
    let retry_after = again.mul_f64(1.0 + AGAIN_SPREAD * inner.random());
    CallError::Overloaded { function, bound: full.bound, waiting: full.waiting, retry_after }
}

/// What the caller is told when the function gave no answer.
pub(super) fn no_answer(outcome: Outcome, run: RunId, function: FunctionName, after: Duration) -> CallError {
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
pub(super) fn not_kept(error: SettleError, run: RunId, function: FunctionName, after: Duration) -> CallError {
    match error {
        SettleError::Store(error) => CallError::Store(error),
        // Only answers are kept there: another node answered the same key meanwhile.
        SettleError::Conflict { space, key, .. } if space == Space::answers() => CallError::KeyInUse { key },
        error => CallError::Failed { run, function, failure: attempt::failure_of(&error), after },
    }
}

pub(super) const ENDED: &str = "the attempt ended without an answer";

pub(super) fn without_answer(words: &str, run: RunId, function: FunctionName, after: Duration) -> CallError {
    let failure = Failure::new(FailureCode::ProtocolViolation, words);
    CallError::Failed { run, function, failure, after }
}
