//! Replays: events of the log, delivered again.

use evoke_core::id::{AppName, FunctionName, ReplayId};
use evoke_core::store;
use evoke_engine::replay::{self, Point, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The body of `POST /v1/apps/{app}/replays`, and of `…/replays/preview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayOrder {
    /// The function the events go to.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// The subscription of it. Its own filters hold as ever.
    pub subscription: String,
    /// The first event.
    pub from: ReplayPoint,
    /// The last one. Without it all events there are when the replay begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ReplayPoint>,
    /// Only of this type, or of types that begin so, with `*` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Only those for which this CESQL expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
}

/// A point in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayPoint {
    /// What was accepted at this time or later; as an end, what was accepted before it.
    Time(Time),
    /// The newest event with this id, included.
    Event(String),
    /// The event at this position, included; 0 is the beginning.
    Position(u64),
}

impl From<ReplayPoint> for Point {
    fn from(point: ReplayPoint) -> Self {
        match point {
            ReplayPoint::Time(at) => Self::Time(at.0),
            ReplayPoint::Event(id) => Self::Event(id),
            ReplayPoint::Position(position) => Self::Position(position),
        }
    }
}

/// What a replay would deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayPreview {
    /// Events in the range that were looked at, up to a bound.
    pub seen: u64,
    /// Those that would be delivered.
    pub events: u64,
    /// Their bytes in JSON format.
    pub bytes: u64,
    /// When the oldest event there is was accepted, where the range was to begin before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_from: Option<Time>,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<ReplayEvent>,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ReplayEvent>,
    /// The range is longer than is looked at in one go: ask again from this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// An event of the log, without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayEvent {
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
}

impl From<store::StoredEvent> for ReplayEvent {
    fn from(stored: store::StoredEvent) -> Self {
        Self {
            seq: stored.seq,
            accepted_at: stored.accepted_at.into(),
            source: stored.event.source().to_owned(),
            id: stored.event.id().to_owned(),
            r#type: stored.event.ty().to_owned(),
        }
    }
}

impl From<replay::Preview> for ReplayPreview {
    fn from(of: replay::Preview) -> Self {
        Self {
            seen: of.seen,
            events: of.count,
            bytes: of.bytes,
            archive_from: of.archive_from.map(Time),
            first: of.first.map(ReplayEvent::from),
            last: of.last.map(ReplayEvent::from),
            next: of.next,
        }
    }
}

/// `GET /v1/apps/{app}/replays`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayList {
    /// Newest first: those under way, and those that ended lately.
    pub replays: Vec<Replay>,
}

/// Events of the log that are delivered again to one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Its id; a function finds it in the attribute `evokereplay` of the event.
    #[schema(value_type = String)]
    pub id: ReplayId,
    /// Whose events.
    #[schema(value_type = String)]
    pub app: AppName,
    /// The function they go to.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// The subscription of it.
    pub subscription: String,
    /// From this position on.
    pub from: u64,
    /// Before this position.
    pub to: u64,
    /// When the oldest event there was had been accepted, where the range was to begin before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_from: Option<Time>,
    /// Only of this type, or of types that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Only those for which this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// The position that is looked at next.
    pub next: u64,
    /// Events looked at.
    pub seen: u64,
    /// Events put in the queue of the subscription.
    pub delivered: u64,
    /// When it was asked for.
    pub created_at: Time,
    /// Where its subscription starts, as the manifest had it, when it is the beginning of one that starts in the past. That is not over
    /// at `to`, but where events are accepted; until then its subscription gets no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_from: Option<String>,
    /// `running`, `done`, `cancelled` or `failed`.
    #[schema(example = "running")]
    pub state: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<replay::Replay> for Replay {
    fn from(of: replay::Replay) -> Self {
        let (state, ended_at, reason) = match of.state {
            State::Running => ("running", None, None),
            State::Done { at } => ("done", Some(at), None),
            State::Cancelled { at } => ("cancelled", Some(at), None),
            State::Failed { at, reason } => ("failed", Some(at), Some(reason)),
        };
        Self {
            id: of.id,
            app: of.app,
            function: of.function,
            subscription: of.subscription.to_string(),
            from: of.take.from,
            to: of.take.to,
            archive_from: of.take.archive_from.map(Time),
            r#type: of.take.types.map(|types| types.0),
            r#where: of.take.filter.as_ref().map(ToString::to_string),
            next: of.next,
            seen: of.seen,
            delivered: of.delivered,
            created_at: of.created_at.into(),
            catch_up_from: of.catch_up.map(|catch_up| catch_up.from.to_string()),
            state: state.to_owned(),
            ended_at: ended_at.map(Time),
            reason,
        }
    }
}
