//! A function fails or recovers, an invocation is given up, a chain of calls goes round.

use evoke_core::chain::LoopStopped;
use evoke_core::lifecycle::{
    DEADLETTER_ADDED, FUNCTION_FAILING, FUNCTION_RECOVERED, LOOP_STOPPED, LOOP_SUSPECTED,
};
use evoke_core::record::{AttemptRecord, RunRecord};
use evoke_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::health::Change;
use super::{News, is_descendant, publish_beside, trouble};
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
pub(crate) fn dead_letter(inner: &Inner, run: &RunRecord, reason: &str, now: Timestamp) -> Option<News> {
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

/// `evoke.loop.stopped`: `run` was not let in, because its chain has reached a bound.
pub(crate) fn loop_stopped(inner: &Inner, app: &App, run: &RunRecord, stopped: &LoopStopped) {
    let LoopStopped { path, cycle, edge, limit, allowed } = stopped;
    let data = json!({
        "path": path,
        "cycle": cycle,
        "edge": edge,
        "limit": limit,
        "allowed": allowed,
        "reason": stopped.to_string(),
    });
    about_loop(inner, app, run, ("stopped", LOOP_STOPPED), members(data));
}

/// `evoke.loop.suspected`: the chain of `run` comes back to its function for the first time, by `cycle`; without one there is
/// only a reason to think so.
pub(crate) fn loop_suspected(inner: &Inner, app: &App, run: &RunRecord, cycle: Option<&str>, reason: &str) {
    let data = json!({ "cycle": cycle, "reason": reason });
    about_loop(inner, app, run, ("suspected", LOOP_SUSPECTED), members(data));
}

fn about_loop(
    inner: &Inner,
    app: &App,
    run: &RunRecord,
    (kind, ty): (&str, &str),
    mut data: Map<String, Value>,
) {
    if is_descendant(&run.cause) {
        return;
    }
    let by = run.cause.chain.links().last().map(|link| &link.function);
    data.extend(members(json!({
        "function": run.function,
        "by": by,
        "run": run.id,
        "parent": run.cause.parent,
        "root": run.cause.root,
        "depth": run.cause.depth,
    })));
    // Once for each start and function, however many branches of its chain come to the same.
    let id = format!("loop-{kind}-{}-{}", run.cause.trace_id, run.function);
    publish_beside(inner, trouble(inner, app, id, ty, run.function.as_str(), data));
}

fn members(data: Value) -> Map<String, Value> {
    match data {
        Value::Object(members) => members,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
