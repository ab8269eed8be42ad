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

/// The body of `POST /v1/apps/{app}/dead-letters/redrive`: either `runs`, or `all` (of one `function`, if named).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// These runs, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// All dead letters of the app.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// With `all`: only those of this function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub function: Option<FunctionName>,
}

/// What was put back in its queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Redriven {
    /// These runs, with a fresh count of attempts.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// With `all`: there are more than one request redrives (10,000); ask again.
    pub more: bool,
}
