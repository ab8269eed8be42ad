//! Secrets: set, removed and named, never shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::id::AppName;
use evoke_core::secret::{SecretName, SecretValue};
use http::StatusCode;

use super::extract::{Segments, invalid};
use crate::api::{Secret, SecretList};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};

/// The names of an app's secrets. The app need not be deployed.
#[utoipa::path(get, path = "/v1/apps/{app}/secrets", tag = "secrets", operation_id = "list_secrets",
    params(("app" = String, Path)), responses((status = 200, body = SecretList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Json<SecretList> {
    let secrets = shared.engine.secrets(&app).into_iter().map(|entry| Secret {
        name: entry.name.to_string(),
        set_at: entry.set_at.into(),
        unreadable: entry.unreadable,
    });
    Json(SecretList { secrets: secrets.collect() })
}

/// Sets a secret to the body, UTF-8 text that is taken as it is. Functions that use it get fresh instances.
#[utoipa::path(put, path = "/v1/apps/{app}/secrets/{name}", tag = "secrets", operation_id = "set_secret",
    params(("app" = String, Path), ("name" = String, Path)),
    request_body(content = String, content_type = "text/plain"), responses((status = 204)))]
pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Segments((app, name)): Segments<(AppName, SecretName)>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (parts, body) = request.into_parts();
    let limit = shared.engine.limits().secret_bytes as u64;
    let body = whole(&parts.headers, body, shared.cap("secret_bytes", limit)).await?;
    let text = String::from_utf8(body.into()).map_err(|_| invalid("body: a secret is UTF-8 text"))?;
    let value = SecretValue::new(text).ok_or_else(|| invalid("body: a secret has no NUL characters"))?;
    shared.engine.set_secret(&app, &name, &value).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a secret. Functions that use it get fresh instances without it.
#[utoipa::path(delete, path = "/v1/apps/{app}/secrets/{name}", tag = "secrets", operation_id = "remove_secret",
    params(("app" = String, Path), ("name" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Segments((app, name)): Segments<(AppName, SecretName)>,
) -> Result<StatusCode, Refusal> {
    if shared.engine.remove_secret(&app, &name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::new(kind::UNKNOWN_SECRET, format!("app {app} has no secret {name}")))
}
