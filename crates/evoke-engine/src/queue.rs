//! Takes what is due from the store and has it attempted.
//!
//! The [`Agenda`] knows which queues want attention and when; one task ([`dispatch`]) wakes up for the earliest and
//! starts a [`drain`] of that queue, at most one at a time per queue. A drain takes as many permits as the function has
//! free, leases that many invocations, and ends when there was less to lease than it had permits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::store::{Queue, StoreError};
use evoke_core::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::admission::Door;
use crate::deliver;
use crate::engine::Inner;

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
        let now = inner.now();
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
    // What is queued for a function that is gone still has to be looked at, to become dead letters.
    let gone = Door::new(1, 0);
    while !inner.stopping.is_cancelled() {
        let found = inner.directory.snapshot().find(&queue.app, &queue.function);
        let door = found.as_ref().map_or(&gone, |(_, target)| &target.pool.door);
        let permits = match inner.stopping.run_until_cancelled(door.enter_many(LEASE_MAX)).await {
            Some(Some(permits)) => permits,
            // Another revision is current now, with a door of its own.
            Some(None) => continue,
            None => break,
        };
        let (wanted, now) = (permits.len(), inner.now());
        inner.agenda.taking(queue, now);
        let leased = match inner.store.lease(queue, wanted, now, inner.limits.lease).await {
            Ok(leased) => leased,
            Err(error) => {
                inner.refusal.note(&error);
                tracing::warn!(%error, function = %queue.function, app = %queue.app, "nothing could be leased");
                inner.agenda.wake([queue.clone()], inner.now().after(Duration::from_secs(1)));
                break;
            }
        };
        let less = leased.len() < wanted;
        for (leased, permit) in leased.into_iter().zip(permits) {
            inner.work.spawn(deliver::deliver(inner.clone(), found.clone(), leased, permit));
        }
        if less {
            break;
        }
    }
}
