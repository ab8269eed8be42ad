//! A revision's instances: started when there is work and none is idle, kept a while, replaced when they end.
//!
//! Who finds none idle stands in the pool's line, and starts run beside that: whichever is there first serves the first in
//! line, an instance that was started or one that was given back. What is counted is in [`state`], what is started and when
//! in [`start`], what happens as time passes in [`keep`].
//!
//! A pool belongs to one revision. When a function gets another, its pool is retired: what is idle ends, what is busy
//! finishes and ends then, and who waits at its door is sent to that of the next.
//!
//! Locks: a pool's state may be held while the places are asked, never the other way round, and no instance is dropped
//! while it is held.

mod count;
mod keep;
mod slot;
mod start;
mod state;

use std::sync::{Arc, Weak};
use std::time::Duration;

use evoke_core::manifest::{Function, units};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::InstanceSpec;
use evoke_core::store::Queue;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission;
use crate::engine::Inner;
use crate::place::Places;
use crate::removal;

pub use count::{Failing, Instances};
pub(crate) use keep::keep;
pub(crate) use slot::Slot;
pub(crate) use start::{Trial, end_longest_idle};
use state::{Lane, State};

/// The instances of one revision.
pub(crate) struct Pool {
    pub spec: Arc<InstanceSpec>,
    pub terms: Terms,
    places: Arc<Places>,
    engine: Weak<Inner>,
    state: Mutex<State>,
}

/// How many instances there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Attempts at once.
    pub concurrency: u32,
    /// Attempts at once in one instance.
    per_instance: usize,
    /// Instances at most.
    max: usize,
    /// Instances that are kept also when there is nothing to do.
    pub min: usize,
    /// How long others are kept idle.
    idle: Duration,
    /// Whether an instance serves more than one attempt.
    reuse: bool,
}

/// Which pool: its address, for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolId(usize);

impl PoolId {
    /// Of no pool: a deploy tries a function.
    const NONE: Self = Self(0);
}

/// What the function's door lets in.
pub(crate) fn door_terms(settings: &Function, inner: &Inner) -> admission::Terms {
    let Terms { concurrency, per_instance, min, .. } = Terms::of(settings, inner);
    let waiting = settings.admission.waiting.map(|most| most as usize);
    admission::Terms {
        concurrency: concurrency as usize,
        per_instance,
        instance_bytes: settings.memory_bytes,
        kept: min,
        waiting_max: waiting.unwrap_or(inner.limits.waiting_calls),
    }
}

impl Terms {
    fn of(settings: &Function, inner: &Inner) -> Self {
        Self {
            concurrency: settings.concurrency,
            per_instance: settings.instance_concurrency as usize,
            max: settings.instances_max() as usize,
            min: settings.min_instances as usize,
            idle: settings.idle.unwrap_or(inner.limits.idle),
            reuse: settings.reuse,
        }
    }
}

impl Pool {
    pub fn new(inner: &Inner, spec: InstanceSpec, settings: &Function) -> Arc<Self> {
        let terms = Terms::of(settings, inner);
        Arc::new(Self {
            spec: Arc::new(spec),
            terms,
            places: inner.places.clone(),
            engine: inner.me.clone(),
            state: Mutex::new(State::new(inner.limits.crash_loop)),
        })
    }

    /// An instance for one attempt: an idle one, or the first that is there. Whoever asks holds a permit of the function's door,
    /// so never more than `concurrency` are in use.
    ///
    /// Waits for a place until `patience`, for a start that has one as long as that may take, and for either until `cancel`.
    /// Such a start is seen through all the same, so that the next attempt finds the instance; only the end of the server cuts
    /// it short.
    pub async fn take(
        self: &Arc<Self>,
        inner: &Inner,
        patience: Option<Instant>,
        cancel: &CancellationToken,
    ) -> Result<Slot, Failure> {
        let slot = match self.enter()? {
            Entered::Slot(slot) => slot,
            Entered::InLine(mut waiting) => {
                match cancel.run_until_cancelled(waiting.served(patience)).await {
                    Some(served) => served?,
                    None => return Err(self.cut_short(inner)),
                }
            }
        };
        if cancel.is_cancelled() {
            slot.give_back();
            return Err(self.cut_short(inner));
        }
        Ok(slot)
    }

    fn enter(self: &Arc<Self>) -> Result<Entered, Failure> {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        if let Some(lane) = state.pop_usable(&mut ended) {
            let slot = self.occupy(&mut state, lane, false);
            self.restock(&mut state);
            return Ok(Entered::Slot(slot));
        }
        if let Some(failure) =
            self.never_fits().or_else(|| state.closed().map(|closed| closed.failure.clone()))
        {
            return Err(failure);
        }
        let (to, slot) = oneshot::channel();
        let number = state.join_line(to);
        self.restock(&mut state);
        Ok(Entered::InLine(InLine { number, slot, pool: self.clone() }))
    }

    /// `lane` is in use from now on.
    fn occupy(self: &Arc<Self>, state: &mut State, lane: Lane, cold: bool) -> Slot {
        state.busy += 1;
        lane.body.occupy();
        Slot::new(self.clone(), lane, cold)
    }

