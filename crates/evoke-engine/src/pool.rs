//! A revision's instances: started when there is work and none is idle, kept a while, replaced when they end.
//!
//! A pool belongs to one revision. When a function gets another, its pool is retired: what is idle ends, what is busy
//! finishes and ends then, and who waits at its door is sent to that of the next.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Instance, InstanceSpec};
use evoke_core::store::Queue;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Door;
use crate::engine::Inner;
use crate::place::{Granted, Place, Places};

/// The runtime ends a start by itself when its time is up; this is for one that cannot.
const START_GRACE: Duration = Duration::from_secs(5);

/// The instances of one revision.
pub(crate) struct Pool {
    pub spec: Arc<InstanceSpec>,
    pub concurrency: u32,
    pub door: Door,
    places: Arc<Places>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The longest idle first.
    idle: Vec<Idle>,
    busy: usize,
    retired: bool,
    failed_starts: u32,
    closed_until: Option<(Instant, Failure)>,
}

struct Idle {
    held: Held,
    since: Instant,
}

/// An instance with its place on the node.
struct Held {
    instance: Box<dyn Instance>,
    _place: Place,
}

/// Which pool: its address, for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolId(usize);

/// An instance in use, with the right to use it. Dropping it ends the instance.
pub(crate) struct Slot {
    /// Whether it was started for this attempt.
    pub cold: bool,
    /// Taken when it is given back.
    held: Option<Held>,
    pool: Arc<Pool>,
}

impl Pool {
    pub fn new(inner: &Inner, spec: InstanceSpec, concurrency: u32) -> Arc<Self> {
        Arc::new(Self {
            spec: Arc::new(spec),
            concurrency,
            door: Door::new(concurrency, inner.limits.waiting_calls),
            places: inner.places.clone(),
            state: Mutex::default(),
        })
    }

    /// (busy, idle) instances.
    pub fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.busy, state.idle.len())
    }

    /// An instance for one attempt: an idle one, or a new one. Whoever asks holds a permit of the pool's door, so there
    /// are never more instances than `concurrency`.
    ///
    /// Waits for a place on the node until `patience` or `cancel`. A start that has begun is seen through all the same,
    /// so that the next attempt finds the instance; only the end of the server cuts it short.
    pub async fn take(
        self: &Arc<Self>,
        inner: &Inner,
        patience: Option<Instant>,
        cancel: &CancellationToken,
    ) -> Result<Slot, Failure> {
        let slot = match self.pop_usable() {
            Some(held) => self.slot(held, false),
            None => self.start(inner, patience, cancel).await?,
        };
        if cancel.is_cancelled() {
            slot.give_back();
            return Err(cut_short(inner));
        }
        Ok(slot)
    }

    async fn start(
        self: &Arc<Self>,
        inner: &Inner,
        patience: Option<Instant>,
        cancel: &CancellationToken,
    ) -> Result<Slot, Failure> {
        if let Some(failure) = self.closed() {
            return Err(failure);
        }
        let place = self.places.take(self.id(), || end_longest_idle(inner));
        let place = async {
            match patience {
                Some(patience) => tokio::time::timeout_at(patience, place).await.ok(),
                None => Some(place.await),
            }
        };
        let place = match cancel.run_until_cancelled(place).await {
            Some(Some(Granted::Place(place))) => place,
            Some(Some(Granted::Instance(slot))) => return Ok(slot),
            Some(None) => return Err(no_place(inner)),
            None => return Err(cut_short(inner)),
        };
        let starting = start(inner, self.spec.clone());
        let Some(started) = inner.ending.run_until_cancelled(starting).await else {
            return Err(draining());
        };
        let mut state = self.state.lock();
        match started {
            Ok(instance) => {
                state.failed_starts = 0;
                state.closed_until = None;
                state.busy += 1;
                drop(state);
                Ok(self.slot(Held { instance, _place: place }, true))
            }
            Err(failure) => {
                state.start_failed(&failure, inner.limits.crash_loop);
                Err(failure)
            }
        }
    }

    fn slot(self: &Arc<Self>, held: Held, cold: bool) -> Slot {
        Slot { cold, held: Some(held), pool: self.clone() }
    }

    fn closed(&self) -> Option<Failure> {
        let mut state = self.state.lock();
        match &state.closed_until {
            Some((until, failure)) if Instant::now() < *until => Some(failure.clone()),
            _ => {
                state.closed_until = None;
                None
            }
        }
    }

    /// The instance that was used last and can be used again; it counts as busy from now on.
    fn pop_usable(&self) -> Option<Held> {
        let mut dead = Vec::new();
        let mut state = self.state.lock();
        let mut found = None;
        while let Some(mut idle) = state.idle.pop() {
            if idle.is_alive() {
                found = Some(idle.held);
                break;
            }
            dead.push(idle);
        }
        state.busy += usize::from(found.is_some());
        drop(state);
        found
    }

    fn idle_since(&self) -> Option<Instant> {
        self.state.lock().idle.first().map(|idle| idle.since)
    }

    fn pop_oldest(&self) -> Option<Idle> {
        let mut state = self.state.lock();
        (!state.idle.is_empty()).then(|| state.idle.remove(0))
    }

    /// Ends what is idle, and what is busy once it is given back; sends away who waits at the door.
    pub fn retire(&self) {
        let idle = {
            let mut state = self.state.lock();
            state.retired = true;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
        self.door.close();
    }

    /// Ends what has been idle for `time`, and what ended by itself.
    fn evict(&self, time: Duration) {
        let gone: Vec<Idle> = {
            let mut state = self.state.lock();
            state.idle.extract_if(.., |idle| idle.since.elapsed() >= time || !idle.is_alive()).collect()
        };
        drop(gone);
    }

    /// Ends the use of `held`, or of an instance that has ended (`None`).
    fn put_back(self: &Arc<Self>, held: Option<Held>) {
        let mut state = self.state.lock();
        state.busy -= 1;
        let held = match held {
            Some(held) if held.instance.is_usable() && !state.retired => {
                state.idle.push(Idle { held, since: Instant::now() });
                None
            }
            held => held,
        };
        drop(state);
        drop(held);
        // Looked at after the instance became idle: whoever got in line before that may not have seen it.
        match self.places.first_waiting() {
            Some(pool) if pool == self.id() => {
                let slot = self.pop_usable().map(|held| self.slot(held, false));
                // Somebody else is the first by now: once more.
                if let Some(Err(slot)) = slot.map(|slot| self.places.hand_over(pool, slot)) {
                    slot.give_back();
                }
            }
            Some(_) => drop(self.pop_oldest()),
            None => {}
        }
    }

    fn id(&self) -> PoolId {
        PoolId(std::ptr::from_ref(self).addr())
    }
}

