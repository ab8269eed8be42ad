//! What an app has, and that it was removed.

use evoke_core::id::AppName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/apps/{app}/inventory`: what goes when the app is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppInventory {
    /// Its name.
    #[schema(value_type = String)]
    pub name: AppName,
    /// Of the deployment that is current.
    pub version: u64,
    /// Functions, without hooks.
    pub functions: usize,
    /// Routes, webhooks and beacons.
    pub routes: usize,
    /// Subscriptions, those of hooks too.
    pub subscriptions: usize,
    /// Schedules.
    pub schedules: usize,
    /// Outbound hooks.
    pub hooks: usize,
    /// Deployments that are remembered.
    pub deployments: usize,
    /// Secrets.
    pub secrets: usize,
    /// Invocations that are queued or running.
    pub pending: u64,
    /// Waits for events.
    pub waits: usize,
    /// Events that wait for their time.
    pub delayed: usize,
    /// Dead letters.
    pub dead_letters: u64,
    /// Events that are kept.
    pub events: u64,
    /// Their bytes.
    pub event_bytes: u64,
    /// Run records.
    pub runs: u64,
    /// Log lines.
    pub log_lines: u64,
    /// Entries of its functions' key-value state.
    pub entries: u64,
    /// Bytes of their values.
    pub entry_bytes: u64,
}

/// `DELETE /v1/apps/{app}`: it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppRemoved {
    /// Its name.
    #[schema(value_type = String)]
    pub name: AppName,
    /// What it had when its removal began; absent when another request began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<AppInventory>,
}
