//! Everything that goes back to the same start, as a tree.

use evoke_core::id::{Correlation, RunId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Run, Time};

/// `GET /v1/apps/{app}/runs/{run}/tree`. Runs and events alternate: a run has the events it published and the runs it
/// called as children, an event the runs it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunTree {
    /// What all of it shares.
    #[schema(value_type = String)]
    pub root: Correlation,
    /// What has no cause within it, oldest first: usually one, a call or an event from outside.
    pub nodes: Vec<TreeNode>,
    /// There was more than one answer holds (1,000 runs, 1,000 events, 40 levels); some of it is left out.
    pub truncated: bool,
}

/// A run or an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TreeNode {
    /// A run.
    Run(Box<RunNode>),
    /// An event.
    Event(EventNode),
}

/// A run in its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunNode {
    /// The run.
    pub run: Run,
    /// The events it published and the runs it called, oldest first.
    #[schema(no_recursion)]
    pub children: Vec<TreeNode>,
}

/// An event in its tree, without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventNode {
    /// Position in the log.
    pub seq: u64,
    /// When it was accepted.
    pub accepted_at: Time,
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Its `type`.
    pub r#type: String,
    /// Its `subject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The run that published it (`causationid`), when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub published_by: Option<RunId>,
    /// The runs it started, oldest first.
    #[schema(no_recursion)]
    pub children: Vec<TreeNode>,
}
