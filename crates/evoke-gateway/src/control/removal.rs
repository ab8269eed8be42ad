//! Removing an app, and what would go.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use evoke_core::id::AppName;
use evoke_engine::removal::{Inventory, RemovalOrder};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid};
use crate::api::{AppInventory, AppRemoved};
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};

/// The longest grace: one hour.
const GRACE_MS_MAX: u64 = 60 * 60 * 1_000;

/// How it is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Order {
    /// Also when work is pending: queued invocations, events that wait for their time, and waits are dropped.
    #[serde(default)]
    drop_pending: bool,
    /// How long what is under way may take to finish before it is ended; 30,000 unless it is said, 3,600,000 at most.
    grace_ms: Option<u64>,
}

/// What the app has, and would lose.
#[utoipa::path(get, path = "/v1/apps/{app}/inventory", tag = "apps", operation_id = "get_app_inventory",
    params(("app" = String, Path)), responses((status = 200, body = AppInventory)))]
pub(super) async fn inventory(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<AppInventory>, Refusal> {
    let found = shared.engine.inventory(&app).await?;
    let found = found.ok_or_else(|| Refusal::new(kind::UNKNOWN_APP, format!("there is no app {app}")))?;
    Ok(Json(show(app, found)))
}

/// Removes the app with all it has, and answers when it is gone. A client that does not wait changes nothing about that; one that
/// asks again waits again. The removal goes on after a restart of the server.
#[utoipa::path(delete, path = "/v1/apps/{app}", tag = "apps", operation_id = "remove_app",
    params(("app" = String, Path), Order), responses((status = 200, body = AppRemoved)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(Order { drop_pending, grace_ms }): Params<Order>,
) -> Result<Json<AppRemoved>, Refusal> {
    if let Some(over) = grace_ms.filter(|ms| *ms > GRACE_MS_MAX) {
        return Err(invalid(format!("query: grace_ms: {over} is above the limit of {GRACE_MS_MAX}")));
    }
    let order = RemovalOrder { drop_pending, grace: grace_ms.map(Duration::from_millis) };
    let removal = shared.engine.remove_app(&app, order).await?;
    if !shared.engine.removed(&removal).await {
        let detail = format!("the server is shutting down; the removal of app {app} goes on when it is back");
        return Err(Refusal::new(kind::DRAINING, detail));
    }
    let had = removal.inventory.map(|inventory| show(app.clone(), inventory));
    Ok(Json(AppRemoved { name: app, had }))
}

fn show(name: AppName, inventory: Inventory) -> AppInventory {
    let held = inventory.holdings;
    AppInventory {
        name,
        version: inventory.version,
        functions: inventory.functions,
        routes: inventory.routes,
        subscriptions: inventory.subscriptions,
        schedules: inventory.schedules,
        hooks: inventory.hooks,
        deployments: inventory.deployments,
        secrets: inventory.secrets,
        pending: held.pending,
        waits: inventory.waits,
        delayed: inventory.delayed,
        dead_letters: held.dead_letters,
        events: held.events,
        event_bytes: held.event_bytes,
        runs: held.runs,
        log_lines: held.log_lines,
        entries: held.entries,
        entry_bytes: held.entry_bytes,
    }
}
