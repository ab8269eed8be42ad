//! Invocations that were given up.

use evoke_core::id::{FunctionName, RunId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Run, Time};

/// `GET /v1/apps/{app}/dead-letters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterList {
    /// Newest first.
    pub dead_letters: Vec<DeadLetter>,
    /// There may be more: pass it as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An invocation that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its record, with the attempts that failed.
    pub run: Run,
    /// Why, as one sentence.
    pub reason: String,
    /// When.
    pub at: Time,
    /// What it was to be given.
    pub input: InputPreview,
}

/// The beginning of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputPreview {
    /// An event.
    Event {
        /// Its `source`.
        source: String,
        /// Its `id`.
        id: String,
        /// Its `type`.
        r#type: String,
        /// Its `subject`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// Size of its data.
        data_bytes: u64,
        /// At most the first 1,024 bytes of its data as text; left out when it is not text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preview: Option<String>,
    },
    /// A request. Its header fields are not shown.
    Request {
        /// Method.
        method: String,
        /// Absolute URI as the function sees it.
        uri: String,
        /// Size of its body.
        body_bytes: u64,
        /// At most the first 1,024 bytes of its body as text; left out when it is not text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preview: Option<String>,
    },
}

/// The body of `POST /v1/apps/{app}/dead-letters/redrive` and `/purge`: either `runs`, or `all`, which the other members
/// narrow down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterOrder {
    /// These runs, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// All dead letters of the app that the members below take.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only those of this function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub function: Option<FunctionName>,
    /// Only those of this subscription, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Only those whose last attempt ended like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "crashed")]
    pub code: Option<String>,
    /// Only those given up at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only those given up before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Only events of this type, or of types that begin so: `order.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Only events for which this CESQL expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// Only those older than this run: `next` of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// At most so many, 1 to 10,000; 10,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Says which it would be, and changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What was put back in its queue, or let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLettersDone {
    /// These runs.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// With `all`: there may be more; ask again with this as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
