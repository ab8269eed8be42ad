//! A revision's instances: started when there is work and none is idle, kept a while, replaced when they end.
//!
//! A pool belongs to one revision. When a function gets another, its pool is retired: what is idle ends, what is busy
//! finishes and ends then.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Instance, InstanceSpec};
use evoke_core::store::Queue;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::admission::Door;
use crate::engine::Inner;

pub(crate) struct Pool {
    pub spec: Arc<InstanceSpec>,
    pub concurrency: u32,
    pub door: Door,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    busy: usize,
    retired: bool,
    failed_starts: u32,
    closed_until: Option<(Instant, Failure)>,
}

struct Idle {
    instance: Box<dyn Instance>,
    place: OwnedSemaphorePermit,
    since: Instant,
}

/// An instance in use, with the right to use it.
pub(crate) struct Slot {
    pub instance: Box<dyn Instance>,
    /// Whether it was started for this attempt.
    pub cold: bool,
    pool: Arc<Pool>,
    place: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(spec: InstanceSpec, concurrency: u32, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self {
            spec: Arc::new(spec),
            concurrency,
            door: Door::new(concurrency, waiting_max),
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
    pub async fn take(self: &Arc<Self>, inner: &Inner) -> Result<Slot, Failure> {
        if let Some(Idle { instance, place, .. }) = self.pop_usable() {
            return Ok(Slot { instance, cold: false, pool: self.clone(), place });
        }
        if let Some(failure) = self.closed() {
            return Err(failure);
        }
        let place = free_place(inner).await;
        let started = inner.runtime.start(self.spec.clone()).await;
        let mut state = self.state.lock();
        match started {
            Ok(instance) => {
                state.failed_starts = 0;
                state.closed_until = None;
                state.busy += 1;
                Ok(Slot { instance, cold: true, pool: self.clone(), place })
            }
            Err(failure) => {
                state.failed_starts += 1;
                if state.failed_starts >= inner.limits.crash_loop {
                    let doublings = (state.failed_starts - inner.limits.crash_loop).min(6);
                    let pause = Duration::from_secs(1 << doublings);
                    let words = format!(
                        "{} (failed to start {} times in a row; not tried again for {} s)",
                        failure.message,
                        state.failed_starts,
                        pause.as_secs()
                    );
                    let closed = Failure { message: words, ..failure.clone() };
                    state.closed_until = Some((Instant::now() + pause, closed));
                }
                Err(failure)
            }
        }
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

    fn pop_usable(&self) -> Option<Idle> {
        let mut dead = Vec::new();
        let mut state = self.state.lock();
        let found = loop {
            match state.idle.pop() {
                Some(idle) if idle.instance.is_usable() => break Some(idle),
                Some(idle) => dead.push(idle),
                None => break None,
            }
        };
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

    /// Ends what is idle, and what is busy once it is given back.
    pub fn retire(&self) {
        let idle = {
            let mut state = self.state.lock();
            state.retired = true;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    /// Ends what has been idle since before `before`, and what ended by itself.
    fn evict(&self, before: Instant) {
        let gone: Vec<Idle> = {
            let mut state = self.state.lock();
            state.idle.extract_if(.., |idle| idle.since <= before || !idle.instance.is_usable()).collect()
        };
        drop(gone);
    }
}

impl Slot {
    /// Gives the instance back; ends it when it cannot be used again.
    pub fn give_back(self) {
        let Self { instance, pool, place, .. } = self;
        let mut state = pool.state.lock();
        state.busy -= 1;
        if instance.is_usable() && !state.retired {
            state.idle.push(Idle { instance, place, since: Instant::now() });
        } else {
            drop(state);
            drop(instance);
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("cold", &self.cold).finish_non_exhaustive()
    }
}

/// A place for one more instance on this node, taken from the longest idle instance of any pool when it is full.
async fn free_place(inner: &Inner) -> OwnedSemaphorePermit {
    loop {
        if let Ok(place) = inner.places.clone().try_acquire_owned() {
            return place;
        }
        let snapshot = inner.directory.snapshot();
        let idle = snapshot.pools().filter_map(|pool| pool.idle_since().map(|since| (since, pool)));
        let Some((_, pool)) = idle.min_by_key(|(since, _)| *since) else {
            return inner
                .places
                .clone()
                .acquire_owned()
                .await
                .expect("the semaphore of places is never closed");
        };
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

/// Ends idle instances when their time is up.
pub(crate) async fn reap(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    while inner.ended.run_until_cancelled(beat.tick()).await.is_some() {
        let now = Instant::now();
        let before = now.checked_sub(inner.limits.idle).unwrap_or(now);
        for pool in inner.directory.snapshot().pools() {
            pool.evict(before);
        }
    }
}
