//! Replays: events of the log, delivered again to one subscription.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::filter::cesql::Expression;
use evoke_core::id::{AppName, ReplayId, SubscriptionName};
use evoke_core::manifest::TypePattern;
use evoke_engine::replay::Order;
use http::StatusCode;

use super::extract::{Segments, invalid, json};
use crate::api::{Replay, ReplayList, ReplayOrder, ReplayPreview};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::Refusal;

/// Bytes of the body that asks for one.
const ORDER_BYTES: u64 = 64 << 10;

/// Begins a replay. Durable when it answers.
#[utoipa::path(post, path = "/v1/apps/{app}/replays", tag = "replays", operation_id = "replay",
    params(("app" = String, Path)), request_body = ReplayOrder, responses((status = 201, body = Replay)))]
pub(super) async fn begin(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<(StatusCode, Json<Replay>), Refusal> {
    let order = order(&shared, &app, request).await?;
    Ok((StatusCode::CREATED, Json(shared.engine.replay(&app, &order).await?.into())))
}

/// What a replay would deliver; nothing is written.
#[utoipa::path(post, path = "/v1/apps/{app}/replays/preview", tag = "replays", operation_id = "preview_replay",
    params(("app" = String, Path)), request_body = ReplayOrder, responses((status = 200, body = ReplayPreview)))]
pub(super) async fn preview(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<Json<ReplayPreview>, Refusal> {
    let order = order(&shared, &app, request).await?;
    Ok(Json(shared.engine.preview_replay(&app, &order).await?.into()))
}

/// Replays under way, and those that ended lately, newest first.
#[utoipa::path(get, path = "/v1/apps/{app}/replays", tag = "replays", operation_id = "list_replays",
    params(("app" = String, Path)), responses((status = 200, body = ReplayList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<ReplayList>, Refusal> {
    shared.app(&app)?;
    let replays = shared.engine.replays(&app).await?;
    Ok(Json(ReplayList { replays: replays.into_iter().map(Into::into).collect() }))
}

/// How far a replay is.
#[utoipa::path(get, path = "/v1/apps/{app}/replays/{replay}", tag = "replays", operation_id = "get_replay",
    params(("app" = String, Path), ("replay" = String, Path)), responses((status = 200, body = Replay)))]
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Segments((app, id)): Segments<(AppName, ReplayId)>,
) -> Result<Json<Replay>, Refusal> {
    shared.app(&app)?;
    Ok(Json(shared.engine.find_replay(&app, &id).await?.into()))
}

/// Ends a replay; one that is over stays as it is. What it put in the queue stays there.
#[utoipa::path(post, path = "/v1/apps/{app}/replays/{replay}/cancel", tag = "replays", operation_id = "cancel_replay",
    params(("app" = String, Path), ("replay" = String, Path)), responses((status = 200, body = Replay)))]
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Segments((app, id)): Segments<(AppName, ReplayId)>,
) -> Result<Json<Replay>, Refusal> {
    shared.app(&app)?;
    Ok(Json(shared.engine.cancel_replay(&app, &id).await?.into()))
}

async fn order(shared: &Shared, app: &AppName, request: Request) -> Result<Order, Refusal> {
    shared.app(app)?;
    let (parts, body) = request.into_parts();
    let body = whole(&parts.headers, body, shared.cap("replay_bytes", ORDER_BYTES)).await?;
    let ReplayOrder { function, subscription, from, to, r#type, r#where } = json(&parts.headers, &body)?;
    let filter = r#where.map(|text| expression("body", &text)).transpose()?;
    let types = r#type.map(|text| type_pattern("body", text)).transpose()?;
    let subscription = SubscriptionName::from_text(subscription);
    Ok(Order { function, subscription, from: from.into(), to: to.map(Into::into), types, filter })
}

/// The `where` of a body or a query.
pub(super) fn expression(place: &str, text: &str) -> Result<Expression, Refusal> {
    Expression::parse(text).map_err(|error| invalid(format!("{place}: where: {error}")))
}

/// The `type` of a body or a query.
pub(super) fn type_pattern(place: &str, text: String) -> Result<TypePattern, Refusal> {
    let star = text.find('*');
    if text.is_empty() || star.is_some_and(|at| at + 1 < text.len()) {
        let detail =
            format!("{place}: type: {text:?} is neither a type nor a prefix of types with * at its end");
        return Err(invalid(detail));
    }
    Ok(TypePattern(text))
}
