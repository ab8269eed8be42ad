//! How large a body may be, and JSON bodies in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body as HttpBody;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::body::whole;
use crate::gateway::{Held, Shared};
use crate::problem::{BODY_BYTES, Refusal, body_too_large};

const MAX_BODY: &str = "max_body";

/// Goes on with a body of at most `bytes`. One that turns out to be larger breaks off for what is next, and the client is told.
pub(super) async fn bound<F>(
    bytes: u64,
    request: Request<HttpBody>,
    next: impl FnOnce(Request<HttpBody>) -> F,
) -> Result<Response, Refusal>
where
    F: Future<Output = Result<Response, Refusal>>,
{
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > bytes {
        return Err(body_too_large(MAX_BODY, bytes));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let limit = usize::try_from(bytes).unwrap_or(usize::MAX);
    let body = Limited::new(body, limit).map_err(move |error| {
        if error.is::<LengthLimitError>() {
            over.store(true, Ordering::Relaxed);
        }
        error
    });
    let answer = next(Request::from_parts(parts, HttpBody::new(body))).await;
    if is_over.load(Ordering::Relaxed) { Err(body_too_large(MAX_BODY, bytes)) } else { answer }
}

/// A JSON body, read.
pub(super) struct Json<'a> {
    pub parts: http::request::Parts,
    pub bytes: Bytes,
    /// Its place among the bodies that are in memory.
    pub held: Held<'a>,
}

/// All of a JSON body, or the request as it was, when it has none: another type, or nothing where nothing has to be.
pub(super) async fn json(
    shared: &Shared,
    request: Request<HttpBody>,
) -> Result<Result<Json<'_>, Request<HttpBody>>, Refusal> {
    let is_empty = request.body().is_end_stream();
    if !is_json(request.headers()) || (is_empty && needs_none(request.method())) {
        return Ok(Err(request));
    }
    let (parts, body) = request.into_parts();
    let cap = shared.cap(BODY_BYTES, shared.engine.limits().body_bytes);
    let held = shared.hold(&body, cap.bytes)?;
    let bytes = whole(&parts.headers, body, cap).await?;
    Ok(Ok(Json { parts, bytes, held }))
}

/// Whether requests with a method usually have no body.
pub(super) fn needs_none(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS].contains(method)
}

/// Whether a message says that it is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}
