//! Loops, stopped: every invocation is judged before its handler is called the first time, whether it came by a call, an
//! event or a request (`evoke_core::chain` has the rules).
//!
//! Who is judged belongs to the chain of whoever caused it, which the engine wrote there. A call is refused; what came from
//! a queue becomes a dead letter at once, because another attempt would be judged the same.

mod rates;
mod spans;
mod starts;

use evoke_core::chain::{ChainLimits, LoopStopped, Passed, judge, path};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::{LogRecord, LogStream, RunRecord};

use tokio::time::Instant;

use crate::engine::Inner;
use crate::lifecycle;
use crate::route::{App, Target};

use rates::Rate;

pub(crate) use rates::Rates;
pub(crate) use spans::Spans;
pub(crate) use starts::Starts;

/// Whether `run`, which nobody has attempted yet, may follow what caused it. A loop that was stopped, and the first time a
/// chain comes back to a function, are told: in the run's log, and by an event.
pub(crate) fn admit(
    inner: &Inner,
    app: &App,
    target: &Target,
    run: &RunRecord,
) -> Result<(), Box<LoopStopped>> {
    let cause = &run.cause;
    // What comes from outside is no chain yet.
    if cause.depth == 0 {
        return outside(inner, app, target, run);
    }
    let caused = inner.starts.count(&cause.trace_id);
    let link = run.link();
    match judge(&cause.chain, cause.depth, &link, caused, limits(inner, app, target)) {
        Ok(Passed::Straight) => Ok(()),
        Ok(Passed::FirstReentry { cycle }) => {
            // Who says how often it may be come back to knows that it is.
            if target.settings.chain.reentries.is_none() {
                let why = format!("the chain comes back to this function: {cycle}");
                lifecycle::loop_suspected(inner, app, run, Some(&cycle), &why);
                tell(inner, run, why);
            }
            Ok(())
        }
        Err(stopped) => Err(stop(inner, app, run, stopped)),
    }
}

/// What comes from outside, too often, to a function that may have sent it there: a loop that nobody can prove.
fn outside(inner: &Inner, app: &App, target: &Target, run: &RunRecord) -> Result<(), Box<LoopStopped>> {
    if !target.can_send() {
        return Ok(());
    }
    let link = run.link();
    let way = format!("{} {} {}", run.app, run.function, link.by);
    let allowed = target.settings.chain.rate.or(app.deployment.manifest.chains.bounds.rate);
    match inner.rates.count(&way, inner.limits.loop_rate, allowed, Instant::now()) {
        Rate::Usual => Ok(()),
        Rate::High => {
            let why = format!(
                "more than {} invocations of {} within a minute came from outside by {}, and it may send requests itself",
                inner.limits.loop_rate, run.function, link.by
            );
            tell(
                inner,
                run,
                format!("this may be a loop: {why} (chain = {{ rate = N }} in evoke.toml bounds it)"),
            );
            lifecycle::loop_suspected(inner, app, run, None, &why);
            Ok(())
        }
        Rate::TooHigh => {
            let stopped = LoopStopped {
                path: path(&run.cause.chain, &link),
                cycle: None,
                edge: link.by.to_string(),
                limit: "rate",
                allowed: allowed.unwrap_or_default().into(),
            };
            Err(stop(inner, app, run, Box::new(stopped)))
        }
    }
}

fn stop(inner: &Inner, app: &App, run: &RunRecord, stopped: Box<LoopStopped>) -> Box<LoopStopped> {
    tell(inner, run, format!("loop stopped: {stopped}"));
    lifecycle::loop_stopped(inner, app, run, &stopped);
    stopped
}

/// What a run failed with that was stopped.
pub(crate) fn failure(stopped: &LoopStopped) -> Failure {
    Failure::new(FailureCode::LoopDetected, stopped.to_string())
}

/// The function's own bounds, where it has none the app's, and else the node's.
fn limits(inner: &Inner, app: &App, target: &Target) -> ChainLimits {
    let of_app = app.deployment.manifest.chains.bounds.or(inner.limits.chain);
    target.settings.chain.or(of_app)
}

fn tell(inner: &Inner, run: &RunRecord, line: String) {
    inner.recorder.keep(LogRecord {
        at: inner.now(),
        run: run.id.clone(),
        app: run.app.clone(),
        function: run.function.clone(),
        attempt: 1,
        stream: LogStream::Platform,
        line,
    });
}
