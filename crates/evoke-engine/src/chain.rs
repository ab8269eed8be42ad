//! Loops, stopped: every invocation is judged before its handler is called the first time, whether it came by a call, an
//! event or a request (`evoke_core::chain` has the rules).
//!
//! Who is judged belongs to the chain of whoever caused it, which the engine wrote there. A call is refused; what came from
//! a queue becomes a dead letter at once, because another attempt would be judged the same.

mod starts;

use evoke_core::chain::{ChainLimits, LoopStopped, Passed, judge};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::{LogRecord, LogStream, RunRecord};

use crate::engine::Inner;
use crate::lifecycle;
use crate::route::{App, Target};

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
        return Ok(());
    }
    let caused = inner.starts.count(&cause.trace_id);
    let link = run.link();
    match judge(&cause.chain, cause.depth, &link, caused, limits(inner, app, target)) {
        Ok(Passed::Straight) => Ok(()),
        Ok(Passed::FirstReentry { cycle }) => {
            // Who says how often it may be come back to knows that it is.
            if target.settings.chain.reentries.is_none() {
                tell(inner, run, format!("the chain comes back to this function: {cycle}"));
                lifecycle::loop_suspected(inner, app, run, &cycle);
            }
            Ok(())
        }
        Err(stopped) => {
            tell(inner, run, format!("loop stopped: {stopped}"));
            lifecycle::loop_stopped(inner, app, run, &stopped);
            Err(stopped)
        }
    }
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
