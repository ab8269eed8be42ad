//! Who may enter now, who waits, who is refused.
//!
//! Every attempt of a function, for a sync call as for queued work, begins with a [`Permit`] of its [`Door`]. All doors lead
//! from one [`Hall`], which knows the bounds: a function's `concurrency`, its app's, and those of the node. Who cannot
//! enter waits at its door; whose turn it is when something becomes free is decided in three steps, the same way each
//! time (`claim.rs`): the app, then the kind of work, then the function, that has had least of the time for its weight
//! (`docs/decisions/0027`). Where nobody waits none of this is computed.
//!
//! A sync call is refused where the line is full, where by the measured pace (`pace.rs`) it would wait longer than it may,
//! and, while more calls come than go, where it would wait for longer than an attempt takes.
//!
//! When the function gets another revision, who still waits is sent to the door of that one. Two versions that share its work
//! have one door: `concurrency` bounds both together.

mod allowed;
mod bound;
mod claim;
mod line;
mod pace;
mod ready;
mod room;
#[cfg(test)]
mod simulation;
mod state;

use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::limits::Limits;
use evoke_core::manifest::Share;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

pub(crate) use allowed::Allowed;
pub use bound::Bound;
use line::{InLine, Told, Waiter};
use room::{Need, Room};
use state::{Asked, State};

/// All doors of a node.
pub(crate) struct Hall {
    state: Mutex<State>,
}

/// A function's door.
pub(crate) struct Door {
    pub terms: Terms,
    hall: Arc<Hall>,
    key: usize,
}

/// What a function allows, and what its attempts need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Attempts at once.
    pub concurrency: usize,
    /// Attempts at once in one instance.
    pub per_instance: usize,
    /// Memory of an instance.
    pub instance_bytes: u64,
    /// Instances that are there in any case.
    pub kept: usize,
    /// Sync calls that may wait.
    pub waiting_max: usize,
}

/// The kinds of work, which share an app's part of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Somebody waits for the answer.
    Sync,
    /// The delivery of an event.
    Event,
    /// An asynchronous call, or what a schedule started.
    Job,
}

/// Who comes to a door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor {
    pub kind: Kind,
    /// Made by a running function, with so many such calls above it.
    pub inner: Option<usize>,
    /// When it no longer wants to wait.
    pub patience: Instant,
    /// Until when it has to be done; its caller's own.
    pub deadline: Option<Instant>,
    /// Bytes it holds while it waits.
    pub bytes: u64,
}

/// The right to run one attempt of a function. Dropping it lets the next one in.
pub(crate) struct Permit {
    door: Arc<Door>,
    kind: Kind,
    /// When it was given; `None` when nothing came of it.
    since: Option<Instant>,
}

/// What a queued attempt needs: the permit of its function, and that of its subscription where that has a limit of its own.
#[expect(dead_code, reason = "held for what their end does")]
pub(crate) struct Admitted(pub Permit, pub Option<OwnedSemaphorePermit>);

/// Why somebody was not let in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Too many wait already, or it would have waited too long, or did.
    Full(Full),
    /// Attempts usually take longer than the caller has left.
    TooLate {
        /// What is left.
        left: Duration,
        /// About half of them take longer.
        typical: Duration,
    },
    /// The door belongs to a revision that is no longer the current one: look for the door of the next.
    Closed,
}

/// A refusal at a bound.
#[derive(Debug)]
pub(crate) struct Full {
    pub bound: Bound,
    /// How many calls wait there.
    pub waiting: usize,
    /// When those are through who wait, and those who were refused lately; `None` when nothing was measured yet.
    pub again: Option<Duration>,
}

impl Hall {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(Room::new(limits))) })
    }

    /// A door for a function of `app`.
    pub fn door(self: &Arc<Self>, app: &AppName, terms: Terms) -> Arc<Door> {
        let key = self.state.lock().add_door(app, terms);
        Arc::new(Door { terms, hall: self.clone(), key })
    }

    /// The app's part of the node, from now on.
    pub fn share(&self, app: &AppName, share: &Share) {
        self.state.lock().share(app, share);
    }

    /// Whether calls have been waiting for the node itself, and how many wait.
    pub fn saturated(&self) -> Option<usize> {
        let mut state = self.state.lock();
        state.readiness.is_saturated(Instant::now()).then_some(state.waiting)
    }

    /// Attempts that were let in, and everybody who waits.
    pub fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.room.running, state.waiters)
    }
}

