//! A page of the log, and the deliveries it comes to.

use evoke_core::event::CORRELATION_ID;
use evoke_core::id::AppName;
use evoke_core::manifest::{Subscription, TypePattern};
use evoke_core::record::Trigger;
use evoke_core::store::{Append, EventQuery, NewInvocation, Queue, StoreError, StoredEvent};
use evoke_core::time::Timestamp;

use super::sieve::Sieve;
use super::{Replay, Take};
use crate::TraceParent;
use crate::arrival::Arrival;
use crate::engine::Inner;
use crate::ingest::queued;

/// Events looked at in one step.
const PAGE: usize = 100;

/// Events of the log that a replay comes to next, oldest first.
pub(super) struct Page {
    events: Vec<StoredEvent>,
    /// There are no others for it.
    pub is_last: bool,
}

/// What becomes of the events of a page.
pub(super) struct Portion {
    /// The deliveries.
    pub appends: Vec<Append>,
    /// Events that were looked at, from the first on.
    pub seen: u64,
    /// The position that is looked at next, unless nothing was.
    pub next: Option<u64>,
    /// It is the whole page.
    pub is_whole: bool,
}

impl Page {
    /// The next one of a replay to the subscription `on`.
    pub async fn read(inner: &Inner, replay: &Replay, on: &Subscription) -> Result<Self, StoreError> {
        // Who catches up has no end before it is where events are accepted.
        let before = replay.catch_up.is_none().then_some(replay.take.to);
        let after = replay.next.saturating_sub(1);
        let query = EventQuery { before, ..query(&replay.app, on, &replay.take, (after, PAGE)) };
        let events = inner.store.events(&query).await?;
        Ok(Self { is_last: events.len() < PAGE, events })
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Decides about as many as there is room for: filters have a budget, and a subscription that is paused a bound.
    pub async fn portion(
        &self,
        inner: &Inner,
        replay: &Replay,
        (at, on): (u32, &Subscription),
        now: Timestamp,
    ) -> Portion {
        let queue = replay.queue();
        let mut sieve = Sieve::new(inner, on, &replay.take);
        let mut portion = Portion { appends: Vec::new(), seen: 0, next: None, is_whole: false };
        for stored in &self.events {
            match sieve.takes(&stored.event).await {
                Some(true) if inner.pauses.admit(&queue).is_ok() => {
                    portion.appends.push(delivery(inner, replay, (at, on), stored, now));
                }
                Some(false) => {}
                Some(true) | None => return portion,
            }
            portion.seen += 1;
            portion.next = Some(stored.seq + 1);
        }
        portion.is_whole = true;
        portion
    }
}

/// Those after a position that may be taken, so many, oldest first.
pub(super) fn query(
    app: &AppName,
    on: &Subscription,
    take: &Take,
    (after, limit): (u64, usize),
) -> EventQuery {
    EventQuery {
        app: Some(app.clone()),
        // The log is indexed by it.
        ty: take.types.as_ref().and_then(TypePattern::exact).or_else(|| on.event.exact()).map(str::to_owned),
        after: Some(after),
        before: Some(take.to),
        limit,
        ..EventQuery::default()
    }
}

fn delivery(
    inner: &Inner,
    replay: &Replay,
    (at, on): (u32, &Subscription),
    stored: &StoredEvent,
    now: Timestamp,
) -> Append {
    let event = &stored.event;
    let trace = event.extension_str(TraceParent::NAME).and_then(TraceParent::parse);
    let from = Arrival::traced(trace);
    let cause = inner.cause_of_arrival(event.extension_str(CORRELATION_ID), &from);
    let trigger = Trigger::Event { event: event.reference(), ty: event.ty().to_owned(), subscription: at };
    let Queue { app, function, subscription } = replay.queue();
    let mut run = queued(inner.new_run_id(), app, function, trigger, cause, now);
    run.subscription = subscription;
    run.key = on.order.as_ref().and_then(|order| order.of(event));
    // Who catches up gets its events for the first time.
    run.replay = replay.catch_up.is_none().then(|| replay.id.clone());
    let invocation = NewInvocation { run, due_at: now, request: None };
    Append::again(replay.app.clone(), stored.seq, vec![invocation])
}
