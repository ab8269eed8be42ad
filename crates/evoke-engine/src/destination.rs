//! Telling a destination how work ended: one event, in the transaction that ends the work, with the invocation of whoever is
//! told. From there on it is a delivery like any other: tried again, a dead letter in the end, a part of the chain.

use evoke_core::destination::Ended;
use evoke_core::id::FunctionName;
use evoke_core::manifest::{Destination, Destinations, Fate, Function};
use evoke_core::outcome::{FailureCode, Outcome};
use evoke_core::record::{Cause, RunRecord, Trigger};
use evoke_core::store::{Append, NewInvocation};

use crate::engine::Inner;
use crate::ingest::{append_event, queued};
use crate::live::Accepting;

/// What tells of the end of `ended.run`, if anybody is to be told. What is deployed now decides that.
pub(crate) fn tell(inner: &Inner, accepting: &Accepting<'_>, ended: &Ended<'_>) -> Option<Append> {
    let Ended { run, fate, at: now, .. } = ended;
    if *fate == Fate::Failure && is_stopped_loop(run) {
        // It would be the next link of the same chain, and be stopped too, and so on for ever.
        return None;
    }
    let app = accepting.snapshot.apps.get(&run.app)?;
    let destination = destinations(&app.functions.get(&run.function)?.settings, run)?.of(*fate)?;
    let (told, ty) = match destination {
        Destination::Event(ty) => (None, Some(ty.as_str())),
        Destination::Function(name) | Destination::Hook(name) => (Some(name), None),
    };
    let event = ended.event(ty);
    let cause = cause_of_children(run);
    let mut append = append_event(inner, (accepting, app), event, &cause, &mut inner.allowance(), *now);
    append.invocations.extend(told.and_then(|name| invocation(inner, &append, run, *fate, name, cause)));
    Some(append)
}

/// Those that hold for `run`: its subscription's, and the function's own for all that is no delivery of one.
fn destinations<'f>(settings: &'f Function, run: &RunRecord) -> Option<&'f Destinations> {
    let on = match (&run.subscription, &run.trigger) {
        (Some(name), _) => settings.on.iter().find(|on| on.name() == *name),
        // From before subscriptions had queues of their own.
        (None, Trigger::Event { subscription, .. }) => settings.on.get(*subscription as usize),
        (None, _) => return Some(&settings.destinations),
    };
    on.map(|on| &on.destinations)
}

/// Whether a bound on chains kept it from being attempted.
fn is_stopped_loop(run: &RunRecord) -> bool {
    let last = run.attempts.last().map(|attempt| &attempt.outcome);
    matches!(last, Some(Outcome::Rejected(failure)) if failure.code == FailureCode::LoopDetected)
}

/// What the end of a run causes has the run as its parent.
fn cause_of_children(run: &RunRecord) -> Cause {
    let cause = &run.cause;
    Cause {
        parent: Some(run.id.clone()),
        depth: cause.depth + 1,
        chain: cause.chain.and(run.link()),
        ..cause.clone()
    }
}

fn invocation(
    inner: &Inner,
    append: &Append,
    run: &RunRecord,
    fate: Fate,
    told: &FunctionName,
    cause: Cause,
) -> Option<NewInvocation> {
    let event = append.event.as_ref()?;
    let (by, ty) = (run.function.clone(), event.ty().to_owned());
    let trigger = Trigger::Destination { event: event.reference(), ty, by, fate };
    let now = inner.now();
    let record = queued(inner.new_run_id(), run.app.clone(), told.clone(), trigger, cause, now);
    Some(NewInvocation { run: record, due_at: now, request: None })
}
