//! Takes what is due from the store and has it attempted.
//!
//! The [`Agenda`] knows which queues want attention and when; one task ([`dispatch`]) wakes up for the earliest and
//! starts a [`drain`] of that queue, at most one at a time per queue. A drain takes as many permits as the function has
//! free, leases that many invocations, and ends when there was less to lease than it had permits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::manifest::Batch;
use evoke_core::store::{Leased, Queue, StoreError};
use evoke_core::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::admission::{Admitted, Allowed, Kind, Permit};
use crate::deliver;
use crate::engine::Inner;
use crate::route::{App, Target};

/// Due times kept per queue; later ones are found again by the refresh.
const TIMES_MAX: usize = 1_024;
/// How often the agenda is compared with the store: it finds leases that ran out and what the agenda forgot.
const REFRESH: Duration = Duration::from_secs(5);
/// Invocations taken in one lease.
const LEASE_MAX: usize = 64;

/// Which queues want attention, and when.
#[derive(Default)]
pub(crate) struct Agenda {
    queues: Mutex<BTreeMap<Queue, Plan>>,
    changed: Notify,
}

#[derive(Default)]
struct Plan {
    times: BTreeSet<Timestamp>,
    draining: bool,
}

impl Agenda {
    /// Notes that `queues` have something due at `at`.
    pub fn wake(&self, queues: impl IntoIterator<Item = Queue>, at: Timestamp) {
        let mut plans = self.queues.lock();
        let mut any = false;
        for queue in queues {
            any = true;
            let times = &mut plans.entry(queue).or_default().times;
            times.insert(at);
            if times.len() > TIMES_MAX {
                times.pop_last();
            }
        }
        drop(plans);
        if any {
            self.changed.notify_one();
        }
    }

    /// Queues to drain now, which are then being drained, and when to look again.
    fn take_due(&self, now: Timestamp) -> (Vec<Queue>, Option<Timestamp>) {
        let horizon = Timestamp(now.0 + 1);
        let mut due = Vec::new();
        let mut next = None::<Timestamp>;
        let mut plans = self.queues.lock();
        for (queue, plan) in plans.iter_mut().filter(|(_, plan)| !plan.draining) {
            let later = plan.times.split_off(&horizon);
            if !std::mem::replace(&mut plan.times, later).is_empty() {
                plan.draining = true;
                due.push(queue.clone());
            } else if let Some(first) = plan.times.first() {
                next = Some(next.map_or(*first, |next| next.min(*first)));
            }
        }
        (due, next)
    }

    /// Forgets what is due in a queue that is about to be leased from: the lease will see it.
    fn taking(&self, queue: &Queue, now: Timestamp) {
        if let Some(plan) = self.queues.lock().get_mut(queue) {
            plan.times = plan.times.split_off(&Timestamp(now.0 + 1));
        }
    }

    fn drained(&self, queue: &Queue) {
        let mut plans = self.queues.lock();
        if let Some(plan) = plans.get_mut(queue) {
            plan.draining = false;
            if plan.times.is_empty() {
                plans.remove(queue);
            }
        }
        drop(plans);
        self.changed.notify_one();
    }
}

/// A drain under way. However it ends, the queue can be drained again.
struct Draining {
    inner: Arc<Inner>,
    queue: Queue,
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.inner.agenda.drained(&self.queue);
    }
}

/// Notes what the store says is due.
pub(crate) async fn refresh(inner: &Inner) -> Result<(), StoreError> {
    for due in inner.store.due().await? {
        inner.agenda.wake([due.queue], due.at);
    }
    Ok(())
}

