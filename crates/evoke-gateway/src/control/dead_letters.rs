//! What was given up, and another chance for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::dead_letter::{Reason, Selection};
use evoke_core::event::{Data, Event};
use evoke_core::id::{AppName, FunctionName, RunId, SubscriptionName};
use evoke_core::store::{self, StoredInput, StoredRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid, json, limit, time};
use super::order::{ORDER_BYTES, is_all, most, page};
use super::replays::{expression, type_pattern};
use crate::api::{DeadLetter, DeadLetterList, DeadLetterOrder, DeadLettersDone, InputPreview, Time};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::Refusal;

/// Bytes of an input that are shown.
const PREVIEW_BYTES: usize = 1_024;
/// Dead letters that one request looks at, whatever it finds among them.
const LOOKS: usize = 100_000;
/// As many of them at once: each comes with its input.
const LOOKS_AT_ONCE: usize = 1_000;
/// Of those, the ones that are held at the same time.
const HELD: usize = 100;

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this function.
    #[param(value_type = Option<String>)]
    function: Option<FunctionName>,
    /// Of this subscription, by its name.
    subscription: Option<String>,
    /// Whose last attempt ended like this, such as `crashed` or `timed_out`.
    code: Option<String>,
    /// Given up at this time or later.
    since: Option<String>,
    /// Given up before this time.
    until: Option<String>,
    /// Events of this type, or of types that begin so: `order.*`.
    r#type: Option<String>,
    /// Events for which this CESQL expression is true.
    r#where: Option<String>,
    /// `next` of the page before.
    before: Option<String>,
    /// At most so many.
    limit: Option<usize>,
}

/// Invocations that were given up, newest first. Of 100,000 that none is wanted of, an empty page with a `next` is the answer.
#[utoipa::path(get, path = "/v1/apps/{app}/dead-letters", tag = "dead letters", operation_id = "list_dead_letters",
    params(("app" = String, Path), Filter), responses((status = 200, body = DeadLetterList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(filter): Params<Filter>,
) -> Result<Json<DeadLetterList>, Refusal> {
    shared.app(&app)?;
    let limit = limit(filter.limit, 1, shared.engine.limits().page)?;
    let selection = Selection {
        function: filter.function,
        subscription: filter.subscription.map(SubscriptionName::from_text),
        reason: filter.code.map(|code| reason(&code)).transpose()?,
        since: time("since", filter.since)?,
        until: time("until", filter.until)?,
        types: filter.r#type.map(|text| type_pattern("query", text)).transpose()?,
        filter: filter.r#where.map(|text| expression("query", &text)).transpose()?,
    };
    let before = filter.before.map(RunId::from_text);
    let found = shared.engine.dead_letters(&app, &selection, before, limit, LOOKS).await?;
    let next = found.next.map(|run| run.to_string());
    Ok(Json(DeadLetterList { dead_letters: found.letters.into_iter().map(show).collect(), next }))
}

/// Puts dead letters back in their queues, with a fresh count of attempts.
#[utoipa::path(post, path = "/v1/apps/{app}/dead-letters/redrive", tag = "dead letters", operation_id = "redrive",
    params(("app" = String, Path)), request_body = DeadLetterOrder, responses((status = 200, body = DeadLettersDone)))]
pub(super) async fn redrive(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<Json<DeadLettersDone>, Refusal> {
    carry_out(&shared, &app, request, What::Redrive).await
}

/// Lets dead letters go, with what they were to be given. Their runs stay, and say so.
#[utoipa::path(post, path = "/v1/apps/{app}/dead-letters/purge", tag = "dead letters", operation_id = "purge",
    params(("app" = String, Path)), request_body = DeadLetterOrder, responses((status = 200, body = DeadLettersDone)))]
