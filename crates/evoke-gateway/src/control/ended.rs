//! Waiting for the end of a run, and what it came to.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::response::Response;
use evoke_core::id::{AppName, RunId};
use evoke_core::manifest::units;
use evoke_core::record::{RunRecord, RunState};
use evoke_core::time::Timestamp;
use evoke_engine::result::StoredAnswer;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid};
use crate::call::later::{WAIT_MAX, describe};
use crate::call::name_run;
use crate::gateway::Shared;
use crate::headers;
use crate::problem::{Refusal, kind};

/// What is said of when to ask again, within.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60 * 60);

const STATUS: HeaderName = HeaderName::from_static("evoke-status");
const BYTES: HeaderName = HeaderName::from_static("evoke-bytes");
const TRUNCATED: HeaderName = HeaderName::from_static("evoke-truncated");
const CSP: HeaderName = HeaderName::from_static("content-security-policy");

/// For how long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Waiting {
    /// Answer when the run has ended, or after this time, such as `30s`; at most `1m`. `Prefer: wait=30` says the same.
    wait: Option<String>,
}

/// A run, when it has ended or the time is over.
pub(super) struct Found {
    pub run: RunRecord,
    /// The seconds of `Prefer: wait=` that were granted.
    pub preferred: Option<u64>,
}

/// Finds a run, and waits for its end if the request says so.
pub(super) async fn find(
    shared: &Shared,
    app: &AppName,
    run: &RunId,
    Waiting { wait }: Waiting,
    fields: &HeaderMap,
) -> Result<Found, Refusal> {
    shared.app(app)?;
    let asked = wait.map(|text| {
        let wrong = |why: String| invalid(format!("query parameter wait {why}"));
        let wait = units::parse_duration(&text).map_err(|error| wrong(error.to_string()))?;
        if wait > WAIT_MAX { Err(wrong(format!("{text:?} is above the limit of 1m"))) } else { Ok(wait) }
    });
    let preferred = if asked.is_some() { None } else { headers::preferred_wait(fields) };
    let preferred = preferred.map(|seconds| seconds.min(WAIT_MAX.as_secs()));
    let most = asked.transpose()?.or(preferred.map(Duration::from_secs));
    let found = match most.filter(|most| !most.is_zero()) {
        None => shared.engine.run(app, run).await?,
        Some(most) => {
            let _place = shared.waiters.try_acquire().map_err(|_| {
                let limit = shared.bounds.run_waiters as u64;
                let detail =
                    format!("{limit} requests wait for the end of runs, and there is no place for another");
                Refusal::new(kind::OVERLOADED, detail).limit("run_waiters", limit).retry_after(shared.again(
                    &shared.waiter_turnover,
                    1,
                    limit,
                ))
            })?;
            let _stay = shared.waiter_turnover.stay();
            let stop = shared.stop.cancelled();
            tokio::select! {
                biased;
                found = shared.engine.run_ended(app, run, most) => found?,
                () = stop => shared.engine.run(app, run).await?,
            }
        }
    };
    let run = found.ok_or_else(|| unknown(app, run))?;
    Ok(Found { run, preferred })
}

/// When to ask again for a run that is pending: when its next attempt is due.
pub(super) fn again(run: &RunRecord, now: Timestamp) -> Option<Duration> {
    let due = match run.state {
        RunState::Queued => run.due_at.map_or(Duration::ZERO, |due| due.since(now)),
        RunState::Running => Duration::ZERO,
        RunState::Completed | RunState::Failed | RunState::DeadLettered => return None,
    };
    Some(due.clamp(AGAIN_MIN, AGAIN_MAX))
}

/// What the function answered to an asynchronous call, as it answered it; its status is in `evoke-status`.
#[utoipa::path(get, path = "/v1/apps/{app}/runs/{run}/result", tag = "runs", operation_id = "get_run_result",
    params(("app" = String, Path), ("run" = String, Path), Waiting,
        ("prefer" = Option<String>, Header, description = "`wait=` and seconds")),
    responses((status = 200, description = "The body, or its beginning with `evoke-truncated: true`")))]
pub(super) async fn result(
    State(shared): State<Arc<Shared>>,
    Segments((app, run)): Segments<(AppName, RunId)>,
    Params(waiting): Params<Waiting>,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let Found { run: record, preferred } = find(&shared, &app, &run, waiting, &fields).await?;
    if let Some(again) = again(&record, shared.engine.now()) {
        let detail = format!("run {run} has not ended: it is {}", record.state.as_str());
        return Err(Refusal::new(kind::RUN_PENDING, detail).run(&run).retry_after(again));
    }
    let Some(StoredAnswer { answer, .. }) = shared.engine.result(&app, &run).await? else {
        let detail = format!("there is no result of run {run}: {}", why_none(&record));
        return Err(Refusal::new(kind::NO_RESULT, detail).run(&run));
    };
    let mut response = Response::new(HttpBody::from(answer.body.clone()));
    let headers = response.headers_mut();
    // What describes the body; where it is to be had elsewhere means nothing here.
    describe(headers, &answer, |name| name.starts_with("content-"));
    headers.insert(STATUS, answer.status.into());
    headers.insert(BYTES, answer.bytes.into());
    if answer.is_truncated() {
        headers.insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    // It comes from a function, to the origin of the console.
    headers.insert(CSP, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    name_run(headers, &run);
    headers::apply_wait(headers, preferred);
    Ok(response)
}

fn why_none(run: &RunRecord) -> String {
    match (run.state, run.attempts.last()) {
        (RunState::Completed, _) => "only those of asynchronous calls are kept, for 24 hours".to_owned(),
        (_, Some(last)) => last.outcome.reason(),
        (state, None) => format!("it is {}", state.as_str()),
    }
}

fn unknown(app: &AppName, run: &RunId) -> Refusal {
    let detail = format!("app {app} has no run {run}; it may be older than runs are kept");
    Refusal::new(kind::UNKNOWN_RUN, detail)
}
