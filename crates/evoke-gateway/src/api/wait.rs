//! Waits for particular events.

use evoke_core::id::{AppName, FunctionName, RunId, WaitId};
use evoke_core::wait::{self, Awaited};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// `GET /v1/apps/{app}/waits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitList {
    /// By the runs that wait, oldest first.
    pub waits: Vec<Wait>,
    /// There may be more: pass it as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a run left behind until a particular event arrives or its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wait {
    /// Its id.
    #[schema(value_type = String)]
    pub id: WaitId,
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// The function that waits.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// The run that waits.
    #[schema(value_type = String)]
    pub run: RunId,
    /// The type it waits for, or a prefix and `*`.
    pub event: String,
    /// A CESQL expression the event must pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// A pattern it must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<serde_json::Value>,
    /// The function that is called at its end.
    #[schema(value_type = String)]
    pub then: FunctionName,
    /// What is kept for that.
    pub data: serde_json::Value,
    /// When it was asked for.
    pub since: Time,
    /// When its time is over.
    pub until: Time,
}

impl From<wait::Wait> for Wait {
    fn from(wait: wait::Wait) -> Self {
        let wait::Wait { id, app, by: function, run, awaited, then, data, since, until, .. } = wait;
        let Awaited { event, filter, pattern } = awaited;
        Self {
            id,
            app,
            function,
            run,
            event: event.0,
            r#where: filter.map(|filter| filter.source().to_owned()),
            pattern: pattern.map(|pattern| pattern.source().clone()),
            then,
            data,
            since: since.into(),
            until: until.into(),
        }
    }
}
