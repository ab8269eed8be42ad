//! One step of a replay: the deliveries of a page of the log, and the document that says so, in one transaction.

use evoke_core::event::{CORRELATION_ID, EventRef};
use evoke_core::record::Trigger;
use evoke_core::store::{
    Append, EventQuery, Expect, NewInvocation, Queue, SettleError, Settlement, StoreError, Verdict,
};

use super::documents::{document, write};
use super::{Replay, State};
use crate::TraceParent;
use crate::arrival::Arrival;
use crate::engine::Inner;
use crate::ingest::{queued, queues_of};

/// Events looked at in one step.
const PAGE: usize = 100;
/// Deliveries of the function that may wait; a replay goes on when there are fewer, so that what comes in meanwhile has to wait
/// for no more than these.
const BACKLOG: u64 = 256;

/// Makes a step from the document of this revision. `false` when there was nothing to do for now.
pub(super) async fn step(inner: &Inner, mut replay: Replay, revision: u64) -> Result<bool, StoreError> {
    let expect = Expect::Revision(revision);
    let snapshot = inner.directory.snapshot();
    let Some(target) = snapshot.target(&replay.app, &replay.function) else {
        let reason = format!("function {} is not deployed any more", replay.function);
        replay.state = State::Failed { at: inner.now(), reason };
        return write(inner, &replay, expect).await;
    };
    let named = (0_u32..).zip(&target.settings.on).find(|(_, on)| on.name() == replay.subscription);
    let Some((at, on)) = named else {
        let reason =
            format!("function {} has no subscription {} any more", replay.function, replay.subscription);
        replay.state = State::Failed { at: inner.now(), reason };
        return write(inner, &replay, expect).await;
    };
    if is_behind(inner, &replay).await? {
        return Ok(false);
    }
    let query = EventQuery {
        app: Some(replay.app.clone()),
        after: Some(replay.next.saturating_sub(1)),
        before: Some(replay.take.to),
        limit: PAGE,
        ..EventQuery::default()
    };
    let page = inner.store.events(&query).await?;
    let now = inner.now();
    let taken = page.iter().filter(|stored| {
        on.event.matches(stored.event.ty()) && on.takes(&stored.event) && replay.take.takes(&stored.event)
    });
    let appends: Vec<Append> = taken
        .map(|stored| {
            let event = &stored.event;
            let trace = event.extension_str(TraceParent::NAME).and_then(TraceParent::parse);
            let from = Arrival::traced(trace);
            let cause = inner.cause_of_arrival(event.extension_str(CORRELATION_ID), &from);
            let reference: EventRef = event.reference();
            let trigger = Trigger::Event { event: reference, ty: event.ty().to_owned(), subscription: at };
            let (app, function) = (replay.app.clone(), replay.function.clone());
            let mut run = queued(inner.new_run_id(), app, function, trigger, cause, now);
            run.subscription = Some(replay.subscription.clone());
            run.key = on.order.as_ref().and_then(|order| order.of(event));
            run.replay = Some(replay.id.clone());
            let invocation = NewInvocation { run, due_at: now, request: None };
            Append::again(replay.app.clone(), stored.seq, vec![invocation])
        })
        .collect();
    replay.seen += page.len() as u64;
    replay.delivered += appends.len() as u64;
    match page.last() {
        Some(last) if page.len() == PAGE => replay.next = last.seq + 1,
        _ => {
            replay.next = replay.take.to;
            replay.state = State::Done { at: now };
        }
    }
    let queues = queues_of(&appends);
    let settlement = Settlement {
        lease: None,
        verdict: Verdict::Complete,
        run: None,
        others: Vec::new(),
        writes: vec![document(&replay, expect)],
        appends,
    };
    let settled = inner.store.settle(settlement, now).await;
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(queues, now);
    match settled {
        Ok(_) => Ok(true),
        Err(SettleError::Store(error)) => Err(error),
        // It was cancelled, or another server made the step.
        Err(SettleError::Conflict { .. } | SettleError::StaleLease { .. }) => Ok(true),
    }
}

/// Whether the subscription has enough to do.
async fn is_behind(inner: &Inner, replay: &Replay) -> Result<bool, StoreError> {
    let queue = Queue {
        app: replay.app.clone(),
        function: replay.function.clone(),
        subscription: Some(replay.subscription.clone()),
    };
    Ok(inner.store.waiting(&queue, inner.now(), BACKLOG).await?.pending >= BACKLOG)
}
