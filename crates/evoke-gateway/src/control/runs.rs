//! What ran, and what came of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use evoke_core::id::{AppName, Correlation, FunctionName, RunId};
use evoke_core::record::RunState;
use evoke_core::store::{EventQuery, RunQuery};
use http::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use utoipa::IntoParams;

use super::ended::{self, Found, Waiting};
use super::extract::{Params, Segments, limit, page};
use super::tree;
use crate::api::{Run, RunList, RunResult, RunTree};
use crate::gateway::Shared;
use crate::headers;
use crate::problem::Refusal;

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this function.
    #[param(value_type = Option<String>)]
    function: Option<FunctionName>,
    /// In this state.
    #[param(value_type = Option<String>)]
    state: Option<RunState>,
    /// With this root.
    root: Option<String>,
    /// `next` of the page before.
    before: Option<String>,
    /// At most so many.
    limit: Option<usize>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/apps/{app}/runs", tag = "runs", operation_id = "list_runs",
    params(("app" = String, Path), Filter), responses((status = 200, body = RunList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(filter): Params<Filter>,
) -> Result<Json<RunList>, Refusal> {
    shared.app(&app)?;
    let limit = limit(filter.limit, 1, shared.engine.limits().page)?;
    let root = filter.root.map(Correlation::from_text);
    // The store knows sync calls when they have ended. They are new, so that they are on the first page.
    let mut calls = match (&filter.before, filter.state) {
        (None, None | Some(RunState::Running | RunState::Queued)) => shared.engine.calls_under_way(&app),
        _ => Vec::new(),
    };
    calls.retain(|call| filter.state.is_none_or(|state| state == call.state));
    calls.retain(|call| filter.function.as_ref().is_none_or(|function| *function == call.function));
    calls.retain(|call| root.as_ref().is_none_or(|root| *root == call.cause.root));
    let query = RunQuery {
        app: Some(app),
        function: filter.function,
        state: filter.state,
        root,
        before: filter.before.map(RunId::from_text),
        limit: limit + 1,
        ..RunQuery::default()
    };
    let mut runs = shared.engine.runs(&query).await?;
    runs.retain(|run| !calls.iter().any(|call| call.id == run.id));
    runs.extend(calls);
    runs.sort_by(|a, b| b.id.cmp(&a.id));
    let (runs, next) = page(runs, limit, |run| run.id.to_string());
    Ok(Json(RunList { runs: runs.into_iter().map(Into::into).collect(), next }))
}

/// One run. While it is pending the answer has `Retry-After`.
#[utoipa::path(get, path = "/v1/apps/{app}/runs/{run}", tag = "runs", operation_id = "get_run",
    params(("app" = String, Path), ("run" = String, Path), Waiting,
        ("prefer" = Option<String>, Header, description = "`wait=` and seconds")),
    responses((status = 200, body = Run)))]
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Segments((app, run)): Segments<(AppName, RunId)>,
    Params(waiting): Params<Waiting>,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let Found { run: found, preferred } = ended::find(&shared, &app, &run, waiting, &fields).await?;
    let limits = shared.engine.limits();
    let waits = shared.engine.waits(&app, Some(&run), None, limits.effects.min(limits.page)).await?;
    let result = match found.state {
        RunState::Completed => shared.engine.result(&app, &run).await?.map(RunResult::from),
        _ => None,
    };
    let again = ended::again(&found, shared.engine.now());
    let shown = Run { waits: waits.into_iter().map(Into::into).collect(), result, ..found.into() };
    let mut response = Json(shown).into_response();
    if let Some(again) = again {
        response.headers_mut().insert(RETRY_AFTER, again.as_secs().into());
    }
    headers::apply_wait(response.headers_mut(), preferred);
    Ok(response)
}

/// Everything that goes back to the same start as a run, as a tree.
#[utoipa::path(get, path = "/v1/apps/{app}/runs/{run}/tree", tag = "runs", operation_id = "get_run_tree",
    params(("app" = String, Path), ("run" = String, Path)), responses((status = 200, body = RunTree)))]
pub(super) async fn tree(
    State(shared): State<Arc<Shared>>,
    Segments((app, run)): Segments<(AppName, RunId)>,
) -> Result<Json<RunTree>, Refusal> {
    let root = ended::find(&shared, &app, &run, Waiting::default(), &HeaderMap::new()).await?.run.cause.root;
    let (store, limit) = (shared.engine.store(), shared.engine.limits().page);
    let query = RunQuery {
        app: Some(app.clone()),
        root: Some(root.clone()),
        limit: limit + 1,
        ..RunQuery::default()
    };
    let runs = shared.engine.runs(&query).await?;
    let query =
        EventQuery { app: Some(app), root: Some(root.clone()), limit: limit + 1, ..EventQuery::default() };
    let events = store.events(&query).await?;
    Ok(Json(tree::build(root, runs, events, limit)))
}
