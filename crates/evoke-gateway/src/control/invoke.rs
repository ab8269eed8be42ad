//! Direct calls of a function, whatever its routes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use evoke_core::id::{AppName, FunctionName};
use http::header::AUTHORIZATION;

use super::extract::{Segments, invalid};
use crate::api::{Later, VERSION_HEADER};
use crate::call::{self, Callee};
use crate::gateway::Shared;
use crate::problem::{Failures, Refusal};

/// Calls a function, with any method; it sees the path `/`.
///
/// `Prefer: respond-async` answers `202` as soon as the call is durable; with `wait=10` the answer is the function's if there is one
/// within ten seconds. `Idempotency-Key` makes a repetition harmless.
#[utoipa::path(post, path = "/v1/apps/{app}/functions/{function}/invoke", tag = "functions", operation_id = "invoke",
    params(("app" = String, Path), ("function" = String, Path),
        ("prefer" = Option<String>, Header, description = "`respond-async`, and with `wait=` and seconds only if it takes longer"),
        ("evoke-version" = Option<String>, Header, description = "The version to call, while there are two: a number, `current` or `canary`"),
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "Anything; the content type is passed on"),
    responses((status = 200, description = "Whatever the function answers, with the header `evoke-run`"),
        (status = 202, body = Later, description = "Accepted for later")))]
pub(super) async fn invoke(
    State(shared): State<Arc<Shared>>,
    Segments((app, function)): Segments<(AppName, FunctionName)>,
    request: Request,
) -> Result<Response, Refusal> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    forward(&shared, app, function, format!("/{query}"), request).await
}

/// Calls a function, with any method; it sees the path after `invoke`.
#[utoipa::path(post, path = "/v1/apps/{app}/functions/{function}/invoke/{*path}", tag = "functions",
    operation_id = "invoke_path",
    params(("app" = String, Path), ("function" = String, Path), ("path" = String, Path),
        ("prefer" = Option<String>, Header, description = "`respond-async`, and with `wait=` and seconds only if it takes longer"),
        ("evoke-version" = Option<String>, Header, description = "The version to call, while there are two: a number, `current` or `canary`"),
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "Anything; the content type is passed on"),
    responses((status = 200, description = "Whatever the function answers, with the header `evoke-run`"),
        (status = 202, body = Later, description = "Accepted for later")))]
pub(super) async fn invoke_path(
    State(shared): State<Arc<Shared>>,
    Segments((app, function, _path)): Segments<(AppName, FunctionName, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    // The path as it was sent, not decoded and encoded again: `/v1/apps/{app}/functions/{function}/invoke` are 7 segments.
    let sent = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let rest = sent.splitn(8, '/').nth(7).map(|rest| format!("/{rest}")).unwrap_or_default();
    forward(&shared, app, function, rest, request).await
}

async fn forward(
    shared: &Shared,
    app: AppName,
    function: FunctionName,
    path_and_query: String,
    mut request: Request,
) -> Result<Response, Refusal> {
    // The token is for Evoke, never for a function.
    request.headers_mut().remove(AUTHORIZATION);
    let version = request.headers_mut().remove(VERSION_HEADER);
    let version = version.map(|version| shared.version(&app, &version)).transpose()?;
    // A canary may have functions that the current version has not.
    if version.is_none() {
        shared.function(&app, &function)?;
    }
    let method = request.method().clone();
    let path_and_query = path_and_query.parse();
    let path_and_query = Some(path_and_query.map_err(|_| invalid("the path cannot stand in a URL"))?);
    let callee = Callee { app, function, version, params: Vec::new(), method, path_and_query };
    call::answer(shared, callee, request, Failures::Told, None).await
}
