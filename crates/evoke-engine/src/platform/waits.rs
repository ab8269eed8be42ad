//! `POST /v1/waits`.

use std::time::Duration;

use evoke_core::filter::cesql::Expression;
use evoke_core::filter::pattern::Pattern;
use evoke_core::id::{FunctionName, WaitId};
use evoke_core::manifest::{TypePattern, units};
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use evoke_core::wait::{Awaited, Wait};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reply::{self, Problem};
use crate::attempt::Attempt;
use crate::wait;

/// What a function asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    event: String,
    #[serde(rename = "where")]
    filter: Option<String>,
    pattern: Option<Value>,
    timeout_ms: u64,
    then: String,
    #[serde(default)]
    data: Value,
}

#[derive(Serialize)]
struct Accepted {
    id: WaitId,
    until: String,
}

/// Keeps a wait with the attempt's other effects.
pub(super) fn keep(attempt: &mut Attempt, request: &PlatformRequest) -> Result<PlatformResponse, Problem> {
    if request.method != Method::POST {
        return Err(Problem::method("POST"));
    }
    let asked: Asked = serde_json::from_slice(&request.body)
        .map_err(|error| Problem::invalid(format!("the body is no wait: {error}")))?;
    let awaited = awaited(&asked)?;
    let then = function(attempt, &asked.then)?;
    let limits = &attempt.inner.limits;
    let timeout = Duration::from_millis(asked.timeout_ms);
    if timeout.is_zero() || timeout > limits.wait {
        let (given, limit) = (units::format_duration(timeout), units::format_duration(limits.wait));
        return Err(Problem::invalid(format!(
            "timeout_ms: {given} is not a time above zero and up to {limit}, the longest wait"
        )));
    }
    let bytes = asked.data.to_string().len() as u64;
    if bytes > limits.wait_data_bytes {
        return Err(Problem::too_large(format!(
            "data has {bytes} bytes as JSON, the limit is {}; keep it in a key and pass the key",
            limits.wait_data_bytes
        )));
    }
    let app = attempt.target.app.clone();
    let Some(place) = attempt.inner.waits.reserve(&app, limits.waits) else {
        let detail = format!("{} waits of app {app} are open, which is the limit", limits.waits);
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_waits", detail));
    };
    let now = attempt.inner.now();
    let wait = Wait {
        id: WaitId::from_text(format!("{}.w{}", attempt.record.id, attempt.waits)),
        app,
        by: attempt.target.name.clone(),
        run: attempt.record.id.clone(),
        trigger: attempt.record.trigger.clone(),
        cause: attempt.cause_of_children(),
        awaited,
        then,
        data: asked.data,
        since: now,
        after_seq: attempt.after_seq,
        until: now.after(timeout),
    };
    attempt.effects.wait(wait::keep(&wait), place, limits)?;
    attempt.waits += 1;
    let accepted = Accepted { id: wait.id, until: wait.until.to_rfc3339() };
    Ok(reply::json(StatusCode::ACCEPTED, &accepted))
}

/// Which events it is about.
fn awaited(asked: &Asked) -> Result<Awaited, Problem> {
    let event = TypePattern::parse(&asked.event)
        .map_err(|error| Problem::invalid(format!("event: {error}; {}", error.help)))?;
    let filter = asked.filter.as_deref().map(Expression::parse).transpose();
    let filter = filter.map_err(|error| Problem::invalid(format!("where: {error}")))?;
    if let Some(name) = filter.as_ref().and_then(|filter| filter.unknown_functions().into_iter().next()) {
        let name = name.of(asked.filter.as_deref().unwrap_or_default());
        return Err(Problem::invalid(format!("where: {name} is no function with so many arguments")));
    }
    let pattern = asked.pattern.clone().map(Pattern::compile).transpose();
    let pattern = pattern.map_err(|error| Problem::invalid(format!("pattern: {error}")))?;
    Ok(Awaited { event, filter, pattern })
}

/// The function it is to end in, which must exist now.
fn function(attempt: &Attempt, name: &str) -> Result<FunctionName, Problem> {
    let app = &attempt.target.app;
    let known = FunctionName::new(name).ok();
    let known = known.filter(|name| attempt.inner.directory.snapshot().target(app, name).is_some());
    known.ok_or_else(|| {
        let detail = format!("then: app {app} has no function {name:?}");
        Problem::new(StatusCode::NOT_FOUND, "unknown_function", detail)
    })
}
