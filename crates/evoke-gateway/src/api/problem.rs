//! Errors, as RFC 9457 problem details.

use evoke_core::id::RunId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error, `application/problem+json`. `docs/reference/http-errors.md` lists every `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `/problems/<code>`, a URI-reference; the control listener serves its description there.
    pub r#type: String,
    /// The kind of problem in words; the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do about it.
    pub detail: String,
    /// The kind of problem for programs.
    pub code: String,
    /// Whether the same request can succeed later.
    pub retry: bool,
    /// When to try again at the earliest; `Retry-After` has it in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Who ended the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// How long it ran until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// The limit that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The run it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// What is wrong with a deployment, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The function failed by itself.
    Function,
    /// Evoke ended or refused it.
    Platform,
    /// The server behind a route failed.
    Upstream,
    /// Whoever called went away, or sent something unusable.
    Caller,
    /// Somebody with the token.
    Operator,
}

impl EndedBy {
    /// One word, the same as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Platform => "platform",
            Self::Upstream => "upstream",
            Self::Caller => "caller",
            Self::Operator => "operator",
        }
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// Its name, unit last: `timeout_ms`, `body_bytes`, `concurrency`.
    pub name: String,
    /// Its value.
    pub value: u64,
}

/// One thing that is wrong with a deployment, or with a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemItem {
    /// What is wrong.
    pub message: String,
    /// What kind of thing, for programs.
    pub code: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The last lines of the tool that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// The file, relative to the app's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The function it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The part of the request's body (JSON pointer, RFC 6901; empty for the whole).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}
