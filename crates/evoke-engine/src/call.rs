//! Synchronous calls: somebody waits for the response.

use std::time::Duration;

use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::outcome::Failure;
use evoke_core::record::Trigger;
use evoke_core::runtime::{Request, Response};
use evoke_core::store::StoreError;

use crate::Engine;
use crate::trace::TraceParent;

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
    #[error("function {function} is at its limit of {concurrency} concurrent calls, and {waiting} more were waiting")]
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
    pub async fn call(&self, _call: CallRequest) -> Result<Answered, CallError> {
        todo!()
    }
}
