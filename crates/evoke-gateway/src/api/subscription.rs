//! Subscriptions as one operates them.

use evoke_core::id::{FunctionName, ReplayId};
use evoke_engine::replay::Replay;
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
    /// The first event it got, or gets, when it was deployed for the first time, where that is not the first one after: `beginning`, a
    /// time, or how long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// It is catching up with what was accepted before; what is accepted meanwhile comes after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catching_up: Option<CatchingUp>,
    /// What waits for it.
    #[serde(flatten)]
    pub backlog: Backlog,
}

/// How far a subscription is that starts in the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CatchingUp {
    /// The replay that does it.
    #[schema(value_type = String)]
    pub replay: ReplayId,
    /// How much of what there was when it began has been looked at.
    pub percent: u64,
    /// Events put in its queue.
    pub delivered: u64,
    /// When it began.
    pub since: Time,
}

impl From<&Replay> for CatchingUp {
    fn from(of: &Replay) -> Self {
        let (percent, since) = (of.percent(), of.created_at.into());
        Self { replay: of.id.clone(), percent, delivered: of.delivered, since }
    }
}

/// The queues of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    /// By function, in the order of the manifest.
    pub queues: Vec<QueueState>,
    /// Where counting stops, and how many messages a paused queue collects at most.
    pub waiting_max: u64,
}

/// A queue and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueState {
    /// Its name; its messages are events of the type `queue.NAME`.
    pub name: String,
    /// The function that takes its messages.
    #[schema(value_type = String)]
    pub to: FunctionName,
    /// How long a message that somebody got is seen by nobody else.
    pub visibility_ms: u64,
    /// How often a message is handed out before it is a dead letter.
    pub max_receives: u32,
    /// Messages handed out at once, where it has a limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Messages of one call, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// What waits in it.
    #[serde(flatten)]
    pub backlog: Backlog,
}

/// What waits for a subscription or in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backlog {
    /// Since when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Time>,
    /// Deliveries that are neither done nor given up, counted up to `waiting_max`. The others here are some of these.
    pub waiting: u64,
    /// Those that are being attempted.
    pub leased: u64,
    /// Those that were attempted, failed, and are attempted again.
    pub retrying: u64,
    /// Those that could be attempted now.
    pub available: u64,
    /// Since when the first of those could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_since: Option<Time>,
    /// How long that is: how far delivery is behind. 0 when nothing could be attempted.
    pub lag_ms: u64,
    /// When the oldest of those that were counted was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<Time>,
}

/// What pausing or resuming changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseChange {
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether it was not so before.
    pub changed: bool,
}
