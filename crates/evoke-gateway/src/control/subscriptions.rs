//! Subscriptions: how much waits, and holding one up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extracted;
use evoke_core::id::{AppName, FunctionName, SubscriptionName};
use evoke_core::time::Timestamp;
use evoke_engine::subscription::SubscriptionState as State;

use super::extract::Segments;
use crate::api::{Backlog, PauseChange, QueueList, QueueState, SubscriptionList, SubscriptionState};
use crate::gateway::Shared;
use crate::problem::{Refusal, whole_ms};

/// The subscriptions of an app, by function.
#[utoipa::path(get, path = "/v1/apps/{app}/subscriptions", tag = "subscriptions", operation_id = "list_subscriptions",
    params(("app" = String, Path)), responses((status = 200, body = SubscriptionList)))]
pub(super) async fn list(
    Extracted(shared): Extracted<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<SubscriptionList>, Refusal> {
    shared.app(&app)?;
    let states = shared.engine.subscriptions(&app).await?.unwrap_or_default();
    let now = shared.engine.now();
    let show = |state: State| SubscriptionState {
        backlog: backlog(&state, now),
        from: Some(state.subscription.from).filter(|from| !from.is_now()).map(|from| from.to_string()),
        catching_up: state.catching_up.as_ref().map(Into::into),
        function: state.function,
        name: state.subscription.name().to_string(),
        event: state.subscription.event.0.clone(),
        r#where: state.subscription.filter.as_ref().map(ToString::to_string),
        order: state.subscription.order.as_ref().map(|order| order.0.clone()),
        concurrency: state.subscription.concurrency,
        batch_size: state.subscription.batch.as_ref().map(|batch| batch.size),
    };
    let waiting_max = shared.engine.limits().paused_backlog;
    Ok(Json(SubscriptionList { subscriptions: states.into_iter().map(show).collect(), waiting_max }))
}

/// The queues of an app, by function. Each is a subscription as well, and is paused like one.
#[utoipa::path(get, path = "/v1/apps/{app}/queues", tag = "subscriptions", operation_id = "list_queues",
    params(("app" = String, Path)), responses((status = 200, body = QueueList)))]
pub(super) async fn queues(
    Extracted(shared): Extracted<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<QueueList>, Refusal> {
    shared.app(&app)?;
    let states = shared.engine.subscriptions(&app).await?.unwrap_or_default();
    let now = shared.engine.now();
    let show = |state: State| {
        let subscription = &state.subscription;
        Some(QueueState {
            name: subscription.queue()?.to_owned(),
            backlog: backlog(&state, now),
            visibility_ms: whole_ms(subscription.retry.initial),
            max_receives: subscription.retry.attempts,
            concurrency: subscription.concurrency,
            batch_size: subscription.batch.as_ref().map(|batch| batch.size),
            to: state.function,
        })
    };
    let waiting_max = shared.engine.limits().paused_backlog;
    Ok(Json(QueueList { queues: states.into_iter().filter_map(show).collect(), waiting_max }))
}

fn backlog(state: &State, now: Timestamp) -> Backlog {
    let waiting = state.waiting;
    Backlog {
        paused_at: state.paused_at.map(Into::into),
        waiting: waiting.pending,
        leased: waiting.leased,
        retrying: waiting.retrying,
        available: waiting.available,
        available_since: waiting.since.map(Into::into),
        lag_ms: waiting.since.map_or(0, |since| whole_ms(now.since(since))),
        oldest_at: waiting.oldest.map(Into::into),
    }
}

/// Pauses a subscription: it collects deliveries and attempts none. Durable.
#[utoipa::path(post, path = "/v1/apps/{app}/subscriptions/{function}/{name}/pause", tag = "subscriptions", operation_id = "pause_subscription",
    params(("app" = String, Path), ("function" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = PauseChange)))]
pub(super) async fn pause(
    Extracted(shared): Extracted<Arc<Shared>>,
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
    Extracted(shared): Extracted<Arc<Shared>>,
    Segments((app, function, name)): Segments<(AppName, FunctionName, String)>,
) -> Result<Json<PauseChange>, Refusal> {
    shared.app(&app)?;
    let changed = shared.engine.resume(&app, &function, &SubscriptionName::from_text(name)).await?;
    Ok(Json(PauseChange { paused: false, changed }))
}
