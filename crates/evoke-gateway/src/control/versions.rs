//! Versions of an app: those there were, its canary, going back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::id::AppName;
use evoke_core::rollout::Portion;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::deploy::answer;
use super::extract::{Params, Segments, invalid, json};
use crate::api::{Canary, CanaryWeight, CanaryWithdrawn, Deployment, RollbackOrder, Version, VersionList};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};

/// Which canary.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only if the canary is this version.
    version: Option<u64>,
}

/// The versions that are kept, the newest first: each that was deployed, and what became of it.
#[utoipa::path(get, path = "/v1/apps/{app}/versions", tag = "versions", operation_id = "list_versions",
    params(("app" = String, Path)), responses((status = 200, body = VersionList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<VersionList>, Refusal> {
    let versions = shared.engine.versions(&app).await?;
    Ok(Json(VersionList { versions: versions.into_iter().map(Version::from).collect() }))
}

/// Brings an earlier version back, as a new one that is like it. A canary is withdrawn.
///
/// Each function that changes is loaded once, then all switch at once. Nothing is built. State, secrets, what waits in
/// queues and who is paused stay as they are.
#[utoipa::path(post, path = "/v1/apps/{app}/rollback", tag = "versions", operation_id = "roll_back",
    params(("app" = String, Path)), request_body = RollbackOrder, responses((status = 201, body = Deployment)))]
pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<(StatusCode, Json<Deployment>), Refusal> {
    let order: RollbackOrder = read(&shared, request).await?;
    let engine = shared.engine.clone();
    let deployed = Box::pin(engine.roll_back(&app, order.to)).await?;
    Ok((StatusCode::CREATED, Json(answer(app, deployed))))
}

/// The canary, with what is counted of both versions.
#[utoipa::path(get, path = "/v1/apps/{app}/canary", tag = "versions", operation_id = "get_canary",
    params(("app" = String, Path)), responses((status = 200, body = Canary)))]
pub(super) async fn canary(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<Canary>, Refusal> {
    shared.app(&app)?;
    let canary = shared.engine.canary(&app);
    let none = || Refusal::new(kind::NO_CANARY, format!("app {app} has no canary"));
    Ok(Json(canary.ok_or_else(none)?.into()))
}

/// Gives the canary another part of the work. Whoever had the canary before has it still when the part grows.
#[utoipa::path(put, path = "/v1/apps/{app}/canary", tag = "versions", operation_id = "weigh_canary",
    params(("app" = String, Path)), request_body = CanaryWeight, responses((status = 200, body = Canary)))]
pub(super) async fn weigh(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<Json<Canary>, Refusal> {
    let CanaryWeight { weight } = read(&shared, request).await?;
    let weight: Portion = weight.parse().map_err(|error| invalid(format!("weight: {error}")))?;
    Ok(Json(shared.engine.weigh_canary(&app, weight).await?.into()))
}

/// Makes the canary the current version.
#[utoipa::path(post, path = "/v1/apps/{app}/canary/promote", tag = "versions", operation_id = "promote_canary",
    params(("app" = String, Path), Which), responses((status = 200, body = Version)))]
pub(super) async fn promote(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(Which { version }): Params<Which>,
) -> Result<Json<Version>, Refusal> {
    let promoted = shared.engine.promote_canary(&app, version).await?;
    let versions = shared.engine.versions(&app).await?;
    let found = versions.into_iter().find(|found| found.deployment.version == promoted.version);
    let gone = || Refusal::new(kind::UNKNOWN_VERSION, format!("version {} is not kept", promoted.version));
    Ok(Json(found.ok_or_else(gone)?.into()))
}

/// Takes the canary's work away; what it has begun it may finish.
#[utoipa::path(delete, path = "/v1/apps/{app}/canary", tag = "versions", operation_id = "withdraw_canary",
    params(("app" = String, Path), Which), responses((status = 200, body = CanaryWithdrawn)))]
pub(super) async fn withdraw(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(Which { version }): Params<Which>,
) -> Result<Json<CanaryWithdrawn>, Refusal> {
    let done = shared.engine.withdraw_canary(&app, version).await?;
    Ok(Json(CanaryWithdrawn { version: done.version, current: done.current }))
}

/// Bytes of an order.
const ORDER_BYTES: u64 = 1 << 10;

async fn read<T: serde::de::DeserializeOwned>(shared: &Shared, request: Request) -> Result<T, Refusal> {
    let (parts, body) = request.into_parts();
    let body = whole(&parts.headers, body, shared.cap("order_bytes", ORDER_BYTES)).await?;
    json(&parts.headers, &body)
}
