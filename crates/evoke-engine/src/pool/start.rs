//! Starts: how many are due, and what becomes of each.
//!
//! A start runs beside whoever waits for it, and is seen through when that one leaves. It needs a place on the node first.
//! Starts that somebody waits for stand in line for one; spares and what is kept warm only take places that are free.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Instance, InstanceSpec};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::state::{Body, Lane, State};
use super::{Pool, PoolId, draining};
use crate::engine::Inner;
use crate::place::{Asked, Place};

/// The runtime ends a start by itself when its time is up; this is for one that cannot.
const START_GRACE: Duration = Duration::from_secs(5);
/// Calls under way from which on one spare is kept ahead, and two.
const OVERLAP: usize = 2;
const CROWD: usize = 8;

impl Pool {
    /// Begins the starts that are due: for those in line, for what is kept warm, and spares.
    ///
    /// Never more instances than the function may have: who is in line and who has an instance hold permits of the door, of
    /// which there are `concurrency`, and the others are counted here.
    pub(super) fn restock(self: &Arc<Self>, state: &mut State) {
        if let Some(closed) = state.just_closed() {
            let (function, app, failures) = (&self.spec.function, &self.spec.app, state.failures);
            tracing::warn!(%function, %app, failures, cause = closed.failure.message, "the function fails to start");
        }
        if let Some(failure) = state.closed().map(|closed| closed.failure.clone()) {
            while state.starts_needed(self.terms.per_instance) > state.starting
                && let Some(to) = state.next_in_line()
            {
                // Nobody may be there to hear it.
                let _ = to.send(Err(failure.clone()));
            }
            return;
        }
        while state.starts_needed(self.terms.per_instance) > state.starting && self.has_room(state) {
            if !self.begin(state, None) {
                return;
            }
        }
        while !state.retired
            && self.has_room(state)
            && self.wants_more(state)
            && let Some(place) = self.places.try_take(self.spec.memory_bytes)
        {
            if !self.begin(state, Some(place)) {
                return;
            }
        }
    }

    fn has_room(&self, state: &State) -> bool {
        state.instances + state.starting < self.terms.max
    }

    /// Whether there should be more instances than those that somebody waits for.
    fn wants_more(&self, state: &State) -> bool {
        if state.instances + state.starting < self.terms.min {
            return true;
        }
        // One call after the other needs no second instance. Where calls overlap, the next one shall find one.
        let spares = match (self.terms.reuse, state.busy) {
            (_, 0) => 0,
            (false, _) => 1,
            (true, ..OVERLAP) => 0,
            (true, ..CROWD) => 1,
            (true, _) => 2,
        };
        let ahead = state.starting - state.starts_needed(self.terms.per_instance).min(state.starting);
        !state.has_idle() && ahead < spares
    }

    /// Begins a start. One without a place asks for it. `false` when the server begins nothing any more.
    fn begin(self: &Arc<Self>, state: &mut State, place: Option<Place>) -> bool {
        let Some(inner) = self.engine.upgrade() else { return false };
        // Outside of the runtime everything is being dropped.
        if (place.is_some() && inner.stopping.is_cancelled()) || Handle::try_current().is_err() {
            return false;
        }
        state.starting += 1;
        let asked = match place {
            Some(place) => Asked::Place(place),
            None => self.places.ask(self.id(), self.spec.memory_bytes),
        };
        let loading = matches!(asked, Asked::Place(_));
        state.loading += usize::from(loading);
        // A runtime that is being shut down drops it at once, and `state` is locked here.
        let starting = Starting { pool: self.clone(), loading, over: true };
        // Files are read, hashed and sometimes compiled for it.
        let (work, home) = (inner.work.clone(), inner.home.clone());
        work.spawn_on(starting.run(inner, asked), &home);
        true
    }

    /// Takes a new instance in: who is in line gets it, whoever else may wait for a place.
    fn arrived(self: &Arc<Self>, state: &mut State, started: Trial, ended: &mut Vec<Lane>) {
        let Trial { mut instance, place } = started;
        let others = instance.lanes();
        let body = Body::new(place, 1 + others.len());
        state.instances += 1;
        state.open();
        for instance in std::iter::once(instance).chain(others) {
            let lane = Lane { instance, body: body.clone(), used: false };
            if let Err(lane) = self.hand(state, lane, true) {
                if body.is_draining() {
                    state.remove(lane, ended);
                } else {
                    self.settle(state, lane, ended);
                }
            }
        }
    }

    /// Takes in an instance that was tried out by a deploy.
    pub fn adopt(self: &Arc<Self>, started: Trial) {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        self.arrived(&mut state, started, &mut ended);
    }

    /// Ends the longest idle instance, if there are more than are kept warm. Whether it did.
    fn end_longest_idle(&self) -> bool {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        state.instances > self.terms.min && state.end_longest_idle(&mut ended)
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        if state.instances <= self.terms.min {
            return None;
        }
        state.longest_idle().map(|(since, _)| since)
    }
}

