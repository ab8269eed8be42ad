//! Ending runs before their time.

use evoke_core::id::{Correlation, FunctionName, RunId};
use evoke_core::record::RunState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Run, Time};

/// The body of `POST /v1/apps/{app}/runs/{run}/cancel`; it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    /// Why, for its record; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "sent to the wrong customer")]
    pub reason: Option<String>,
    /// Its `on_failure` is not told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
}

/// A run that is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelledRun {
    /// Its record.
    pub run: Run,
    /// It had been cancelled before, and nothing was changed now.
    pub before: bool,
}

/// The body of `POST /v1/apps/{app}/runs/cancel`: either `runs`, or `all` that wait or are being attempted, which the other
/// members narrow down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRuns {
    /// These runs, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// All of the app that the members below take.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only those of this function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub function: Option<FunctionName>,
    /// Only deliveries of this subscription, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Only those that are `queued`, or `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "queued")]
    pub state: Option<RunState>,
    /// Only those that go back to this start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub root: Option<Correlation>,
    /// Only those accepted at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only those accepted before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// At most so many, 1 to 10,000, the newest first; 10,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Says which it would be, and changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Why, for their records; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Their `on_failure` is not told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
}

/// What was cancelled, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelledRuns {
    /// These are cancelled, now or before.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// These had come to an end by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub ended: Vec<RunId>,
    /// These are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub missing: Vec<RunId>,
    /// With `all`: there may be more; ask again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}
