//! What is remembered of runs: one record per invocation, with its attempts, and the log lines they wrote.

use serde::{Deserialize, Serialize};

use crate::chain::{Chain, Edge, Link};
use crate::event::EventRef;
use crate::id::{AppName, Correlation, FunctionName, ReplayId, RevisionId, RunId, SubscriptionName, WaitId};
use crate::manifest::Fate;
use crate::outcome::Outcome;
use crate::time::Timestamp;
use crate::usage::Usage;

/// One invocation: who caused it, how far it is, and each attempt at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The app it belongs to.
    pub app: AppName,
    /// The function it calls.
    pub function: FunctionName,
    /// The subscription it is a delivery of: it waits in the queue of that. None for calls, and for deliveries of before
    /// subscriptions had queues of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionName>,
    /// What it is kept in order by: of one queue, those with the same key are attempted one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the subscription takes the event is not known yet: its filters come before the first attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undecided: bool,
    /// What started it.
    pub trigger: Trigger,
    /// The replay that delivers its event again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayId>,
    /// Who caused it.
    pub cause: Cause,
    /// How far it is.
    pub state: RunState,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it reached its final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The next attempt is due then, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Its attempts, oldest first; at most [`RunRecord::ATTEMPTS_KEPT`], then the oldest go.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
}

impl RunRecord {
    /// How many attempts a record holds.
    pub const ATTEMPTS_KEPT: usize = 32;

    /// This run as a part of the chain of what it causes.
    pub fn link(&self) -> Link {
        Link { app: self.app.clone(), function: self.function.clone(), by: Edge::of(&self.trigger) }
    }

    /// Adds an attempt, dropping the oldest over the bound.
    pub fn push_attempt(&mut self, attempt: AttemptRecord) {
        if self.attempts.len() >= Self::ATTEMPTS_KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
    }
}

/// What turned something outside into an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// A request on the data listener that matched a route, or a direct call on the control API.
    Http {
        /// Method.
        method: String,
        /// Path as the client sent it, without the query.
        path: String,
    },
    /// An event that matched a subscription.
    Event {
        /// Which event.
        event: EventRef,
        /// Its type.
        #[serde(rename = "type")]
        ty: String,
        /// Which of the function's `on` entries matched, counted from 0.
        subscription: u32,
    },
    /// Another function's call through the platform API.
    Call {
        /// The calling function.
        by: FunctionName,
    },
    /// Work of another run that has ended, of which it is the destination.
    Destination {
        /// The event that tells of it.
        event: EventRef,
        /// Its type.
        #[serde(rename = "type")]
        ty: String,
        /// The function that did the work.
        by: FunctionName,
        /// How that ended.
        fate: Fate,
    },
    /// The end of a wait: the event came, or its time was over.
    Wait {
        /// Which.
        wait: WaitId,
        /// The function that waited.
        by: FunctionName,
        /// The event that came; `None` after the time-out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<EventRef>,
        /// Its type; after the time-out, the type that was waited for.
        #[serde(rename = "type")]
        ty: String,
    },
}

/// The causal ancestors of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Shared by everything that goes back to the same start.
    pub root: Correlation,
    /// The run that caused this one directly, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    /// How many runs lie between the start and this one.
    pub depth: u32,
    /// Which ones; the last is that of `parent`. Fewer than `depth` where the way led through a server that does not tell.
    #[serde(default, skip_serializing_if = "Chain::is_empty")]
    pub chain: Chain,
    /// The version of the app that all of it stays with, where two shared the work when it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// W3C trace id (32 hex digits).
    pub trace_id: String,
    /// W3C span id of whoever caused it (16 hex digits).
    pub span_id: String,
    /// It goes back to a copy of a request, whose answer nobody gets: see [`crate::experiment`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// How far an invocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, waiting for an attempt.
    Queued,
    /// An attempt is being made.
    Running,
    /// A handler answered.
    Completed,
    /// A sync call failed; nobody will try again.
    Failed,
    /// Given up after its last attempt; can be redriven.
    DeadLettered,
}

impl RunState {
    /// The state as text, the same as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::DeadLettered => "dead_lettered",
        }
    }

    /// Reads what [`RunState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::DeadLettered]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// 1 for the first.
    pub number: u32,
    /// The revision that ran, once one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionId>,
    /// When it was taken up.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Microseconds it waited for an instance.
    pub waited_us: u64,
    /// Microseconds the handler ran.
    pub ran_us: u64,
    /// What else it used, as far as it was measured.
    #[serde(default, skip_serializing_if = "Usage::is_unknown")]
    pub usage: Usage,
    /// Whether it had to wait for a new instance.
    pub cold: bool,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// One line a function wrote, or the platform wrote about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When it was received.
    pub at: Timestamp,
    /// Whose run.
    pub run: RunId,
    /// Its app.
    pub app: AppName,
    /// Its function.
    pub function: FunctionName,
    /// Which attempt.
    pub attempt: u32,
    /// Where it came from.
    pub stream: LogStream,
    /// The text without its line end, cut at the limit.
    pub line: String,
}

/// Where a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// The function's standard output.
    Stdout,
    /// The function's standard error.
    Stderr,
    /// Evoke itself.
    Platform,
}

impl LogStream {
    /// The stream as text, the same as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Platform => "platform",
        }
    }
}
