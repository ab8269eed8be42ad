//! Subscriptions as one operates them.

use evoke_core::id::FunctionName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The subscriptions of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionList {
    /// By function, in the order of the manifest.
    pub subscriptions: Vec<SubscriptionState>,
    /// Where counting stops, and how many deliveries a paused subscription collects at most.
    pub waiting_max: u64,
}

/// A subscription and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionState {
    /// Whose.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// What tells it from the function's others.
    pub name: String,
    /// The events: a type, or a prefix and `*`.
    pub event: String,
    /// The filter over attributes, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// What deliveries are kept in order by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Attempts at once, where it has a limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Events of one call, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Since when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Time>,
    /// Deliveries that are neither done nor given up, counted up to `waiting_max`.
    pub waiting: u64,
    /// Those of them that could be attempted now.
    pub available: u64,
    /// Since when the first of those could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_since: Option<Time>,
}

/// What pausing or resuming changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseChange {
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether it was not so before.
    pub changed: bool,
}
