//! What is deployed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evoke_core::id::{AppName, FunctionName};
use evoke_core::manifest;
use evoke_engine::deploy::Deployment;

use super::extract::Segments;
use crate::api::{App, AppList, AppSummary, Function, FunctionList, Revision, RevisionList, Route, whole_ms};
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};

/// All apps, by name.
#[utoipa::path(get, path = "/v1/apps", tag = "apps", operation_id = "list_apps", responses((status = 200, body = AppList)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<AppList> {
    let summary = |app: Arc<Deployment>| AppSummary {
        name: app.manifest.app.clone(),
        version: app.version,
        deployed_at: app.deployed_at.into(),
        functions: app.manifest.functions.len() - app.manifest.hooks().count(),
    };
    Json(AppList { apps: shared.engine.apps().into_iter().map(summary).collect() })
}

/// One app with its functions and routes.
#[utoipa::path(get, path = "/v1/apps/{app}", tag = "apps", operation_id = "get_app",
    params(("app" = String, Path)), responses((status = 200, body = App)))]
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<App>, Refusal> {
    let deployment = shared.app(&app)?;
    let functions = all_functions(&shared, &deployment);
    Ok(Json(App {
        name: app,
        version: deployment.version,
        deployed_at: deployment.deployed_at.into(),
        bundle: deployment.bundle.clone(),
        functions,
        routes: deployment.manifest.routes.iter().map(Route::from).collect(),
    }))
}

/// The functions of an app, by name.
#[utoipa::path(get, path = "/v1/apps/{app}/functions", tag = "functions", operation_id = "list_functions",
    params(("app" = String, Path)), responses((status = 200, body = FunctionList)))]
pub(super) async fn functions(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<FunctionList>, Refusal> {
    let deployment = shared.app(&app)?;
    Ok(Json(FunctionList { functions: all_functions(&shared, &deployment) }))
}

/// One function.
#[utoipa::path(get, path = "/v1/apps/{app}/functions/{function}", tag = "functions", operation_id = "get_function",
    params(("app" = String, Path), ("function" = String, Path)), responses((status = 200, body = Function)))]
pub(super) async fn function(
    State(shared): State<Arc<Shared>>,
    Segments((app, function)): Segments<(AppName, FunctionName)>,
) -> Result<Json<Function>, Refusal> {
    let deployment = shared.function(&app, &function)?;
    let shown = deployment.manifest.functions.get(&function).filter(|settings| settings.hook.is_none());
    let shown = shown.and_then(|settings| one_function(&shared, &deployment, &function, settings));
    let missing = || Refusal::new(kind::UNKNOWN_FUNCTION, format!("app {app} has no function {function}"));
    shown.map(Json).ok_or_else(missing)
}

/// A function's revisions, newest first.
#[utoipa::path(get, path = "/v1/apps/{app}/functions/{function}/revisions", tag = "functions",
    operation_id = "list_revisions",
    params(("app" = String, Path), ("function" = String, Path)), responses((status = 200, body = RevisionList)))]
pub(super) async fn revisions(
    State(shared): State<Arc<Shared>>,
    Segments((app, function)): Segments<(AppName, FunctionName)>,
) -> Result<Json<RevisionList>, Refusal> {
    let deployment = shared.function(&app, &function)?;
    let current = deployment.revisions.get(&function);
    let revision = |revision: evoke_engine::deploy::Revision| Revision {
        current: current == Some(&revision.id),
        id: revision.id,
        created_at: revision.created_at.into(),
        bundle: revision.bundle,
        runtime: revision.settings.runtime,
        source: revision.settings.source,
    };
    let revisions = shared.engine.revisions(&app, &function).await?;
    Ok(Json(RevisionList { revisions: revisions.into_iter().map(revision).collect() }))
}

fn all_functions(shared: &Shared, deployment: &Deployment) -> Vec<Function> {
    let functions = deployment.manifest.functions.iter().filter(|(_, settings)| settings.hook.is_none());
    functions.filter_map(|(name, settings)| one_function(shared, deployment, name, settings)).collect()
}

/// As it is shown; a deployment has a revision for each function of its manifest.
fn one_function(
    shared: &Shared,
    deployment: &Deployment,
    name: &FunctionName,
    settings: &manifest::Function,
) -> Option<Function> {
    let app = deployment.manifest.app.clone();
    let instances = (&shared.engine.instances(&app, name)).into();
    let spent = shared.engine.spent(&app, name).into();
    Some(Function {
        revision: deployment.revisions.get(name)?.clone(),
        app,
        name: name.clone(),
        runtime: settings.runtime,
        source: settings.source.clone(),
        handler: settings.handler.clone(),
        timeout_ms: whole_ms(settings.timeout),
        memory_bytes: settings.memory_bytes,
        concurrency: settings.concurrency,
        instance_concurrency: settings.instance_concurrency,
        min_instances: settings.min_instances,
        reuse: settings.reuse,
        env: settings.env.keys().cloned().collect(),
        emits: settings.emits.iter().map(|pattern| pattern.0.clone()).collect(),
        on: settings.on.iter().map(Into::into).collect(),
        retry: (&settings.retry).into(),
        routes: deployment
            .manifest
            .routes
            .iter()
            .filter(|route| route.to.function() == Some(name))
            .map(Route::from)
            .collect(),
        instances,
        spent,
    })
}
