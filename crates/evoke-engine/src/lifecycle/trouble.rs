//! A function fails or recovers, an invocation is given up, a chain of calls is cut.

use evoke_core::id::{FunctionName, RunId};
use evoke_core::lifecycle::{DEADLETTER_ADDED, FUNCTION_FAILING, FUNCTION_RECOVERED, LOOP_STOPPED};
use evoke_core::record::{AttemptRecord, Cause, RunRecord};
use evoke_core::store::Append;
use evoke_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::health::Change;
use super::{is_descendant, publish_beside, trouble};
use crate::engine::Inner;
use crate::route::{App, Target};

/// Notes how an attempt ended: `evoke.function.failing`, `evoke.function.recovered`.
pub(crate) fn attempted(inner: &Inner, app: &App, target: &Target, run: &RunRecord, attempt: &AttemptRecord) {
    if is_descendant(&run.cause) {
        return;
    }
    let Some(change) = target.health.note(&attempt.outcome, attempt.ended_at) else { return };
    let (ty, kind, streak) = match &change {
        Change::Failing(streak) => (FUNCTION_FAILING, "failing", streak),
        Change::Recovered(streak) => (FUNCTION_RECOVERED, "recovered", streak),
    };
    let mut data = members(json!({
        "function": target.name,
        "revision": attempt.revision,
        "run": run.id,
        "failed": streak.failed,
        "since": streak.since.to_rfc3339(),
    }));
    if let Change::Failing(_) = change {
        data.insert("reason".to_owned(), attempt.outcome.reason().into());
    }
    let id = format!("{kind}-{}-{}", run.id, attempt.number);
    publish_beside(inner, trouble(inner, app, id, ty, target.name.as_str(), data));
}

/// `evoke.deadletter.added`, for the transaction that makes `run` one.
pub(crate) fn dead_letter(inner: &Inner, run: &RunRecord, reason: &str, now: Timestamp) -> Option<Append> {
    if is_descendant(&run.cause) {
        return None;
    }
    let app = inner.directory.snapshot().apps.get(&run.app)?.clone();
    let attempts = run.attempts.last().map_or(0, |attempt| attempt.number);
    let data = json!({ "function": run.function, "run": run.id, "attempts": attempts, "reason": reason });
    // One that was redriven can become one again, which is another event.
    let id = format!("dead-{}-{}", run.id, now.as_millis());
    trouble(inner, &app, id, DEADLETTER_ADDED, run.function.as_str(), members(data))
}

/// `evoke.loop.stopped`: `by` was kept from calling `callee`, once for each run and callee. `cause` is that of the call.
pub(crate) fn loop_stopped(
    inner: &Inner,
    app: &App,
    (by, run): (&FunctionName, &RunId),
    callee: &FunctionName,
    cause: &Cause,
    reason: &str,
) {
    if is_descendant(cause) {
        return;
    }
    let data = json!({
        "function": callee,
        "by": by,
        "run": run,
        "root": cause.root,
        "depth": cause.depth,
        "reason": reason,
    });
    let id = format!("loop-{run}-{callee}");
    publish_beside(inner, trouble(inner, app, id, LOOP_STOPPED, callee.as_str(), members(data)));
}

fn members(data: Value) -> Map<String, Value> {
    match data {
        Value::Object(members) => members,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