impl Door {
    /// Waits for a permit, as long as the visitor wants to; refuses at once when it would be for too long.
    pub async fn enter(self: &Arc<Self>, visitor: Visitor) -> Result<Permit, Refused> {
        let now = Instant::now();
        let (to, told) = oneshot::channel();
        let number = {
            let mut state = self.hall.state.lock();
            let door = &state.doors[self.key];
            if door.closed {
                return Err(Refused::Closed);
            }
            if let Some(deadline) = visitor.deadline
                && let Some(typical) = door.service.typical(now)
                && let left = deadline.saturating_duration_since(now)
                && typical > left
            {
                return Err(Refused::TooLate { left, typical });
            }
            let mut number = 0;
            let Visitor { kind, inner, bytes, .. } = visitor;
            let waiter = |next| {
                number = next;
                let depth = inner.unwrap_or(0);
                Waiter { number, kind, depth, want: 1, granted: 0, bytes, since: now, to }
            };
            match state.ask(self.key, &visitor, waiter, now) {
                Asked::In => return Ok(self.permit(kind, now)),
                Asked::Refused(full) => return Err(Refused::Full(full)),
                Asked::Waits => number,
            }
        };
        let mut line = InLine { number, kind: visitor.kind, told, door: self.clone(), over: false };
        match tokio::time::timeout_at(visitor.patience, &mut line.told).await {
            Ok(told) => {
                line.over = true;
                match told {
                    Ok(Told::In(_)) => Ok(self.permit(visitor.kind, Instant::now())),
                    Ok(Told::Refused(full)) => Err(Refused::Full(full)),
                    Err(_) => Err(Refused::Closed),
                }
            }
            Err(_) => {
                let mut state = self.hall.state.lock();
                let cause = state.cause(self.key);
                let mut full = state.refused(self.key, cause, Instant::now());
                full.waiting = full.waiting.saturating_sub(1);
                Err(Refused::Full(full))
            }
        }
    }

    /// For what nobody waits for: a permit where nobody waits either, and less than half of the function is taken.
    pub fn enter_spare(self: &Arc<Self>) -> Result<Permit, Refused> {
        let now = Instant::now();
        let visitor = Visitor { kind: Kind::Job, inner: None, patience: now, deadline: None, bytes: 0 };
        let mut state = self.hall.state.lock();
        let door = &state.doors[self.key];
        if door.closed {
            return Err(Refused::Closed);
        }
        let is_spare = door.running == 0 || 2 * door.running < door.terms.concurrency;
        if is_spare && state.try_enter(self.key, &visitor) {
            drop(state);
            return Ok(self.permit(Kind::Job, now));
        }
        let (bound, waiting) = (state.cause(self.key), state.waiting);
        Err(Refused::Full(Full { bound, waiting, again: None }))
    }

    /// For queued work: waits for one permit, however long, and takes up to `max` in all if their turn has come too. `None`
    /// when the door was closed.
    pub async fn enter_many(self: &Arc<Self>, kind: Kind, max: usize) -> Option<Vec<Permit>> {
        let now = Instant::now();
        let (to, told) = oneshot::channel();
        let visitor = Visitor { kind, inner: None, patience: now, deadline: None, bytes: 0 };
        let asked = {
            let mut state = self.hall.state.lock();
            if state.doors[self.key].closed {
                return None;
            }
            let mut number = 0;
            let waiter = |next| {
                number = next;
                Waiter { number, kind, depth: 0, want: max, granted: 0, bytes: 0, since: now, to }
            };
            match state.ask(self.key, &visitor, waiter, now) {
                Asked::In => {
                    let more = (1..max).take_while(|_| state.try_enter(self.key, &visitor)).count();
                    Err(1 + more)
                }
                Asked::Waits | Asked::Refused(_) => Ok(number),
            }
        };
        let count = match asked {
            Err(count) => count,
            Ok(number) => {
                let mut line = InLine { number, kind, told, door: self.clone(), over: false };
                let told = (&mut line.told).await;
                line.over = true;
                match told {
                    Ok(Told::In(count)) => count,
                    Ok(Told::Refused(_)) | Err(_) => return None,
                }
            }
        };
        let since = Instant::now();
        Some((0..count).map(|_| self.permit(kind, since)).collect())
    }

    /// Whether it leads nowhere any more.
    pub fn is_closed(&self) -> bool {
        self.hall.state.lock().doors[self.key].closed
    }

    /// Permits that are out.
    pub fn inside(&self) -> usize {
        self.hall.state.lock().doors[self.key].running
    }

    /// Sends away everyone who waits and whoever comes. Permits that were given stay good.
    pub fn close(&self) {
        self.hall.state.lock().close(self.key);
    }

    fn permit(self: &Arc<Self>, kind: Kind, since: Instant) -> Permit {
        Permit { door: self.clone(), kind, since: Some(since) }
    }
}

impl Permit {
    /// Gives it back without an attempt.
    pub fn unused(mut self) {
        self.since = None;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.hall.state.lock().remove_door(self.key);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.door.hall.state.lock();
        if let Some(since) = self.since {
            state.took(self.door.key, now.saturating_duration_since(since), now);
        }
        state.leave(self.door.key, self.kind, 1, now);
    }
}

impl Terms {
    /// What `running` attempts need.
    fn need(&self, running: usize) -> Need {
        let instances = running.div_ceil(self.per_instance.max(1)).max(self.kept) as u64;
        Need { places: instances, bytes: instances * self.instance_bytes }
    }
}

impl Kind {
    const COUNT: usize = 3;
    const ALL: [Self; Self::COUNT] = [Self::Sync, Self::Event, Self::Job];

    const fn at(self) -> usize {
        self as usize
    }

    /// How much of what is scarce it gets beside the others: people wait for the first, nobody for the last.
    const fn weight(self) -> u32 {
        match self {
            Self::Sync => 4,
            Self::Event => 2,
            Self::Job => 1,
        }
    }
}
