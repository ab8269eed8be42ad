//! Events in, and a look at the log.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::archive::Selection;
use evoke_core::event::{EventRef, http as binding};
use evoke_core::id::{AppName, Correlation};
use evoke_core::store::EventQuery;
use evoke_engine::later::When;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid, limit, position, time};
use super::replays::{expression, type_pattern};
use crate::api::{
    CloudEvent, DelayedEventList, EventList, Explanation, Published, PublishedEvent, StoredEvent, Time,
};
use crate::body::whole;
use crate::client::Client;
use crate::gateway::Shared;
use crate::problem::{BODY_BYTES, Refusal, kind};

/// Events that one request looks at, whatever it finds among them.
const LOOKS: usize = 20_000;

/// When the events are to be delivered; at once without either.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Later {
    /// So many milliseconds from now.
    delay_ms: Option<u64>,
    /// At this time.
    deliver_at: Option<Time>,
}

impl Later {
    fn when(&self) -> Result<Option<When>, Refusal> {
        match (self.delay_ms, self.deliver_at) {
            (Some(_), Some(_)) => Err(invalid("query: either delay_ms or deliver_at, not both")),
            (Some(ms), None) => Ok(Some(When::In(Duration::from_millis(ms)))),
            (None, at) => Ok(at.map(|at| When::At(at.0))),
        }
    }
}

/// Publishes CloudEvents, in binary, structured or batched mode. Durable when it answers.
#[utoipa::path(post, path = "/v1/apps/{app}/events", tag = "events", operation_id = "publish",
    params(("app" = String, Path), Later),
    request_body(description = "One event, or a batch; in binary mode the data, with the attributes in `ce-` header fields", content(
        (CloudEvent = "application/cloudevents+json"),
        (Vec<CloudEvent> = "application/cloudevents-batch+json"),
        (Vec<u8> = "application/octet-stream"))),
    responses((status = 202, body = Published)))]
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(later): Params<Later>,
    request: Request,
) -> Result<(StatusCode, Json<Published>), Refusal> {
    shared.app(&app)?;
    let when = later.when()?;
    let (parts, body) = request.into_parts();
    let limits = shared.engine.limits();
    let _held = shared.hold(&body, limits.body_bytes)?;
    let body = whole(&parts.headers, body, shared.cap(BODY_BYTES, limits.body_bytes)).await?;
    let incoming = binding::decode(&parts.headers, body, limits.publish_events)
        .map_err(|error| Refusal::new(kind::INVALID_EVENT, error.to_string()))?;
    let peer = parts.extensions.get::<Client>().map(|client| client.peer);
    let from = shared.engine.arrival(&parts.headers, peer);
    let events = match when {
        None => {
            let published = shared.engine.publish(&app, incoming.events, from).await?;
            published.into_iter().map(Into::into).collect()
        }
        Some(when) => {
            let (at, events) = shared.engine.publish_later(&app, incoming.events, when, from).await?;
            events.into_iter().map(|event| PublishedEvent::later(event, at)).collect()
        }
    };
    Ok((StatusCode::ACCEPTED, Json(Published { events })))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this type, or of types that begin so: `order.*`.
    r#type: Option<String>,
    /// Of exactly this source.
    source: Option<String>,
    /// With exactly this subject.
    subject: Option<String>,
    /// Accepted at this time or later.
    since: Option<String>,
    /// Accepted before this time.
    until: Option<String>,
    /// For which this CESQL expression is true.
    r#where: Option<String>,
    /// With this id.
    id: Option<String>,
    /// With this `correlationid`.
    root: Option<String>,
    /// `next` of the page before.
    before: Option<String>,
    /// At most so many.
    limit: Option<usize>,
}

/// Stored events, newest first. Of 20,000 that none is wanted of, an empty page with a `next` is the answer.
#[utoipa::path(get, path = "/v1/apps/{app}/events", tag = "events", operation_id = "list_events",
    params(("app" = String, Path), Filter), responses((status = 200, body = EventList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(filter): Params<Filter>,
) -> Result<Json<EventList>, Refusal> {
    shared.app(&app)?;
    let limit = limit(filter.limit, 1, shared.engine.limits().page)?;
    let selection = Selection {
        types: filter.r#type.map(|text| type_pattern("query", text)).transpose()?,
        source: filter.source,
        subject: filter.subject,
        since: time("since", filter.since)?,
        until: time("until", filter.until)?,
        filter: filter.r#where.map(|text| expression("query", &text)).transpose()?,
    };
    let query = EventQuery {
        app: Some(app),
        id: filter.id,
        root: filter.root.map(Correlation::from_text),
        before: position("before", filter.before.as_deref())?,
        limit,
        ..EventQuery::default()
    };
    let found = shared.engine.events(query, &selection, LOOKS).await?;
    let (events, next) = (found.events, found.next.map(|next| next.to_string()));
    Ok(Json(EventList { events: events.into_iter().map(Into::into).collect(), next }))
}

/// Which of the events with one id.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Source {
    /// Of this source; needed only when several sources use the same id.
    source: Option<String>,
}

/// One event: the newest with this id.
#[utoipa::path(get, path = "/v1/apps/{app}/events/{id}", tag = "events", operation_id = "get_event",
    params(("app" = String, Path), ("id" = String, Path), Source), responses((status = 200, body = StoredEvent)))]
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Segments((app, id)): Segments<(AppName, String)>,
    Params(Source { source }): Params<Source>,
) -> Result<Json<StoredEvent>, Refusal> {
    shared.app(&app)?;
    let event = shared.engine.event(&app, &id, source.as_deref()).await?;
    Ok(Json(event.into()))
}

/// What became of an event: for each subscription what it made of it then, what it would make of it now, and how far each
/// delivery is. Of several events with this id the newest.
#[utoipa::path(get, path = "/v1/apps/{app}/events/{id}/explain", tag = "events", operation_id = "explain_event",
    params(("app" = String, Path), ("id" = String, Path), Source), responses((status = 200, body = Explanation)))]
pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    Segments((app, id)): Segments<(AppName, String)>,
    Params(Source { source }): Params<Source>,
) -> Result<Json<Explanation>, Refusal> {
    shared.app(&app)?;
    Ok(Json(shared.engine.explain(&app, &id, source.as_deref()).await?.into()))
}

/// Events that wait for their time, the earliest first.
#[utoipa::path(get, path = "/v1/apps/{app}/delayed-events", tag = "events", operation_id = "list_delayed_events",
    params(("app" = String, Path)), responses((status = 200, body = DelayedEventList)))]
pub(super) async fn delayed(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<DelayedEventList>, Refusal> {
    shared.app(&app)?;
    let events = shared.engine.delayed(&app).await?;
    Ok(Json(DelayedEventList { events: events.into_iter().map(Into::into).collect() }))
}

/// Which event.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// Its source.
    source: String,
    /// Its id.
    id: String,
}

/// Takes an event back that waits for its time.
#[utoipa::path(delete, path = "/v1/apps/{app}/delayed-events", tag = "events", operation_id = "cancel_event",
    params(("app" = String, Path), Named), responses((status = 204)))]
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(Named { source, id }): Params<Named>,
) -> Result<StatusCode, Refusal> {
    shared.app(&app)?;
    let event = EventRef { source, id };
    if shared.engine.cancel(&app, &event).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let EventRef { source, id } = event;
    let detail = format!("app {app} has no event {id:?} of source {source:?} that waits for its time");
    Err(Refusal::new(kind::UNKNOWN_EVENT, detail))
}
