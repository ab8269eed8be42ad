//! What became of an event.

use evoke_core::filter::{Cause, Filtered};
use evoke_core::id::{FunctionName, ReplayId, RunId};
use evoke_engine::explain::{self, Fate, Hold, Now, Then};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{StoredEvent, Time};

/// `GET /v1/apps/{app}/events/{id}/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The event; its `deployment` is the version of what was deployed when it was accepted.
    pub event: StoredEvent,
    /// When that was deployed; left out when it is not known, or not kept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Time>,
    /// The version of what is deployed now.
    pub current_deployment: u64,
    /// Each subscription that has to do with it: it is, or was, for events of this type, or has a delivery of it.
    pub subscriptions: Vec<EventSubscriber>,
    /// How many further ones are deployed, for other types of events.
    pub other_subscriptions: usize,
}

/// A subscription, and what it has to do with an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventSubscriber {
    /// Whose.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// Which of the function's.
    pub subscription: String,
    /// Where it is sent to, for a hook; without the query, in which people put tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// What it made of the event when that was accepted.
    pub then: Decision,
    /// What it would make of it now.
    pub now: Decision,
    /// It starts in the past and has not come to this event yet: how many positions of the log it has to go until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// What came of it, oldest first.
    pub deliveries: Vec<EventDelivery>,
}

/// What a subscription makes of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// It takes it.
    Taken,
    /// A filter does not let it pass.
    Filtered {
        /// `where` or `pattern`.
        #[schema(value_type = String)]
        filter: Cause,
        /// The part of it that decided.
        clause: String,
        /// What the matter is, as the rest of a sentence that the clause begins.
        reason: String,
        /// What the clause asked for, and what the event has.
        values: Vec<SeenValue>,
    },
    /// It is for other types of events.
    OtherType,
    /// It was not there then, or is not there any more.
    NotThere {
        /// The deployment after that which added it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added_in: Option<u64>,
        /// When that was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added_at: Option<Time>,
    },
    /// Nobody knows: what was deployed then was not noted, or is not kept any more.
    Unknown,
}

/// A value that a filter saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeenValue {
    /// An attribute, or a path into the data.
    pub name: String,
    /// What the event has there; left out when nothing. A long text is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

/// A delivery of an event to a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDelivery {
    /// Its run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// Whether it was delivered again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The replay that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replay: Option<ReplayId>,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts there will be at most, by the retry policy of now.
    pub attempts_max: u32,
    /// How far it is.
    #[serde(flatten)]
    pub state: DeliveryState,
    /// What it waits for beside its turn, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What a delivery waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Held {
    /// The subscription is paused.
    Pause,
    /// An earlier event of the same key has to be done first.
    Key {
        /// The key.
        key: String,
        /// The run that is before it.
        #[schema(value_type = String)]
        run: RunId,
    },
}

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its first attempt.
    Waiting {
        /// Due then.
        due_at: Time,
    },
    /// An attempt is being made.
    Running,
    /// An attempt failed.
    Retrying {
        /// The next is due then.
        due_at: Time,
        /// Why the last one failed.
        reason: String,
    },
    /// The handler took it.
    Delivered {
        /// When.
        at: Time,
    },
    /// It was given up and can be redriven.
    DeadLettered {
        /// When.
        at: Time,
        /// Why.
        reason: String,
    },
    /// It was not attempted, or will not be any more.
    Dropped {
        /// When.
        at: Time,
        /// Why.
        reason: String,
    },
    /// It ended long ago: its record is not kept any more.
    Forgotten,
}

impl From<explain::Explanation> for Explanation {
    fn from(of: explain::Explanation) -> Self {
        let subscriber = |one: explain::Subscriber| EventSubscriber {
            function: one.function,
            subscription: one.name.to_string(),
            hook: one.hook,
            then: one.then.into(),
            now: one.now.into(),
            behind: one.behind,
            deliveries: one.deliveries.into_iter().map(EventDelivery::from).collect(),
        };
        Self {
            event: of.event.into(),
            deployed_at: of.deployed_at.map(Time),
            current_deployment: of.current,
            subscriptions: of.subscriptions.into_iter().map(subscriber).collect(),
            other_subscriptions: of.others,
        }
    }
}

impl From<Filtered> for Decision {
    fn from(Filtered { cause, clause, reason, values }: Filtered) -> Self {
        let value = |seen: evoke_core::filter::Seen| SeenValue { name: seen.name, value: seen.value };
        Self::Filtered { filter: cause, clause, reason, values: values.into_iter().map(value).collect() }
    }
}

impl From<Then> for Decision {
    fn from(then: Then) -> Self {
        match then {
            Then::Took => Self::Taken,
            Then::Filtered(filtered) => filtered.into(),
            Then::OtherType => Self::OtherType,
            Then::NotThere { added } => Self::NotThere {
                added_in: added.map(|(version, _)| version),
                added_at: added.map(|(_, at)| Time(at)),
            },
            Then::Unknown => Self::Unknown,
        }
    }
}

impl From<Now> for Decision {
    fn from(now: Now) -> Self {
        match now {
            Now::Takes => Self::Taken,
            Now::Filtered(filtered) => filtered.into(),
            Now::OtherType => Self::OtherType,
            Now::Gone => Self::NotThere { added_in: None, added_at: None },
        }
    }
}

impl From<explain::Delivery> for EventDelivery {
    fn from(of: explain::Delivery) -> Self {
        let held = of.hold.map(|hold| match hold {
            Hold::Paused => Held::Pause,
            Hold::Behind { key, run } => Held::Key { key, run },
        });
        let state = match of.fate {
            Fate::Waiting { due_at } => DeliveryState::Waiting { due_at: due_at.into() },
            Fate::Running => DeliveryState::Running,
            Fate::Retrying { next_at, last_error } => {
                DeliveryState::Retrying { due_at: next_at.into(), reason: last_error }
            }
            Fate::Delivered { at } => DeliveryState::Delivered { at: at.into() },
            Fate::DeadLettered { at, reason } => DeliveryState::DeadLettered { at: at.into(), reason },
            Fate::Dropped { at, reason } => DeliveryState::Dropped { at: at.into(), reason },
            Fate::Forgotten => DeliveryState::Forgotten,
        };
        let (attempts, attempts_max) = (of.attempts, of.attempts_max);
        Self { run: of.run, again: of.again, replay: of.replay, attempts, attempts_max, state, held }
    }
}