impl State {
    fn start_failed(&mut self, failure: &Failure, crash_loop: u32) {
        self.failed_starts += 1;
        if self.failed_starts < crash_loop {
            return;
        }
        let doublings = (self.failed_starts - crash_loop).min(6);
        let pause = Duration::from_secs(1 << doublings);
        let words = format!(
            "{} (failed to start {} times in a row; not tried again for {} s)",
            failure.message,
            self.failed_starts,
            pause.as_secs()
        );
        let closed = Failure { message: words, ..failure.clone() };
        self.closed_until = Some((Instant::now() + pause, closed));
    }
}

impl Idle {
    /// Whether it can take a call. Lets it notice first what happened while nobody looked: that it ended, or what it
    /// wrote, which must not be taken for words of its next call.
    fn is_alive(&mut self) -> bool {
        self.held.instance.gone().now_or_never().is_none() && self.held.instance.is_usable()
    }
}

impl Slot {
    /// The instance. Panics after [`Slot::give_back`], which nobody can call before because it consumes the slot.
    pub fn instance(&mut self) -> &mut dyn Instance {
        &mut *self.held.as_mut().expect("a slot has its instance until it is given back").instance
    }

    /// Gives the instance back; ends it when it cannot be used again.
    pub fn give_back(mut self) {
        self.pool.put_back(self.held.take());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Nobody knows what the instance was doing.
        if let Some(held) = self.held.take() {
            drop(held);
            self.pool.put_back(None);
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("cold", &self.cold).finish_non_exhaustive()
    }
}

/// Starts an instance that is not in any pool yet.
pub(crate) async fn start(inner: &Inner, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
    let (function, limit) = (spec.function.clone(), spec.start_timeout + START_GRACE);
    tokio::time::timeout(limit, inner.runtime.start(spec)).await.unwrap_or_else(|_| {
        let words = format!("an instance of {function} was not there after {} s", limit.as_secs());
        Err(Failure::new(FailureCode::InitError, words))
    })
}

/// Ends the longest idle instance of any pool, if there is one.
fn end_longest_idle(inner: &Inner) {
    let snapshot = inner.directory.snapshot();
    let idle = snapshot.pools().filter_map(|pool| pool.idle_since().map(|since| (since, pool)));
    if let Some((_, pool)) = idle.min_by_key(|(since, _)| *since) {
        drop(pool.pop_oldest());
    }
}

/// The failure of an attempt whose function is not deployed any more.
pub(crate) fn not_deployed(queue: &Queue) -> Failure {
    Failure::new(
        FailureCode::NotDeployed,
        format!("app {} has no function {} any more; deploy it and redrive", queue.app, queue.function),
    )
}

/// The failure of an attempt that the end of the server cut short.
pub(crate) fn draining() -> Failure {
    Failure::new(FailureCode::Draining, "the server stopped before it was done")
}

fn cut_short(inner: &Inner) -> Failure {
    if inner.ending.is_cancelled() {
        return draining();
    }
    Failure::new(FailureCode::Cancelled, "the caller went away before an instance was ready")
}

fn no_place(inner: &Inner) -> Failure {
    let words =
        format!("all {} instances of this node are busy, and none was free in time", inner.limits.instances);
    Failure::new(FailureCode::Overloaded, words)
}

/// Ends idle instances when their time is up.
pub(crate) async fn reap(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    while inner.ended.run_until_cancelled(beat.tick()).await.is_some() {
        for pool in inner.directory.snapshot().pools() {
            pool.evict(inner.limits.idle);
        }
    }
}
