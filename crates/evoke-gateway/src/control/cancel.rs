//! Ending runs before their time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::id::{AppName, RunId, SubscriptionName};
use evoke_core::record::RunState;
use evoke_engine::cancel::{self, CancelError, Cancelled, PendingRuns};
use futures_util::StreamExt;

use super::extract::{Segments, invalid, json};
use super::order::{ORDER_BYTES, is_all, most, page};
use crate::api::{CancelOrder, CancelRuns, CancelledRun, CancelledRuns};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::Refusal;

/// Characters of a reason.
const REASON_CHARS: usize = 500;
/// Runs that are cancelled at the same time; the store commits them together.
const AT_ONCE: usize = 64;

/// Cancels a run: one that waits never starts, one that is being attempted is ended with all it has called.
///
/// Asked for again it says the same and changes nothing. A run that has come to an end by itself is not touched: 409.
#[utoipa::path(post, path = "/v1/apps/{app}/runs/{run}/cancel", tag = "runs", operation_id = "cancel_run",
    params(("app" = String, Path), ("run" = String, Path)), request_body = Option<CancelOrder>,
    responses((status = 200, body = CancelledRun)))]
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments((app, run)): Segments<(AppName, RunId)>,
    request: Request,
) -> Result<Json<CancelledRun>, Refusal> {
    shared.app(&app)?;
    let (parts, body) = request.into_parts();
    let body = whole(&parts.headers, body, shared.cap("cancel_bytes", ORDER_BYTES)).await?;
    let CancelOrder { reason, silent } =
        if body.is_empty() { CancelOrder::default() } else { json(&parts.headers, &body)? };
    let order = cancel::CancelOrder { reason: checked(reason)?, silent };
    let Cancelled { run, before } = shared.engine.cancel_run(&app, &run, &order).await?;
    Ok(Json(CancelledRun { run: run.into(), before }))
}

/// Cancels runs that are named, or all that are chosen.
#[utoipa::path(post, path = "/v1/apps/{app}/runs/cancel", tag = "runs", operation_id = "cancel_runs",
    params(("app" = String, Path)), request_body = CancelRuns, responses((status = 200, body = CancelledRuns)))]
pub(super) async fn several(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<Json<CancelledRuns>, Refusal> {
    shared.app(&app)?;
    let (parts, body) = request.into_parts();
    let body = whole(&parts.headers, body, shared.cap("cancel_bytes", ORDER_BYTES)).await?;
    let order: CancelRuns = json(&parts.headers, &body)?;
    let (runs, more) = match is_all(&order.runs, order.all)? {
        true => chosen(&shared, &app, &order).await?,
        false => (named(&shared, &order)?, false),
    };
    if order.dry_run {
        return Ok(Json(CancelledRuns { runs, more, ..CancelledRuns::default() }));
    }
    let how = cancel::CancelOrder { reason: checked(order.reason)?, silent: order.silent };
    let mut done = CancelledRuns { more, ..CancelledRuns::default() };
    let (engine, app, how) = (&shared.engine, &app, &how);
    let cancelling = runs.into_iter().map(|run| async move {
        let cancelled = engine.cancel_run(app, &run, how).await;
        (run, cancelled)
    });
    let mut cancelling = futures_util::stream::iter(cancelling).buffered(AT_ONCE);
    while let Some((run, cancelled)) = cancelling.next().await {
        match cancelled {
            Ok(_) => done.runs.push(run),
            Err(CancelError::Ended { .. }) => done.ended.push(run),
            Err(CancelError::NotFound { .. }) => done.missing.push(run),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(done))
}

fn named(shared: &Shared, order: &CancelRuns) -> Result<Vec<RunId>, Refusal> {
    let CancelRuns { runs, reason, silent, .. } = order.clone();
    let narrowed = CancelRuns { runs, reason, silent, ..CancelRuns::default() };
    if *order != narrowed {
        return Err(invalid(
            "body: with runs only reason and silent can be given; the others narrow down all",
        ));
    }
    page(narrowed.runs, &shared.engine)
}

async fn chosen(shared: &Shared, app: &AppName, order: &CancelRuns) -> Result<(Vec<RunId>, bool), Refusal> {
    let limit = most(order.limit)?;
    if let Some(state) = order.state.filter(|state| !matches!(state, RunState::Queued | RunState::Running)) {
        let detail =
            format!("body: state: {} is over; what can be cancelled is queued or running", state.as_str());
        return Err(invalid(detail));
    }
    let which = PendingRuns {
        function: order.function.clone(),
        subscription: order.subscription.clone().map(SubscriptionName::from_text),
        state: order.state,
        root: order.root.clone(),
        since: order.since.map(|time| time.0),
        until: order.until.map(|time| time.0),
    };
    let (runs, more) = shared.engine.pending_runs(app, &which, limit).await?;
    Ok((runs.into_iter().map(|run| run.id).collect(), more))
}

fn checked(reason: Option<String>) -> Result<Option<String>, Refusal> {
    match reason {
        Some(reason) if reason.chars().count() > REASON_CHARS => {
            Err(invalid(format!("body: reason has more than {REASON_CHARS} characters")))
        }
        reason => Ok(reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty())),
    }
}
