//! Hooks as one operates them.

use evoke_core::id::{FunctionName, RunId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Attempt, Time};

/// The hooks of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookList {
    /// By name.
    pub hooks: Vec<Hook>,
    /// How many of the newest deliveries `recent` is about.
    pub recent_max: usize,
}

/// A hook and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hook {
    /// Its name.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// Where its events are sent to.
    pub url: String,
    /// The events: types, or prefixes and `*`.
    pub events: Vec<String>,
    /// Why nothing is sent, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<HookDisabled>,
    /// The newest deliveries.
    pub recent: HookDeliveries,
    /// The attempt that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Attempt>,
}

/// Why a hook is disabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookDisabled {
    /// Since when.
    pub at: Time,
    /// What the endpoint answered.
    pub reason: String,
    /// The delivery that this was the answer to.
    #[schema(value_type = String)]
    pub run: RunId,
}

/// What became of deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookDeliveries {
    /// Delivered.
    pub delivered: usize,
    /// Not yet, and tried again.
    pub waiting: usize,
    /// Given up.
    pub failed: usize,
}

/// What enabling a hook changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookChange {
    /// Whether it was disabled before.
    pub changed: bool,
}

/// What came of a sample event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookTrial {
    /// Its run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// The event's id, which the endpoint got as `webhook-id`.
    pub event: String,
    /// Whether the endpoint took it.
    pub delivered: bool,
    /// The status of the answer to what was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first bytes of the answer to what was delivered.
    pub answer: String,
    /// How long it took.
    pub took_us: u64,
}
