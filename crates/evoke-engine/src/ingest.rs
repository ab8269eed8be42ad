//! What is accepted to be done later: events, and calls whose sender does not wait.

use evoke_core::event::{Event, EventError};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::record::Trigger;
use evoke_core::runtime::Request;
use evoke_core::store::StoreError;

use crate::Engine;
use crate::trace::TraceParent;

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Position in the log.
    pub seq: u64,
    /// It had been accepted before.
    pub duplicate: bool,
    /// The runs it caused.
    pub runs: Vec<RunId>,
}

/// Why events were not accepted. None of the batch was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// No such app.
    #[error("app {app} is not deployed")]
    NotFound {
        /// The app.
        app: AppName,
    },
    /// One of them is not acceptable.
    #[error("event {index}: {cause}")]
    Invalid {
        /// Which, from 0.
        index: usize,
        /// Why.
        cause: EventError,
    },
    /// There are too many of them.
    #[error("{count} events in one publish, the limit is {limit}")]
    TooMany {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A call to make later.
#[derive(Debug)]
pub struct LaterCall {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// The request it gets; its body is read to the end first.
    pub request: Request,
    /// How it came to be.
    pub trigger: Trigger,
    /// The caller's trace.
    pub trace: Option<TraceParent>,
    /// The caller's `Idempotency-Key`: the same key within a day names the same run.
    pub idempotency_key: Option<String>,
}

/// A call that was accepted for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its run.
    pub run: RunId,
    /// It had been accepted before under the same `Idempotency-Key`.
    pub duplicate: bool,
}

/// Why a call was not accepted for later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaterError {
    /// Nothing of that name is deployed.
    #[error("app {app} has no function {function}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The function.
        function: FunctionName,
    },
    /// The request body is too large.
    #[error("request body is larger than the limit of {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The client stopped sending.
    #[error("{0}")]
    BodyAborted(String),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Accepts events from outside. Attributes a sender may leave to Evoke (`time`, the correlation extension) are
    /// filled in. Durable when it returns.
    pub async fn publish(&self, _app: &AppName, _events: Vec<Event>, _trace: Option<TraceParent>) -> Result<Vec<Published>, PublishError> {
        todo!()
    }

    /// A fresh event id, for senders that gave none.
    pub fn new_event_id(&self) -> String {
        todo!()
    }

    /// Accepts a call to be made later. Durable when it returns.
    pub async fn call_later(&self, _call: LaterCall) -> Result<Accepted, LaterError> {
        todo!()
    }
}
