//! What functions wait for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evoke_core::id::{AppName, RunId, WaitId};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Params, Segments, limit, page};
use crate::api::WaitList;
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};

/// Which waits.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this run.
    run: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// At most so many.
    limit: Option<usize>,
}

/// Open waits, by the runs that wait, oldest first.
#[utoipa::path(get, path = "/v1/apps/{app}/waits", tag = "waits", operation_id = "list_waits",
    params(("app" = String, Path), Filter), responses((status = 200, body = WaitList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(filter): Params<Filter>,
) -> Result<Json<WaitList>, Refusal> {
    shared.app(&app)?;
    let limit = limit(filter.limit, 1, shared.engine.limits().page)?;
    let (run, after) = (filter.run.map(RunId::from_text), filter.after.map(WaitId::from_text));
    let waits = shared.engine.waits(&app, run.as_ref(), after.as_ref(), limit + 1).await?;
    let (waits, next) = page(waits, limit, |wait| wait.id.to_string());
    Ok(Json(WaitList { waits: waits.into_iter().map(Into::into).collect(), next }))
}

/// Takes a wait back: its function is not called.
#[utoipa::path(delete, path = "/v1/apps/{app}/waits/{wait}", tag = "waits", operation_id = "cancel_wait",
    params(("app" = String, Path), ("wait" = String, Path)), responses((status = 204)))]
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Segments((app, wait)): Segments<(AppName, WaitId)>,
) -> Result<StatusCode, Refusal> {
    shared.app(&app)?;
    if shared.engine.cancel_wait(&app, &wait).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::new(kind::UNKNOWN_WAIT, format!("app {app} has no wait {wait}; it may be over")))
}
