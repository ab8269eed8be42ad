//! What is accepted: an event with the invocations it causes, and what the store answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::event::Event;
use crate::id::{AppName, RunId};
use crate::record::RunRecord;
use crate::time::Timestamp;

/// One thing to accept.
#[derive(Debug, Clone)]
pub struct Append {
    /// Whose.
    pub app: AppName,
    /// Names it: the same twice is the same thing. For events `(source, id)`.
    pub dedup: Option<Dedup>,
    /// The event, when it is one.
    pub event: Option<Event>,
    /// What it causes. May be empty for an event nobody subscribes to.
    pub invocations: Vec<NewInvocation>,
    /// For an event: the version of the app's deployment whose subscriptions were asked, where that is known.
    pub version: Option<u64>,
    /// The position of an event that is in the log already, to be delivered again: `invocations` join those it caused, and it
    /// is kept for their sake. Such an item has neither `event` nor `dedup`. When the event is no longer there nothing is
    /// stored, and the answer names no runs.
    pub again: Option<u64>,
}

/// De-duplication key within an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dedup {
    /// An event's `source`, or a name of another kind of sender.
    pub scope: String,
    /// An event's `id`, or the sender's idempotency key.
    pub id: String,
}

/// An invocation to queue.
#[derive(Debug, Clone)]
pub struct NewInvocation {
    /// Its record, in state `Queued`; names the queue.
    pub run: RunRecord,
    /// Not before this time.
    pub due_at: Timestamp,
    /// For an asynchronous call: the request. For an event delivery `None`: the input is the event of the append.
    pub request: Option<StoredRequest>,
}

/// An HTTP request kept for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// Method.
    pub method: String,
    /// Absolute URI as the function shall see it.
    pub uri: String,
    /// Header fields in order; values are kept as bytes-as-latin1 text.
    pub headers: Vec<(String, String)>,
    /// Path parameters of the route.
    #[serde(default)]
    pub params: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Position in the log; for a duplicate, that of the first.
    pub seq: u64,
    /// It had been accepted before; nothing was stored now.
    pub duplicate: bool,
    /// The runs it caused; for a duplicate, those the first caused.
    pub runs: Vec<RunId>,
}

impl Append {
    /// Invocations of an event that is in the log at `seq`.
    pub fn again(app: AppName, seq: u64, invocations: Vec<NewInvocation>) -> Self {
        Self { app, dedup: None, event: None, invocations, version: None, again: Some(seq) }
    }

    /// Refuses what no append may be. Back ends call it first.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.again.is_some() && (self.event.is_some() || self.dedup.is_some() || self.version.is_some()) {
            return Err(StoreError::Invalid(
                "an event that is delivered again is not accepted again".to_owned(),
            ));
        }
        Ok(())
    }
}
