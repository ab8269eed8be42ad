//! Schedules.

use evoke_core::id::ScheduleName;
use evoke_engine::schedule::Scheduled;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;

/// `GET /v1/apps/{app}/schedules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleList {
    /// All schedules of the app, by name.
    pub schedules: Vec<Schedule>,
}

/// A schedule as it is deployed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ScheduleName,
    /// When it fires: `every 10s`, or a cron expression and its time zone.
    #[schema(example = "0 3 * * * Europe/Zurich")]
    pub timer: String,
    /// Type of the event it publishes.
    pub event: String,
    /// When it fired last, or was first deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
    /// When it will fire next, the next three times.
    pub next: Vec<Time>,
}

impl From<Scheduled> for Schedule {
    fn from(of: Scheduled) -> Self {
        Self {
            name: of.name,
            timer: of.schedule.timer.to_string(),
            event: of.schedule.event,
            last: of.last.map(Time),
            next: of.next.into_iter().map(Time).collect(),
        }
    }
}