    /// Gives `lane` to the first in line, or back when there is nobody.
    fn hand(self: &Arc<Self>, state: &mut State, lane: Lane, cold: bool) -> Result<(), Lane> {
        let mut lane = lane;
        while let Some(to) = state.next_in_line() {
            let slot = self.occupy(state, lane, cold);
            match to.send(Ok(slot)) {
                Err(Ok(mut slot)) => lane = self.vacate(state, &mut slot),
                Ok(()) | Err(Err(_)) => return Ok(()),
            }
        }
        Err(lane)
    }

    /// Undoes [`Pool::occupy`]. The slot has its lane.
    fn vacate(&self, state: &mut State, slot: &mut Slot) -> Lane {
        let lane = slot.lane.take().expect("nobody has used it yet");
        state.busy -= 1;
        lane.body.vacate();
        lane
    }

    /// Ends the use of `lane`. `known`: nobody left it in the middle of a call.
    fn put_back(self: &Arc<Self>, lane: Lane, known: bool) {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        state.busy -= 1;
        lane.body.vacate();
        let usable = known && lane.instance.is_usable();
        if usable && lane.used {
            state.failures = 0;
        }
        if !usable {
            state.end_body(lane, &mut ended);
        } else if lane.body.is_draining() || (lane.used && !self.terms.reuse) {
            state.remove(lane, &mut ended);
        } else {
            self.settle(&mut state, lane, &mut ended);
        }
        self.restock(&mut state);
    }

    /// Finds something to do for a lane that was given back.
    fn settle(self: &Arc<Self>, state: &mut State, lane: Lane, ended: &mut Vec<Lane>) {
        if state.retired && state.line_is_empty() {
            return state.remove(lane, ended);
        }
        let first = self.places.first_waiting();
        if first.is_some_and(|first| first != self.id()) && state.instances > self.terms.min {
            return state.give_way(lane, ended);
        }
        match self.hand(state, lane, false) {
            Ok(()) => {
                if first.is_some() && self.places.withdraw_first(self.id()) {
                    state.starting -= 1;
                }
                self.trim(state);
            }
            Err(lane) => state.push_idle(lane),
        }
    }

    /// Withdraws from the places' line what nobody waits for any more.
    fn trim(&self, state: &mut State) {
        while state.starting > state.starts_needed(self.terms.per_instance)
            && self.places.withdraw_last(self.id())
        {
            state.starting -= 1;
        }
    }

    /// Ends what is idle; what is busy ends once it is given back. `coming`: those who are here or were let in and may be about to
    /// take an instance. Whether that was all of it: to be asked again until it is.
    pub fn retire(&self, coming: usize) -> bool {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        state.retired = true;
        // Whoever is inside already is about to take one.
        let served = state.busy + state.starting * self.terms.per_instance;
        let kept = coming.saturating_sub(served);
        state.end_idle(kept, &mut ended);
        state.instances == 0 && state.starting == 0
    }

    fn id(&self) -> PoolId {
        PoolId(std::ptr::from_ref(self).addr())
    }

    /// Why no instance can ever be started here, if that is so.
    fn never_fits(&self) -> Option<Failure> {
        (self.spec.memory_bytes > self.places.bytes).then(|| {
            let words =
                crate::deploy::too_large(&self.spec.function, self.spec.memory_bytes, self.places.bytes);
            Failure::new(FailureCode::InitError, words)
        })
    }

    fn cut_short(&self, inner: &Inner) -> Failure {
        if inner.ending.is_cancelled() {
            return draining();
        }
        if inner.removals.contains(&self.spec.app) {
            return removal::cut_short(&self.spec.app);
        }
        Failure::new(FailureCode::Cancelled, "the caller went away before an instance was ready")
    }

    fn no_place(&self) -> Failure {
        let (used, bytes) = self.places.used();
        let words = if used >= self.places.count {
            format!("all {} instances of this node are busy, and none was free in time", self.places.count)
        } else if self.places.bytes - bytes < self.spec.memory_bytes {
            format!(
                "the {used} instances of this node have {} of its {} for them, an instance of {} needs {}, and none was free in time",
                units::format_bytes(bytes),
                units::format_bytes(self.places.bytes),
                self.spec.function,
                units::format_bytes(self.spec.memory_bytes)
            )
        } else {
            format!("no instance of {} was there in time", self.spec.function)
        };
        Failure::new(FailureCode::Overloaded, words)
    }
}

enum Entered {
    Slot(Slot),
    InLine(InLine),
}

/// A place in the pool's own line. Dropping it leaves the line.
struct InLine {
    number: u64,
    slot: oneshot::Receiver<Result<Slot, Failure>>,
    pool: Arc<Pool>,
}

impl InLine {
    async fn served(&mut self, patience: Option<Instant>) -> Result<Slot, Failure> {
        let served = match patience {
            None => (&mut self.slot).await,
            Some(patience) => match tokio::time::timeout_at(patience, &mut self.slot).await {
                Ok(served) => served,
                Err(_) if self.is_loading() => {
                    let longest = start::longest(&self.pool.spec);
                    match tokio::time::timeout(longest, &mut self.slot).await {
                        Ok(served) => served,
                        Err(_) => return Err(self.pool.no_place()),
                    }
                }
                Err(_) => return Err(self.pool.no_place()),
            },
        };
        // Nobody but the end of everything lets go of who waits.
        served.unwrap_or_else(|_| Err(draining()))
    }

    fn is_loading(&self) -> bool {
        self.pool.state.lock().is_loading_for(self.number, self.pool.terms.per_instance)
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if state.leave_line(self.number) {
            self.pool.trim(&mut state);
        }
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