/// A start. Once it is under way, dropping it says that it failed, so that nobody waits for it.
struct Starting {
    pool: Arc<Pool>,
    /// It has a place.
    loading: bool,
    over: bool,
}

impl Starting {
    async fn run(mut self, inner: Arc<Inner>, asked: Asked) {
        self.over = false;
        let place = match asked {
            Asked::Place(place) => place,
            Asked::InLine(granted) => {
                let place = granted.wait(|| end_longest_idle(&inner));
                match inner.ending.run_until_cancelled(place).await {
                    Some(Some(place)) if self.is_wanted() => place,
                    // Whoever withdrew it has counted that.
                    Some(None) => {
                        self.over = true;
                        return;
                    }
                    Some(Some(_)) => return,
                    None => return self.failed(&draining(), false),
                }
            }
        };
        let trial = start(&inner, self.pool.spec.clone());
        match inner.ending.run_until_cancelled(trial).await {
            Some(Ok(instance)) => self.succeeded(Trial { instance, place }),
            Some(Err(failure)) => self.failed(&failure, true),
            None => self.failed(&draining(), false),
        }
    }

    /// Whether somebody still waits for it. If not, it is over.
    fn is_wanted(&mut self) -> bool {
        let mut state = self.pool.state.lock();
        if state.starts_needed(self.pool.terms.per_instance) >= state.starting {
            self.loading = true;
            state.loading += 1;
        } else {
            self.over = true;
            state.starting -= 1;
        }
        self.loading
    }

    /// It is under way no longer.
    fn end(&mut self, state: &mut State) {
        self.over = true;
        state.starting -= 1;
        state.loading -= usize::from(self.loading);
    }

    fn succeeded(mut self, started: Trial) {
        let pool = self.pool.clone();
        let mut ended = Vec::new();
        let mut state = pool.state.lock();
        self.end(&mut state);
        pool.arrived(&mut state, started, &mut ended);
        pool.trim(&mut state);
        pool.restock(&mut state);
    }

    /// The first in line is told, if there is somebody without a start now. `counts`: it is the function's own failure.
    fn failed(&mut self, failure: &Failure, counts: bool) {
        let pool = self.pool.clone();
        let mut state = pool.state.lock();
        self.end(&mut state);
        if counts {
            state.start_failed(failure);
        }
        if state.starts_needed(pool.terms.per_instance) > state.starting
            && let Some(to) = state.next_in_line()
        {
            let _ = to.send(Err(failure.clone()));
        }
        pool.restock(&mut state);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.over {
            self.failed(&Failure::new(FailureCode::InitError, "the start broke off"), true);
        }
    }
}

/// An instance that is in no pool yet, with its place.
pub(crate) struct Trial {
    instance: Box<dyn Instance>,
    place: Place,
}

impl Trial {
    /// Starts an instance. Waits for a place, at most for as long as calls may.
    pub async fn start(inner: &Inner, spec: Arc<InstanceSpec>) -> Result<Self, Failure> {
        let place = match inner.places.ask(PoolId::NONE, spec.memory_bytes) {
            Asked::Place(place) => Some(place),
            Asked::InLine(granted) => {
                let place = granted.wait(|| end_longest_idle(inner));
                tokio::time::timeout(inner.limits.waiting, place).await.ok().flatten()
            }
        };
        let Some(place) = place else {
            let words = format!(
                "there was no place to try it: the instances of this node were busy for {} s",
                inner.limits.waiting.as_secs()
            );
            return Err(Failure::new(FailureCode::Overloaded, words));
        };
        let instance = start(inner, spec).await?;
        Ok(Self { instance, place })
    }

    /// Starts another one, if there is a place for it. A failure is not told: it is tried again by the pool.
    pub async fn one_more(inner: &Inner, spec: Arc<InstanceSpec>) -> Option<Self> {
        let place = inner.places.try_take(spec.memory_bytes)?;
        let instance = start(inner, spec).await.ok()?;
        Some(Self { instance, place })
    }
}

/// How long a start may take.
pub(super) fn longest(spec: &InstanceSpec) -> Duration {
    spec.start_timeout + START_GRACE
}

async fn start(inner: &Inner, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
    inner.files.ready(&spec).await?;
    let (function, limit) = (spec.function.clone(), longest(&spec));
    tokio::time::timeout(limit, inner.runtime.start(spec)).await.unwrap_or_else(|_| {
        let words = format!("an instance of {function} was not there after {} s", limit.as_secs());
        Err(Failure::new(FailureCode::InitError, words))
    })
}

/// Ends the longest idle instance of any pool. Whether there was one.
pub(crate) fn end_longest_idle(inner: &Inner) -> bool {
    let snapshot = inner.directory.snapshot();
    loop {
        let idle = snapshot.pools().filter_map(|pool| pool.idle_since().map(|since| (since, pool)));
        let Some((_, pool)) = idle.min_by_key(|(since, _)| *since) else { return false };
        // Somebody may have taken it meanwhile.
        if pool.end_longest_idle() {
            return true;
        }
    }
}
