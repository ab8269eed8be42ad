//! What fires when.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evoke_core::id::AppName;

use super::extract::Segments;
use crate::api::ScheduleList;
use crate::gateway::Shared;
use crate::problem::Refusal;

/// The schedules of an app, by name, with their next times.
#[utoipa::path(get, path = "/v1/apps/{app}/schedules", tag = "schedules", operation_id = "list_schedules",
    params(("app" = String, Path)), responses((status = 200, body = ScheduleList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<ScheduleList>, Refusal> {
    shared.app(&app)?;
    let schedules = shared.engine.schedules(&app).await?.unwrap_or_default();
    Ok(Json(ScheduleList { schedules: schedules.into_iter().map(Into::into).collect() }))
}
