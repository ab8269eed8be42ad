//! Events: published, stored.

use std::collections::BTreeMap;

use evoke_core::event::{Event, EventRef};
use evoke_core::id::{AppName, RunId};
use evoke_core::store;
use evoke_core::time::Timestamp;
use evoke_engine::later::Delayed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The answer to `POST /v1/apps/{app}/events`: all of them are durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// In the order of the request, also for one event.
    pub events: Vec<PublishedEvent>,
}

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedEvent {
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Position in the log; one that is to be delivered later has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it is to be delivered, where that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<Time>,
    /// An event of the same `source` and `id` had been accepted before; this one was not stored.
    pub duplicate: bool,
    /// The runs it caused, one per subscription that matched.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
}

impl From<evoke_engine::ingest::Published> for PublishedEvent {
    fn from(event: evoke_engine::ingest::Published) -> Self {
        let evoke_engine::ingest::Published { source, id, seq, duplicate, runs } = event;
        Self { source, id, seq: Some(seq), deliver_at: None, duplicate, runs }
    }
}

impl PublishedEvent {
    /// One that waits for its time.
    pub(crate) fn later(event: EventRef, at: Timestamp) -> Self {
        let EventRef { source, id } = event;
        Self { source, id, seq: None, deliver_at: Some(at.into()), duplicate: false, runs: Vec::new() }
    }
}

/// `GET /v1/apps/{app}/delayed-events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DelayedEventList {
    /// The earliest first; at most as many as a page has.
    pub events: Vec<DelayedEvent>,
}

/// An event that waits for its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DelayedEvent {
    /// When it is to be delivered.
    pub deliver_at: Time,
    /// When it was accepted.
    pub accepted_at: Time,
    /// The event, in the CloudEvents JSON format.
    #[schema(value_type = CloudEvent)]
    pub event: Event,
}

impl From<Delayed> for DelayedEvent {
    fn from(delayed: Delayed) -> Self {
        let Delayed { deliver_at, accepted_at, event } = delayed;
        Self { deliver_at: deliver_at.into(), accepted_at: accepted_at.into(), event }
    }
}

/// `GET /v1/apps/{app}/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// There may be more: pass it as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An event as the log has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredEvent {
    /// Position in the log.
    pub seq: u64,
    /// Whose.
    #[schema(value_type = String)]
    pub app: AppName,
    /// When it was accepted.
    pub accepted_at: Time,
    /// The event, in the CloudEvents JSON format.
    #[schema(value_type = CloudEvent)]
    pub event: Event,
    /// The runs it caused when it was accepted.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// The version of the app's deployment whose subscriptions were asked, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<u64>,
    /// The runs it caused when it was delivered again, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub again: Vec<RunId>,
    /// When it was no longer kept: its data is gone, and it is found by its id only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<Time>,
}

impl From<store::StoredEvent> for StoredEvent {
    fn from(stored: store::StoredEvent) -> Self {
        let store::StoredEvent { seq, app, accepted_at, event, runs, version, again, expired_at } = stored;
        Self {
            seq,
            app,
            accepted_at: accepted_at.into(),
            event,
            runs,
            deployment: version,
            again,
            expired_at: expired_at.map(Into::into),
        }
    }
}

/// What the OpenAPI document says of a CloudEvent (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/cloudevents.json>);
/// in Rust an event is [`Event`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique within its source.
    pub id: String,
    /// Who it is from, a URI-reference.
    pub source: String,
    /// What kind of event.
    pub r#type: String,
    /// What within the source it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// URI of the data's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// The data, when it is JSON or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// The data in base64, when it is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// Extension attributes. Evoke sets `correlationid` and `causationid`.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, serde_json::Value>,
}
