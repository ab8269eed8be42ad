//! `POST /v1/events`.

use std::time::Duration;

use evoke_core::event::{Event, EventError, json};
use evoke_core::lifecycle;
use evoke_core::manifest::units;
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use evoke_core::time::Timestamp;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::parameters;
use super::reply::{self, Problem};
use crate::attempt::Attempt;
use crate::later::{self, When};

#[derive(Serialize)]
struct Accepted {
    events: Vec<evoke_core::event::EventRef>,
}

/// Takes one event or an array of them into the attempt's effects, to be delivered when they are committed, or later.
pub(super) async fn publish(
    attempt: &mut Attempt,
    request: &PlatformRequest,
    query: Option<&str>,
) -> Result<PlatformResponse, Problem> {
    let when = when(query)?;
    if request.method != Method::POST {
        return Err(Problem::method("POST"));
    }
    let limit = attempt.inner.limits.publish_events;
    let body = serde_json::from_slice(&request.body)
        .map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
    let values = match body {
        Value::Array(values) => values,
        value => vec![value],
    };
    if values.len() > limit {
        return Err(Problem::too_large(format!(
            "{} events in one publish, the limit is {limit}",
            values.len()
        )));
    }
    let mut events = Vec::with_capacity(values.len());
    for (index, mut value) in values.into_iter().enumerate() {
        fill_in(attempt, &mut value, attempt.published + index);
        events.push(json::parse_value(value).map_err(|error| invalid(index, &error))?);
    }
    let accepted = Accepted { events: events.iter().map(Event::reference).collect() };
    match when {
        None => accept(attempt, events, request.body.len() as u64)?,
        Some(when) => accept_later(attempt, events, when).await?,
    }
    Ok(reply::json(StatusCode::ACCEPTED, &accepted))
}

/// When the events are to be delivered, if not at once.
fn when(query: Option<&str>) -> Result<Option<When>, Problem> {
    let mut when = None;
    for (name, value) in parameters(query, &["delay_ms", "deliver_at"])? {
        let wrong = |what: &str| Problem::invalid(format!("{name} {value:?} is not {what}"));
        let read = match name.as_str() {
            "delay_ms" => {
                let ms = value.parse().map_err(|_| wrong("a number of milliseconds"))?;
                When::In(Duration::from_millis(ms))
            }
            _ => When::At(Timestamp::parse_rfc3339(&value).ok_or_else(|| wrong("a time of RFC 3339"))?),
        };
        if when.replace(read).is_some() {
            return Err(Problem::invalid("either delay_ms or deliver_at, not both".to_owned()));
        }
    }
    Ok(when)
}

/// Keeps the events with the attempt as the state writes that have them delivered later.
async fn accept_later(attempt: &mut Attempt, events: Vec<Event>, when: When) -> Result<(), Problem> {
    check(attempt, &events)?;
    let (now, limits) = (attempt.inner.now(), &attempt.inner.limits);
    let at = when.resolve(now, limits.delay).ok_or_else(|| {
        let limit = units::format_duration(limits.delay);
        Problem::invalid(format!("an event may be delivered at most {limit} from now"))
    })?;
    if !attempt.inner.later.reserve(&attempt.inner, events.len()).await? {
        let limit = limits.delayed_events;
        return Err(Problem::too_large(format!("{limit} events wait for their time, which is the limit")));
    }
    attempt.published += events.len();
    let (app, cause) = (attempt.target.app.clone(), attempt.cause_of_children());
    for write in events.into_iter().flat_map(|event| later::keep(&app, event, cause.clone(), at, now)) {
        attempt.effects.write(write, limits)?;
    }
    Ok(())
}

/// Checks that the function may emit `events`, each within the bound, and keeps them with the attempt.
pub(super) fn accept(attempt: &mut Attempt, events: Vec<Event>, bytes: u64) -> Result<(), Problem> {
    check(attempt, &events)?;
    let count = events.len();
    attempt.effects.publish(events, bytes, &attempt.inner.limits)?;
    attempt.published += count;
    Ok(())
}

/// Whether the function may emit `events`, each within the bound.
fn check(attempt: &Attempt, events: &[Event]) -> Result<(), Problem> {
    let settings = &attempt.target.settings;
    if let Some(reserved) = events.iter().find_map(lifecycle::reserved) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "emit_refused", reserved.to_string()));
    }
    if let Some(event) = events.iter().find(|event| !settings.may_emit(event.ty())) {
        let (function, ty) = (&attempt.target.name, event.ty());
        let mut line: Vec<String> = settings.emits.iter().map(|pattern| format!("{:?}", pattern.0)).collect();
        line.push(format!("{ty:?}"));
        let detail = format!(
            "function {function} may not emit {ty:?}: add it to evoke.toml under [functions.{function}]: emits = [{}]",
            line.join(", ")
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, "emit_refused", detail));
    }
    for (index, event) in events.iter().enumerate() {
        let fits = event.check_size(attempt.inner.limits.event_bytes);
        fits.map_err(|error| Problem::too_large(format!("event {index}: {error}")))?;
    }
    Ok(())
}

/// What a function may leave out. The id is the same in every attempt of the run, so that what it names is, too.
fn fill_in(attempt: &Attempt, value: &mut Value, position: usize) {
    let Value::Object(event) = value else { return };
    let mut default = |name: &str, text: &dyn Fn() -> String| {
        if event.get(name).is_none_or(Value::is_null) {
            event.insert(name.to_owned(), Value::String(text()));
        }
    };
    default("specversion", &|| evoke_core::event::SPEC_VERSION.to_owned());
    default("id", &|| format!("{}.{position}", attempt.record.id));
    default("source", &|| format!("/{}/{}", attempt.target.app, attempt.target.name));
    default("time", &|| attempt.inner.now().to_rfc3339());
    if event.get("data").is_some_and(|data| !data.is_null()) && !event.contains_key("datacontenttype") {
        event.insert("datacontenttype".to_owned(), Value::String("application/json".to_owned()));
    }
}

pub(super) fn invalid(index: usize, why: &EventError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_event", format!("event {index}: {why}"))
}