pub(super) async fn purge(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<Json<DeadLettersDone>, Refusal> {
    carry_out(&shared, &app, request, What::Purge).await
}

/// What is to be done to dead letters.
#[derive(Clone, Copy)]
enum What {
    Redrive,
    Purge,
    /// Nothing: they are only named.
    Look,
}

impl What {
    async fn to(self, shared: &Shared, app: &AppName, runs: Vec<RunId>) -> Result<Vec<RunId>, Refusal> {
        match self {
            Self::Redrive => Ok(shared.engine.redrive(app, &runs).await?),
            Self::Purge => Ok(shared.engine.purge(app, &runs).await?),
            Self::Look => Ok(runs),
        }
    }
}

async fn carry_out(
    shared: &Shared,
    app: &AppName,
    request: Request,
    what: What,
) -> Result<Json<DeadLettersDone>, Refusal> {
    shared.app(app)?;
    let (parts, body) = request.into_parts();
    let body = whole(&parts.headers, body, shared.cap("redrive_bytes", ORDER_BYTES)).await?;
    let order: DeadLetterOrder = json(&parts.headers, &body)?;
    if is_all(&order.runs, order.all)? {
        let what = if order.dry_run { What::Look } else { what };
        return all(shared, app, order, what).await.map(Json);
    }
    let narrowed = DeadLetterOrder { runs: order.runs.clone(), ..DeadLetterOrder::default() };
    if order != narrowed {
        return Err(invalid("body: with runs nothing else can be given; the other members narrow down all"));
    }
    let runs = page(order.runs, &shared.engine)?;
    Ok(Json(DeadLettersDone { runs: what.to(shared, app, runs).await?, next: None }))
}

/// All that are chosen, from the newest back: what fails again at once is newer, or was there already, and is not taken
/// twice.
async fn all(
    shared: &Shared,
    app: &AppName,
    order: DeadLetterOrder,
    what: What,
) -> Result<DeadLettersDone, Refusal> {
    let limit = most(order.limit)?;
    let time_of = |time: Option<Time>| time.map(|time| time.0);
    let selection = Selection {
        function: order.function,
        subscription: order.subscription.map(SubscriptionName::from_text),
        reason: order.code.map(|code| reason(&code)).transpose()?,
        since: time_of(order.since),
        until: time_of(order.until),
        types: order.r#type.map(|text| type_pattern("body", text)).transpose()?,
        filter: order.r#where.map(|text| expression("body", &text)).transpose()?,
    };
    let mut done = Vec::new();
    let mut next = order.before.map(RunId::from_text);
    for _ in 0..LOOKS / HELD {
        let most = HELD.min(limit - done.len());
        let found = shared.engine.dead_letters(app, &selection, next, most, LOOKS_AT_ONCE).await?;
        let runs: Vec<RunId> = found.letters.into_iter().map(|letter| letter.run.id).collect();
        if !runs.is_empty() {
            done.extend(what.to(shared, app, runs).await?);
        }
        next = found.next;
        if next.is_none() || done.len() >= limit {
            break;
        }
    }
    Ok(DeadLettersDone { runs: done, next: next.map(|run| run.to_string()) })
}

fn reason(text: &str) -> Result<Reason, Refusal> {
    Reason::parse(text).ok_or_else(|| {
        invalid(format!(
            "code: {text:?} is not how an attempt ends; write what `evoke dlq ls` shows, such as crashed, timed_out or function_error"
        ))
    })
}

fn show(letter: store::DeadLetter) -> DeadLetter {
    let input = match letter.input {
        StoredInput::Event(event) => show_event(&event),
        StoredInput::Request(request) => show_request(request),
    };
    DeadLetter { run: letter.run.into(), reason: letter.reason, at: letter.at.into(), input }
}

fn show_event(event: &Event) -> InputPreview {
    let (data_bytes, preview) = match event.data() {
        None => (0, None),
        Some(Data::Json(value)) => {
            let text = value.to_string();
            (text.len(), preview(text.as_bytes()))
        }
        Some(Data::Text(text)) => (text.len(), preview(text.as_bytes())),
        Some(Data::Bytes(bytes)) => (bytes.len(), preview(bytes)),
    };
    InputPreview::Event {
        source: event.source().to_owned(),
        id: event.id().to_owned(),
        r#type: event.ty().to_owned(),
        subject: event.subject().map(str::to_owned),
        data_bytes: data_bytes as u64,
        preview,
    }
}

fn show_request(request: StoredRequest) -> InputPreview {
    let StoredRequest { method, uri, body, .. } = request;
    InputPreview::Request { method, uri, body_bytes: body.len() as u64, preview: preview(&body) }
}

/// The beginning of it, if it is text.
fn preview(bytes: &[u8]) -> Option<String> {
    let beginning = &bytes[..bytes.len().min(PREVIEW_BYTES)];
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() && bytes.len() > PREVIEW_BYTES => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let readable = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    (readable && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_the_beginning_of_text_and_nothing_of_anything_else() {
        assert_eq!(preview(b"hello\n").as_deref(), Some("hello\n"));
        assert_eq!(preview(b""), None);
        assert_eq!(preview(b"\x00\x01"), None);
        assert_eq!(preview(b"\xff\xfe"), None);
        let long = format!("{}ä", "x".repeat(PREVIEW_BYTES - 1));
        assert_eq!(preview(long.as_bytes()).map(|text| text.len()), Some(PREVIEW_BYTES - 1));
    }
}
