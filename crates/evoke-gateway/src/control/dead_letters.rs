//! What was given up, and another chance for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::event::{Data, Event};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::store::{self, DeadLetterQuery, StoredInput, StoredRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid, json, limit, page};
use crate::api::{DeadLetter, DeadLetterList, InputPreview, Redrive, Redriven};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::Refusal;

/// Bytes of an input that are shown.
const PREVIEW_BYTES: usize = 1_024;
/// Dead letters one request redrives.
const REDRIVE_MAX: usize = 10_000;
/// Bytes of the body that asks for it: 1,000 run ids.
const REDRIVE_BYTES: u64 = 64 << 10;

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this function.
    #[param(value_type = Option<String>)]
    function: Option<FunctionName>,
    /// `next` of the page before.
    before: Option<String>,
    /// At most so many.
    limit: Option<usize>,
}

/// Invocations that were given up, newest first.
#[utoipa::path(get, path = "/v1/apps/{app}/dead-letters", tag = "dead letters", operation_id = "list_dead_letters",
    params(("app" = String, Path), Filter), responses((status = 200, body = DeadLetterList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(filter): Params<Filter>,
) -> Result<Json<DeadLetterList>, Refusal> {
    shared.app(&app)?;
    let limit = limit(filter.limit, 1, shared.engine.limits().page)?;
    let query = DeadLetterQuery {
        app: Some(app),
        function: filter.function,
        run: None,
        before: filter.before.map(RunId::from_text),
        limit: limit + 1,
    };
    let letters = shared.engine.store().dead_letters(&query).await?;
    let (letters, next) = page(letters, limit, |letter| letter.run.id.to_string());
    Ok(Json(DeadLetterList { dead_letters: letters.into_iter().map(show).collect(), next }))
}

/// Puts dead letters back in their queues, with a fresh count of attempts.
#[utoipa::path(post, path = "/v1/apps/{app}/dead-letters/redrive", tag = "dead letters", operation_id = "redrive",
    params(("app" = String, Path)), request_body = Redrive, responses((status = 200, body = Redriven)))]
pub(super) async fn redrive(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<Json<Redriven>, Refusal> {
    shared.app(&app)?;
    let (parts, body) = request.into_parts();
    let body = whole(&parts.headers, body, shared.cap("redrive_bytes", REDRIVE_BYTES)).await?;
    let Redrive { runs, all, function } = json(&parts.headers, &body)?;
    let most = shared.engine.limits().page;
    match (runs.is_empty(), all) {
        (true, true) => redrive_all(&shared, &app, function, most).await.map(Json),
        (false, false) if function.is_some() => Err(invalid("body: function goes with all, not with runs")),
        (false, false) if runs.len() > most => {
            Err(invalid(format!("body: runs names {}, at most {most} at a time", runs.len()))
                .limit("page", most as u64))
        }
        (false, false) => {
            let runs = shared.engine.redrive(&app, &runs).await?;
            Ok(Json(Redriven { runs, more: false }))
        }
        _ => Err(invalid("body: wants either runs, a list of run ids, or all, which is true")),
    }
}

async fn redrive_all(
    shared: &Shared,
    app: &AppName,
    function: Option<FunctionName>,
    page: usize,
) -> Result<Redriven, Refusal> {
    let mut redriven = Vec::new();
    let mut query =
        DeadLetterQuery { app: Some(app.clone()), function, limit: page, ..DeadLetterQuery::default() };
    loop {
        let found: Vec<RunId> = shared
            .engine
            .store()
            .dead_letters(&query)
            .await?
            .into_iter()
            .map(|letter| letter.run.id)
            .collect();
        let Some(oldest) = found.last() else { return Ok(Redriven { runs: redriven, more: false }) };
        if redriven.len() + found.len() > REDRIVE_MAX {
            return Ok(Redriven { runs: redriven, more: true });
        }
        // Only older ones next: what fails again at once must not be redriven for ever.
        query.before = Some(oldest.clone());
        redriven.extend(shared.engine.redrive(app, &found).await?);
    }
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
