//! JSON bodies that have to be valid by a schema.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use evoke_core::decorator::Schema as Declared;
use evoke_core::id::FunctionName;
use evoke_engine::schema::{CheckError, Complaint, Schema};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use serde_json::Value;
use tokio::sync::oneshot;

use super::body::{Json, json, needs_none};
use crate::api::ProblemItem;
use crate::decorate::Line;
use crate::gateway::{Held, Shared};
use crate::problem::{Refusal, kind};

/// Bytes of a body that is checked where it came in. A larger one gets a thread of its own for it.
const AT_ONCE_BYTES: usize = 16 << 10;
/// Stack of such a thread.
const STACK_BYTES: usize = 2 << 20;

/// A schema ready for use, or why it is not. Deploying has refused the latter.
pub(crate) type Compiled = Result<Arc<Schema>, String>;

/// The request, if its body is valid, and the place of its body in memory. One without a body goes on where its method needs
/// none.
pub(super) async fn check<'a>(
    line: &'a Line,
    name: &FunctionName,
    declared: &Declared,
    request: Request<HttpBody>,
) -> Result<(Request<HttpBody>, Option<Held<'a>>), Refusal> {
    let shared = &*line.shared;
    let Json { mut parts, bytes, held } = match json(shared, request).await? {
        Ok(read) => read,
        Err(request) if request.body().is_end_stream() && needs_none(request.method()) => {
            return Ok((request, None));
        }
        Err(_) => {
            let detail = format!("decorator {name} takes JSON; say so with content-type: application/json");
            return Err(Refusal::new(kind::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let schema = shared
        .schemas
        .of(&shared.engine, (&line.route.app, name), declared, || {
            Schema::compile(&declared.schema).map(Arc::new)
        })
        .as_ref()
        .clone()
        .map_err(|error| internal(format!("the schema of decorator {name}: {error}")))?;
    let no_json = |error| Refusal::new(kind::INVALID_REQUEST, format!("the body is no JSON: {error}"));
    let complaints = match complaints(shared, schema, bytes.clone()).await?.map_err(no_json)? {
        Ok(complaints) => complaints,
        Err(error) => {
            let refusal = Refusal::new(kind::TOO_LARGE, format!("the body, by decorator {name}: {error}"));
            let CheckError::Steps { limit } = error else { return Err(refusal) };
            return Err(refusal.limit("schema_steps", limit));
        }
    };
    if complaints.is_empty() {
        parts.headers.remove(CONTENT_LENGTH);
        return Ok((Request::from_parts(parts, bytes.into()), Some(held)));
    }
    let of = declared.file.as_ref().map(|file| format!(" of {}", file.display())).unwrap_or_default();
    let first = &complaints[0];
    let at = if first.pointer.is_empty() { String::new() } else { format!(" at {}", first.pointer) };
    let detail = format!("the body breaks the schema{of}{at}: {}", first.message);
    Err(Refusal::new(kind::INVALID_BODY, detail).errors(complaints.into_iter().map(item).collect()))
}

/// What a body is found to be: no JSON, too much to check, or with these complaints.
type Checked = serde_json::Result<Result<Vec<Complaint>, CheckError>>;

async fn complaints(shared: &Shared, schema: Arc<Schema>, body: Bytes) -> Result<Checked, Refusal> {
    let is_short = body.len() <= AT_ONCE_BYTES;
    let check = move || {
        let value: Value = serde_json::from_slice(&body)?;
        Ok(schema.check(&value, body.len()))
    };
    if is_short {
        return Ok(check());
    }
    let place = shared.checks.acquire().await.map_err(|_| internal("no more checks"))?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("evoke-schema".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || tell.send(check()))
        .map_err(|error| internal(format!("a thread to check a body: {error}")))?;
    let complaints = told.await.map_err(|_| internal("checking a body failed"));
    drop(place);
    complaints
}

fn internal(detail: impl Into<String>) -> Refusal {
    Refusal::new(kind::INTERNAL, detail)
}

fn item(complaint: Complaint) -> ProblemItem {
    let Complaint { pointer, message } = complaint;
    ProblemItem {
        message,
        code: kind::INVALID_BODY.code.to_owned(),
        pointer: Some(pointer),
        ..ProblemItem::default()
    }
}
