//! `/v1/functions/{name}{path}`: a call to another function of the app.

use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::id::FunctionName;
use evoke_core::outcome::FailureCode;
use evoke_core::record::Trigger;
use evoke_core::runtime::{PlatformRequest, PlatformResponse, Request};
use http::{HeaderMap, StatusCode, header};

use super::reply::{PROBLEM, Problem};
use super::{Step, segment};
use crate::attempt::Attempt;
use crate::call::{self, Ask, Bound, CallError};

/// Fields that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 8] =
    ["connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

pub(super) fn call(
    attempt: &mut Attempt,
    request: PlatformRequest,
    rest: &str,
    query: Option<&str>,
) -> Result<Step, Problem> {
    let (name, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let name = segment(name)?;
    let app = attempt.target.app.clone();
    let unknown = || {
        let detail = format!("app {app} has no function {name:?}");
        Problem::new(StatusCode::NOT_FOUND, "unknown_function", detail)
    };
    let function = FunctionName::new(&name).map_err(|_| unknown())?;
    if !attempt.app.functions.contains_key(&function) {
        return Err(unknown());
    }
    let limit = attempt.inner.limits.body_bytes;
    if request.body.len() as u64 > limit {
        return Err(Problem::too_large(format!(
            "the request body is larger than the limit of {limit} bytes"
        )));
    }
    let settings = &attempt.target.settings;
    if let Some(calls) = settings.calls.as_ref().filter(|calls| !calls.contains(&function)) {
        let by = &attempt.target.name;
        let line: Vec<String> =
            calls.iter().chain([&function]).map(|name| format!("{:?}", name.as_str())).collect();
        let detail = format!(
            "function {by} may not call {function}: add it to evoke.toml under [functions.{by}]: calls = [{}]",
            line.join(", ")
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, "call_refused", detail));
    }
    attempt.called = true;
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let ask = Ask {
        app,
        request: Request {
            method: request.method,
            uri: format!("http://{function}.evoke.internal{path}{query}"),
            headers: end_to_end(request.headers),
            params: Vec::new(),
            client: None,
            body: Body::Full(request.body),
        },
        function,
        trigger: Trigger::Call { by: attempt.target.name.clone() },
        run: attempt.inner.new_run_id(),
        cause: attempt.cause_of_children(),
        of: Some(attempt.app.clone()),
        deadline: Some(attempt.deadline),
        next: None,
    };
    let inner = attempt.inner.clone();
    let (deadline, looped) = (attempt.deadline, attempt.looped.get_or_insert_default().clone());
    Ok(Step::Later(Box::pin(async move {
        let answered = async {
            let answered = call::make(&inner, ask, None).await.map_err(|error| {
                loop_of(&error).map(|words| looped.set(words));
                problem(&error)
            })?;
            let response = answered.response;
            let body = response.body.collect(limit).await;
            let body: Bytes = body.map_err(|error| {
                Problem::new(StatusCode::BAD_GATEWAY, "function_failed", error.to_string())
            })?;
            let mut headers = end_to_end(response.headers);
            headers.remove(PROBLEM);
            Ok(PlatformResponse { status: response.status, headers, body })
        };
        match tokio::time::timeout_at(deadline + GRACE, answered).await {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => Problem::into_response(problem),
            Err(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "timed_out", "the caller's own time ran out")
                .into_response(),
        }
    })))
}

/// The callee is ended at the same deadline and says so itself; this is only for a callee that cannot.
const GRACE: Duration = Duration::from_millis(500);

/// What is said of the loop that a call was, or led to.
fn loop_of(error: &CallError) -> Option<String> {
    match error {
        CallError::Loop { stopped, .. } => Some(stopped.to_string()),
        CallError::Failed { failure, .. } if failure.code == FailureCode::LoopDetected => {
            Some(failure.message.clone())
        }
        _ => None,
    }
}

fn problem(error: &CallError) -> Problem {
    let (status, code) = match error {
        CallError::NotFound { .. } => (StatusCode::NOT_FOUND, "unknown_function"),
        CallError::NoVersion { .. } => (StatusCode::NOT_FOUND, "unknown_version"),
        error if loop_of(error).is_some() => (StatusCode::LOOP_DETECTED, "loop_detected"),
        CallError::Overloaded { bound: Bound::Rate(_), .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited")
        }
        CallError::Overloaded { bound, .. } if bound.is_of_node() => {
            (StatusCode::SERVICE_UNAVAILABLE, "saturated")
        }
        CallError::Overloaded { .. } => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
        CallError::TooLate { .. } => (StatusCode::GATEWAY_TIMEOUT, "too_late"),
        CallError::Failed { failure, .. } if failure.code == FailureCode::Overloaded => {
            (StatusCode::TOO_MANY_REQUESTS, "overloaded")
        }
        CallError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
        CallError::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        CallError::Draining | CallError::Store(_) | CallError::Unknown { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        CallError::Failed { .. }
        | CallError::Loop { .. }
        | CallError::BodyAborted(_)
        | CallError::KeyInUse { .. }
        | CallError::KeyReused { .. } => (StatusCode::BAD_GATEWAY, "function_failed"),
    };
    let problem = Problem::new(status, code, error.to_string());
    match error {
        CallError::Overloaded { retry_after, .. } => problem.retry_after(*retry_after),
        _ if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
            problem.retry_after(Duration::from_secs(1))
        }
        _ => problem,
    }
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in HOP_BY_HOP.iter().copied().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", "close, x-mine".parse().unwrap());
        headers.insert("x-mine", "1".parse().unwrap());
        headers.insert("x-other", "2".parse().unwrap());
        let passed = end_to_end(headers);
        assert_eq!(passed.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }
}
