//! Hooks: how they are doing, enabling one, trying one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evoke_core::id::{AppName, FunctionName};
use evoke_core::outcome::Outcome;
use evoke_engine::hook::{Disabled, HookState, RECENT, Recent};

use super::extract::Segments;
use crate::api::{Hook, HookChange, HookDeliveries, HookDisabled, HookList, HookTrial};
use crate::gateway::Shared;
use crate::problem::Refusal;

/// The hooks of an app, by name.
#[utoipa::path(get, path = "/v1/apps/{app}/hooks", tag = "hooks", operation_id = "list_hooks",
    params(("app" = String, Path)), responses((status = 200, body = HookList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<HookList>, Refusal> {
    let deployment = shared.app(&app)?;
    let states = shared.engine.hooks(&app).await?.unwrap_or_default();
    let events = |name: &FunctionName| {
        let on = deployment.manifest.functions.get(name).into_iter().flat_map(|settings| &settings.on);
        on.map(|on| on.event.0.clone()).collect()
    };
    let show = |HookState { name, hook, disabled, recent }: HookState| {
        let Recent { delivered, waiting, failed, last } = recent;
        let why = |Disabled { at, reason, run, .. }: Disabled| HookDisabled { at: at.into(), reason, run };
        Hook {
            events: events(&name),
            name,
            url: hook.url.to_string(),
            disabled: disabled.map(why),
            recent: HookDeliveries { delivered, waiting, failed },
            last: last.map(Into::into),
        }
    };
    Ok(Json(HookList { hooks: states.into_iter().map(show).collect(), recent_max: RECENT }))
}

/// Enables a hook that its endpoint disabled with an answer of 410.
#[utoipa::path(post, path = "/v1/apps/{app}/hooks/{hook}/enable", tag = "hooks", operation_id = "enable_hook",
    params(("app" = String, Path), ("hook" = String, Path)), responses((status = 200, body = HookChange)))]
pub(super) async fn enable(
    State(shared): State<Arc<Shared>>,
    Segments((app, hook)): Segments<(AppName, FunctionName)>,
) -> Result<Json<HookChange>, Refusal> {
    shared.app(&app)?;
    let changed = shared.engine.enable_hook(&app, &hook).await?;
    Ok(Json(HookChange { changed }))
}

/// Sends a sample event of the type `evoke.hook.test`, signed as any other, and tells what the endpoint answers. It is tried
/// once, also where the hook is disabled.
#[utoipa::path(post, path = "/v1/apps/{app}/hooks/{hook}/test", tag = "hooks", operation_id = "test_hook",
    params(("app" = String, Path), ("hook" = String, Path)), responses((status = 200, body = HookTrial)))]
pub(super) async fn test(
    State(shared): State<Arc<Shared>>,
    Segments((app, hook)): Segments<(AppName, FunctionName)>,
) -> Result<Json<HookTrial>, Refusal> {
    shared.app(&app)?;
    let tried = shared.engine.try_hook(&app, &hook).await?;
    let status = match &tried.outcome {
        Outcome::Completed { status } => *status,
        _ => None,
    };
    let delivered = tried.outcome.is_completed();
    Ok(Json(HookTrial {
        run: tried.run,
        event: tried.event,
        delivered,
        status,
        reason: (!delivered).then(|| tried.outcome.reason()),
        answer: tried.answer,
        took_us: u64::try_from(tried.took.as_micros()).unwrap_or(u64::MAX),
    }))
}
