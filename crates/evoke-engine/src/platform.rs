//! The platform API (`docs/reference/platform-api.md`): what an attempt may ask while it runs.
//!
//! Everything but calls to other functions is answered at once, from the attempt's own effects and the store behind
//! them. Each kind of request has a file of its own; this one finds it.

mod events;
mod functions;
mod kv;
mod next;
mod reply;
mod waits;

use evoke_core::event::Event;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;

use crate::attempt::Attempt;
use reply::Problem;

/// When a request is answered.
pub(crate) enum Step {
    /// Now.
    Now(PlatformResponse),
    /// When this is done; the attempt goes on meanwhile.
    Later(BoxFuture<'static, PlatformResponse>),
}

/// Answers one request of `attempt`.
pub(crate) async fn answer(attempt: &mut Attempt, request: PlatformRequest) -> Step {
    match dispatch(attempt, request).await {
        Ok(step) => step,
        Err(problem) => Step::Now(problem.into_response()),
    }
}

async fn dispatch(attempt: &mut Attempt, request: PlatformRequest) -> Result<Step, Problem> {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (request.path.clone(), None),
    };
    let Some(rest) = path.strip_prefix("/v1/") else { return Err(Problem::unknown_path(&path)) };
    let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let query = query.as_deref();
    match (kind, rest) {
        ("events", "") => events::publish(attempt, &request, query).await.map(Step::Now),
        ("waits", "") => waits::keep(attempt, &request).map(Step::Now),
        ("kv", rest) if !rest.is_empty() => {
            let (space, key) = match rest.split_once('/') {
                Some((space, key)) => (segment(space)?, Some(segment(key)?)),
                None => (segment(rest)?, None),
            };
            kv::answer(attempt, &request, &space, key, query).await.map(Step::Now)
        }
        ("functions", rest) if !rest.is_empty() => functions::call(attempt, request.clone(), rest, query),
        ("next" | "next-body", _) => next::go(attempt, request),
        _ => Err(Problem::unknown_path(&path)),
    }
}

/// Publishes events that a handler returned, under the same rules as those it publishes itself.
pub(crate) fn publish(attempt: &mut Attempt, events: Vec<Event>) -> Result<(), Failure> {
    let bytes = events.iter().map(Event::json_bytes).sum();
    let valid = |(index, event): (usize, &Event)| event.check().map_err(|why| events::invalid(index, &why));
    let valid = events.iter().enumerate().try_for_each(valid);
    valid.and_then(|()| events::accept(attempt, events, bytes)).map_err(|problem| {
        let code = match problem.code() {
            "too_large" => FailureCode::EffectsTooLarge,
            _ => FailureCode::EmitRefused,
        };
        Failure::new(code, problem.detail().to_owned())
    })
}

/// A percent-encoded path segment.
fn segment(text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Problem::invalid(format!("path segment {text:?} is not UTF-8")))?;
    if text.contains('/') {
        return Err(Problem::invalid(format!("path segment {text:?} has a slash; write it as %2F")));
    }
    Ok(decoded.into_owned())
}

/// The parameters of a query, of which only `known` are allowed.
fn parameters(query: Option<&str>, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let mut found = Vec::new();
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            return Err(Problem::invalid(format!(
                "unknown query parameter {name:?}; known are: {}",
                known.join(", ")
            )));
        }
        let value =
            percent_decode_str(&value.replace('+', " ")).decode_utf8().map(std::borrow::Cow::into_owned);
        found.push((
            name.to_owned(),
            value.map_err(|_| Problem::invalid(format!("parameter {name} is not UTF-8")))?,
        ));
    }
    Ok(found)
}
