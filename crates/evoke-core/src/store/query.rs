//! What a store may be asked for.

use super::Space;
use crate::id::{AppName, Correlation, FunctionName, RunId};
use crate::record::RunState;

/// Which entries.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Where.
    pub space: Space,
    /// Keys that start with this.
    pub prefix: String,
    /// Keys after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Which events. One that is no longer kept is found by its id for as long as its duplicates are recognised, and not
/// otherwise: see [`StoredEvent::expired_at`](super::StoredEvent::expired_at).
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of this app.
    pub app: Option<AppName>,
    /// Of exactly this type.
    pub ty: Option<String>,
    /// With this id (any source).
    pub id: Option<String>,
    /// With this root cause (the `correlationid` extension): the events of one run tree.
    pub root: Option<Correlation>,
    /// Before this position.
    pub before: Option<u64>,
    /// After this position, and then the oldest first. Not together with `id` or `root`.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// Of this app.
    pub app: Option<AppName>,
    /// Of this function.
    pub function: Option<FunctionName>,
    /// In this state.
    pub state: Option<RunState>,
    /// With this id.
    pub id: Option<RunId>,
    /// With this root cause.
    pub root: Option<Correlation>,
    /// With an id that sorts before this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

/// Which log lines.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Of this app.
    pub app: Option<AppName>,
    /// Of this function.
    pub function: Option<FunctionName>,
    /// Of this run.
    pub run: Option<RunId>,
    /// After this position: the `limit` oldest lines after it. Without it: the `limit` newest lines.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    /// Of this app.
    pub app: Option<AppName>,
    /// Of this function.
    pub function: Option<FunctionName>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Whose run id sorts before this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}