/// Starts drains when they are due, until the engine stops taking work.
pub(crate) async fn dispatch(inner: Arc<Inner>) {
    let mut refresh_at = Instant::now() + REFRESH;
    while !inner.stopping.is_cancelled() {
        let now = inner.steady();
        let (due, next) = inner.agenda.take_due(now);
        for queue in due {
            inner.work.spawn(drain(Draining { inner: inner.clone(), queue }));
        }
        let wait = next.map_or(REFRESH, |next| next.since(now));
        tokio::select! {
            biased;
            () = inner.agenda.changed.notified() => {}
            () = tokio::time::sleep(wait.min(REFRESH)) => {}
            () = inner.stopping.cancelled() => return,
        }
        if Instant::now() >= refresh_at {
            refresh_at = Instant::now() + REFRESH;
            if let Err(error) = refresh(&inner).await {
                inner.refusal.note(&error);
                tracing::warn!(%error, "the store does not say what is due");
            }
        }
    }
}

/// Works off what is due in `queue`.
async fn drain(draining: Draining) {
    let Draining { inner, queue } = &draining;
    let is_held_up = || inner.pauses.contains(queue) || inner.removals.contains(&queue.app);
    while !inner.stopping.is_cancelled() && !is_held_up() {
        let found = inner.directory.snapshot().find(&queue.app, &queue.function);
        let terms = found.as_ref().map(|(app, target)| Terms::of(app, target, queue)).unwrap_or_default();
        let admitted = terms.enter(found.as_ref().map(|(_, target)| &**target));
        let admitted = match inner.stopping.run_until_cancelled(admitted).await {
            Some(Some(admitted)) => admitted,
            // Another revision is current now, with a door of its own.
            Some(None) => continue,
            None => break,
        };
        if is_held_up() {
            drop(admitted);
            break;
        }
        let now = inner.steady();
        inner.agenda.taking(queue, now);
        match take(inner, queue, &terms, admitted.count, now).await {
            Ok(Taken { batches, more }) => {
                let mut admitted = admitted.into_used(batches.len());
                for leased in batches {
                    let admitted = admitted.next();
                    inner.work.spawn(deliver::deliver(inner.clone(), found.clone(), leased, admitted));
                }
                if !more {
                    break;
                }
            }
            Err(error) => {
                drop(admitted);
                inner.refusal.note(&error);
                tracing::warn!(%error, function = %queue.function, app = %queue.app, "nothing could be leased");
                inner.agenda.wake([queue.clone()], inner.steady().after(Duration::from_secs(1)));
                break;
            }
        }
    }
}

/// The right to as many calls, for which something is about to be leased.
struct Entered {
    count: usize,
    permits: Vec<Permit>,
    gates: Vec<OwnedSemaphorePermit>,
    rate: Option<Arc<Allowed>>,
}

impl Entered {
    /// Those of the first `used` calls; the others are given back.
    fn into_used(mut self, used: usize) -> impl Iterator<Item = Admitted> {
        self.give_back(used);
        let (permits, gates) = (std::mem::take(&mut self.permits), std::mem::take(&mut self.gates));
        let mut gates = gates.into_iter();
        permits.into_iter().map(move |permit| Admitted(permit, gates.next()))
    }

