//! Calls that are accepted for later, and those whose sender waits a while for their answer all the same
//! (`Prefer: respond-async, wait=10`, RFC 7240, 4.1 and 4.3).

use std::time::Duration;

use axum::response::Response;
use evoke_core::answer::Answer;
use evoke_core::id::{AppName, RunId};
use evoke_engine::ingest::{Accepted, LaterCall};
use evoke_engine::result::StoredAnswer;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};

use super::name_run;
use crate::api::Later;
use crate::gateway::Shared;
use crate::headers::{PREFERENCE_APPLIED, RESPOND_ASYNC, apply_wait};
use crate::problem::Refusal;

/// The longest that a request waits for the end of a run.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Accepts a call, and answers that it was; or what the function answers within `wait` seconds, if that is given. `asked`: the
/// method of the request.
pub(super) async fn answer(
    shared: &Shared,
    call: LaterCall,
    asked: &Method,
    wait: Option<u64>,
) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let accepted = shared.engine.call_later(call).await?;
    let seconds = wait.map(|seconds| seconds.min(WAIT_MAX.as_secs())).filter(|seconds| *seconds > 0);
    let Some(seconds) = seconds else { return Ok(told(&app, accepted)) };
    // Without a place there is no wait: the call is accepted either way.
    let Ok(_place) = shared.waiters.try_acquire() else { return Ok(told(&app, accepted)) };
    let _stay = shared.waiter_turnover.stay();
    let waited = Duration::from_secs(seconds);
    let mut response = match answered(shared, &app, &accepted.run, waited).await {
        Some(answer) => made_of(&answer, asked),
        None => told(&app, accepted.clone()),
    };
    let headers = response.headers_mut();
    apply_wait(headers, Some(seconds));
    name_run(headers, &accepted.run);
    Ok(response)
}

/// What the function answered, if that is known in time, and whole.
async fn answered(shared: &Shared, app: &AppName, run: &RunId, most: Duration) -> Option<Answer> {
    let ended = tokio::select! {
        biased;
        ended = shared.engine.run_ended(app, run, most) => ended,
        () = shared.stop.cancelled() => return None,
    };
    // It was accepted, and that is what is told where the store says nothing more now.
    ended.ok().flatten()?;
    let StoredAnswer { answer, .. } = shared.engine.result(app, run).await.ok().flatten()?;
    (!answer.is_truncated()).then_some(answer)
}

fn made_of(answer: &Answer, asked: &Method) -> Response {
    let is_head = asked == Method::HEAD;
    let mut response = Response::new(if is_head { Vec::new().into() } else { answer.body.clone().into() });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    describe(response.headers_mut(), answer, |_| true);
    response
}

/// Gives a response the header fields that were kept of an answer, of those that are `wanted`.
pub(crate) fn describe(headers: &mut HeaderMap, answer: &Answer, wanted: impl Fn(&str) -> bool) {
    for (name, value) in answer.headers.iter().filter(|(name, _)| wanted(name)) {
        let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(&bytes)) {
            headers.insert(name, value);
        }
    }
}

fn told(app: &AppName, accepted: Accepted) -> Response {
    let Accepted { run, duplicate } = accepted;
    let location = HeaderValue::from_str(&format!("/v1/apps/{app}/runs/{run}"));
    let body =
        serde_json::to_vec(&Later { run: run.clone(), duplicate }).expect("strings and a bool are JSON");
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(PREFERENCE_APPLIED, RESPOND_ASYNC);
    if let Ok(location) = location {
        headers.insert(LOCATION, location);
    }
    name_run(headers, &run);
    response
}
