//! Subscriptions: how much waits, and holding one up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evoke_core::id::{AppName, FunctionName, SubscriptionName};

use super::extract::Segments;
use crate::api::{PauseChange, SubscriptionList, SubscriptionState};
use crate::gateway::Shared;
use crate::problem::Refusal;

/// The subscriptions of an app, by function.
#[utoipa::path(get, path = "/v1/apps/{app}/subscriptions", tag = "subscriptions", operation_id = "list_subscriptions",
    params(("app" = String, Path)), responses((status = 200, body = SubscriptionList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<SubscriptionList>, Refusal> {
    shared.app(&app)?;
    let states = shared.engine.subscriptions(&app).await?.unwrap_or_default();
    let show = |state: evoke_engine::subscription::SubscriptionState| SubscriptionState {
        function: state.function,
        name: state.subscription.name().to_string(),
        event: state.subscription.event.0.clone(),
        r#where: state.subscription.filter.as_ref().map(ToString::to_string),
        order: state.subscription.order.as_ref().map(|order| order.0.clone()),
        concurrency: state.subscription.concurrency,
        batch_size: state.subscription.batch.as_ref().map(|batch| batch.size),
        paused_at: state.paused_at.map(Into::into),
        waiting: state.waiting.pending,
        available: state.waiting.available,
        available_since: state.waiting.since.map(Into::into),
    };
    let waiting_max = shared.engine.limits().paused_backlog;
    Ok(Json(SubscriptionList { subscriptions: states.into_iter().map(show).collect(), waiting_max }))
}

/// Pauses a subscription: it collects deliveries and attempts none. Durable.
#[utoipa::path(post, path = "/v1/apps/{app}/subscriptions/{function}/{name}/pause", tag = "subscriptions", operation_id = "pause_subscription",
    params(("app" = String, Path), ("function" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = PauseChange)))]
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Segments((app, function, name)): Segments<(AppName, FunctionName, String)>,
) -> Result<Json<PauseChange>, Refusal> {
    shared.function(&app, &function)?;
    let changed = shared.engine.pause(&app, &function, &SubscriptionName::from_text(name)).await?;
    Ok(Json(PauseChange { paused: true, changed }))
}

/// Resumes a subscription.
#[utoipa::path(post, path = "/v1/apps/{app}/subscriptions/{function}/{name}/resume", tag = "subscriptions", operation_id = "resume_subscription",
    params(("app" = String, Path), ("function" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = PauseChange)))]
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Segments((app, function, name)): Segments<(AppName, FunctionName, String)>,
) -> Result<Json<PauseChange>, Refusal> {
    shared.app(&app)?;
    let changed = shared.engine.resume(&app, &function, &SubscriptionName::from_text(name)).await?;
    Ok(Json(PauseChange { paused: false, changed }))
}