    fn give_back(&mut self, used: usize) {
        if let Some(rate) = self.rate.take() {
            rate.give_back(self.count.saturating_sub(used));
        }
        self.permits.drain(used.min(self.permits.len())..).for_each(Permit::unused);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

/// What was leased: each part is one call. `more`: there may be more to lease at once.
struct Taken {
    batches: Vec<Vec<Leased>>,
    more: bool,
}

/// Leases for `calls` calls. A batch that is not full and may still wait is left, to be looked at in time.
async fn take(
    inner: &Inner,
    queue: &Queue,
    terms: &Terms,
    calls: usize,
    now: Timestamp,
) -> Result<Taken, StoreError> {
    let Some(batch) = &terms.batch else {
        let leased = inner.store.lease(queue, calls, now, inner.limits.lease).await?;
        let more = leased.len() == calls;
        return Ok(Taken { batches: leased.into_iter().map(|one| vec![one]).collect(), more });
    };
    let size = u64::from(batch.size);
    let most = size * calls as u64;
    let waiting = inner.store.waiting(queue, now, most).await?;
    let Some(since) = waiting.since else { return Ok(Taken { batches: Vec::new(), more: false }) };
    let full = waiting.available / size;
    let patient = since.after(batch.window) > now;
    if full == 0 && patient {
        inner.agenda.wake([queue.clone()], since.after(batch.window));
        return Ok(Taken { batches: Vec::new(), more: false });
    }
    let max = if patient { full * size } else { waiting.available };
    let leased = inner.store.lease(queue, max as usize, now, inner.limits.lease).await?;
    let more = !leased.is_empty();
    let mut batches: Vec<Vec<Leased>> = Vec::new();
    let mut bytes = 0;
    for one in leased {
        let more = one.input.bytes();
        let fits = bytes + more <= inner.limits.batch_bytes;
        let no_more_calls = batches.len() == calls;
        match batches.last_mut() {
            Some(last) if last.len() < batch.size as usize && fits => last.push(one),
            // More calls than there is room for: the bytes make smaller batches.
            _ if no_more_calls => {
                deliver::release(inner, &one).await;
                continue;
            }
            _ => {
                bytes = 0;
                batches.push(vec![one]);
            }
        }
        bytes += more;
    }
    Ok(Taken { batches, more })
}

/// What the subscription asks for.
#[derive(Default)]
struct Terms {
    kind: Option<Kind>,
    gate: Option<Arc<Semaphore>>,
    batch: Option<Batch>,
}

impl Terms {
    fn of(app: &App, target: &Target, queue: &Queue) -> Self {
        let Some(name) = &queue.subscription else { return Self::default() };
        let on = target.subscription(name);
        let scheduled = on.is_some_and(|on| {
            app.deployment.manifest.schedules.values().any(|schedule| on.event.matches(&schedule.event))
        });
        let kind = if scheduled { Kind::Job } else { Kind::Event };
        let batch = on.and_then(|on| on.batch.clone());
        Self { kind: Some(kind), gate: target.gates.get(name).cloned(), batch }
    }

    /// Waits until `target` takes one call, however long, then takes up to [`LEASE_MAX`] in all of those it takes at once.
    /// What is queued for a function that is gone is only looked at, to become dead letters. `None` when the door was closed.
    async fn enter(&self, target: Option<&Target>) -> Option<Entered> {
        let Some(target) = target else {
            return Some(Entered { count: 1, permits: Vec::new(), gates: Vec::new(), rate: None });
        };
        // The subscription's first: who waits for that takes no place of others.
        let gates = self.gates().await;
        let most = gates.as_ref().map_or(LEASE_MAX, Vec::len);
        let starts = Starts::of(target, most).await;
        // Asynchronous calls have no subscription.
        let kind = self.kind.unwrap_or(Kind::Job);
        let permits = target.door.enter_many(kind, starts.count).await?;
        let count = permits.len();
        Some(Entered { count, permits, gates: gates.unwrap_or_default(), rate: starts.keep(count) })
    }

    /// Waits for one permit, however long, then takes up to as many in all as may be leased of those that are free. `None`
    /// without a limit.
    async fn gates(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let gate = self.gate.as_ref()?;
        // A gate is never closed.
        let mut permits = vec![gate.clone().acquire_owned().await.ok()?];
        while permits.len() < LEASE_MAX
            && let Ok(permit) = gate.clone().try_acquire_owned()
        {
            permits.push(permit);
        }
        Some(permits)
    }
}

/// Starts that the function's rate allows. Dropping it gives them back.
struct Starts {
    count: usize,
    rate: Option<Arc<Allowed>>,
}

impl Starts {
    /// Waits for one, however long, then takes up to `most` of those there are.
    async fn of(target: &Target, most: usize) -> Self {
        let Some(rate) = &target.rate else { return Self { count: most, rate: None } };
        loop {
            match rate.take_up_to(most) {
                0 => rate.refilled().await,
                count => return Self { count, rate: Some(rate.clone()) },
            }
        }
    }

    /// Gives back all but `count`.
    fn keep(mut self, count: usize) -> Option<Arc<Allowed>> {
        let rate = self.rate.take()?;
        rate.give_back(self.count.saturating_sub(count));
        Some(rate)
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        if let Some(rate) = &self.rate {
            rate.give_back(self.count);
        }
    }
}
