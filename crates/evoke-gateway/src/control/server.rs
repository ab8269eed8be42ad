//! The server itself: is it there, what does it understand.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};

use super::extract::Segments;
use crate::api::Health;
use crate::gateway::Shared;
use crate::problem::{Refusal, draining, kind};

/// Without pressure for so long a saturated node is ready again.
const SATURATED_PAUSE: Duration = Duration::from_secs(2);

fn healthy() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Whether the process answers.
#[utoipa::path(get, path = "/health", tag = "server", operation_id = "health", responses((status = 200, body = Health)))]
pub(super) async fn health() -> Json<Health> {
    healthy()
}

/// Whether new work should be sent here: not while the server shuts down, nor while calls have to wait for the node itself.
/// 503 then.
#[utoipa::path(get, path = "/ready", tag = "server", operation_id = "ready", responses((status = 200, body = Health)))]
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Json<Health>, Refusal> {
    if !shared.engine.is_ready() || shared.stop.is_cancelled() {
        return Err(draining());
    }
    match shared.engine.saturated() {
        Some(waiting) => {
            let detail = format!("{waiting} calls wait for this node, and calls have for some time");
            Err(Refusal::new(kind::SATURATED, detail).retry_after(SATURATED_PAUSE))
        }
        None => Ok(healthy()),
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", operation_id = "openapi",
    responses((status = 200, body = serde_json::Value, description = "OpenAPI 3.1")))]
pub(super) async fn document() -> Response {
    let body = super::document::to_json();
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// What the code of a problem means.
#[utoipa::path(get, path = "/problems/{code}", tag = "server", operation_id = "describe_problem",
    params(("code" = String, Path, description = "`code` of a problem")),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn problem(Segments(code): Segments<String>) -> Result<Response, Refusal> {
    let Some(kind) = kind::by_code(&code) else {
        return Err(Refusal::new(kind::NOT_FOUND, format!("there is no problem with the code {code:?}")));
    };
    let retry =
        if kind.retry { "The same request can succeed later." } else { "The same request will fail again." };
    Ok(format!("{} ({}): {}\n\n{}\n\n{retry}\n", kind.code, kind.status.as_u16(), kind.title, kind.about)
        .into_response())
}
