//! What a hall knows: who runs, who waits, and who is next. Plain counting, under the hall's lock.
//!
//! A door is *listed* with its app where somebody waits at it whom the function itself would let in. So what is listed
//! after everybody was served waits for its app or for the node.

mod app;
mod door;
mod refusing;
mod serving;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::manifest::Share;
use slab::Slab;
use tokio::time::Instant;

use app::AppState;
use door::{DoorState, Lane};

use super::claim::Claim;
use super::line::Waiter;
use super::pace::{Pace, Service};
use super::ready::Readiness;
use super::room::{Need, Room};
use super::{Full, Kind, Terms, Visitor};

/// What an attempt is taken to last where nothing was measured.
const TYPICAL: Duration = Duration::from_millis(50);

pub(super) struct State {
    pub room: Room,
    pub doors: Slab<DoorState>,
    apps: Slab<AppState>,
    names: HashMap<AppName, usize>,
    /// Calls by running functions that wait: those that are deepest first, then by age.
    inner: VecDeque<(usize, Waiter)>,
    /// Apps with listed doors.
    contending: BTreeSet<usize>,
    /// Everybody who waits.
    pub waiters: usize,
    /// Sync calls among them, and the bytes of their bodies.
    pub waiting: usize,
    pub waiting_bytes: u64,
    /// Since when somebody waits.
    since: Option<Instant>,
    /// The next in turn does not fit on the node.
    blocked: bool,
    inner_at: Option<Instant>,
    pub readiness: Readiness,
    service: Service,
    next_number: u64,
}

/// What came of asking to be let in.
pub(super) enum Asked {
    In,
    Waits,
    Refused(Full),
}

impl State {
    pub fn new(room: Room) -> Self {
        Self {
            room,
            doors: Slab::new(),
            apps: Slab::new(),
            names: HashMap::new(),
            inner: VecDeque::new(),
            contending: BTreeSet::new(),
            waiters: 0,
            waiting: 0,
            waiting_bytes: 0,
            since: None,
            blocked: false,
            inner_at: None,
            readiness: Readiness::default(),
            service: Service::default(),
            next_number: 0,
        }
    }

    // Doors.

    pub fn add_door(&mut self, app: &AppName, terms: Terms) -> usize {
        let key = match self.names.get(app) {
            Some(key) => *key,
            None => {
                let key = self.apps.insert(AppState::new(app.clone()));
                self.names.insert(app.clone(), key);
                key
            }
        };
        self.apps[key].doors += 1;
        self.room.change(Need::NONE, terms.need(0));
        self.doors.insert(DoorState {
            app: key,
            terms,
            closed: false,
            running: 0,
            inner: 0,
            lanes: Kind::ALL.map(|kind| Lane {
                line: VecDeque::new(),
                claim: Claim::new(kind.weight()),
                pace: Pace::default(),
                listed: false,
            }),
            service: Service::default(),
        })
    }

    /// Everybody has left it.
    pub fn remove_door(&mut self, key: usize) {
        self.close(key);
        let door = self.doors.remove(key);
        let app = &mut self.apps[door.app];
        app.listed.iter_mut().for_each(|listed| listed.retain(|listed| *listed != key));
        app.doors -= 1;
        if app.doors == 0 {
            let app = self.apps.remove(door.app);
            self.names.remove(&app.name);
            self.contending.remove(&door.app);
        }
    }

    /// Sends away who waits; keeps no room for what would be kept warm.
    pub fn close(&mut self, key: usize) {
        let door = &mut self.doors[key];
        if std::mem::replace(&mut door.closed, true) {
            return;
        }
        let before = door.terms.need(door.running);
        door.terms.kept = 0;
        self.room.change(before, door.terms.need(door.running));
        let mut gone: Vec<Waiter> = door.lanes.iter_mut().flat_map(|lane| lane.line.drain(..)).collect();
        door.inner = 0;
        let (left, stay) = std::mem::take(&mut self.inner).into_iter().partition(|(at, _)| *at == key);
        self.inner = stay;
        let left: VecDeque<(usize, Waiter)> = left;
        gone.extend(left.into_iter().map(|(_, waiter)| waiter));
        for waiter in gone {
            self.forget(key, &waiter);
        }
        // Others may have waited behind them.
        if self.waiters > 0 {
            self.serve(Instant::now());
        }
    }

    pub fn share(&mut self, app: &AppName, share: &Share) {
        let Some(key) = self.names.get(app) else { return };
        let app = &mut self.apps[*key];
        app.claim.weight = share.weight;
        app.concurrency = share.concurrency.map_or(usize::MAX, |most| most as usize);
        app.waiting_max = share.waiting.map_or(usize::MAX, |most| most as usize);
        app.waiting_bytes_max = share.waiting_bytes.unwrap_or(u64::MAX);
    }

    // Coming.

    /// Lets the visitor in if nobody is before it and there is room.
    pub fn try_enter(&mut self, key: usize, visitor: &Visitor) -> bool {
        let door = &self.doors[key];
        if door.closed || door.is_full() || door.inner > 0 {
            return false;
        }
        let app = &self.apps[door.app];
        let is_first = match visitor.inner {
            Some(_) => true,
            None => {
                door.lanes.iter().all(|lane| lane.line.is_empty())
                    && app.listed.iter().all(VecDeque::is_empty)
                    && app.running < app.concurrency
                    && !self.blocked
            }
        };
        if !is_first || !self.fits(key, visitor.inner) {
            return false;
        }
        self.begin(key, visitor.kind);
        true
    }

    /// Lets the visitor in, gives it a place in line, or says why it has none. The door is open.
    pub fn ask(
        &mut self,
        key: usize,
        visitor: &Visitor,
        waiter: impl FnOnce(u64) -> Waiter,
        now: Instant,
    ) -> Asked {
        if visitor.inner.is_some() {
            self.inner_at = Some(now);
        }
        if self.try_enter(key, visitor) {
            return Asked::In;
        }
        if visitor.kind == Kind::Sync {
            let was_first = self.doors[key].waiting_calls() == 0;
            self.doors[key].sync().pace.arrived(was_first, now);
            if let Some(bound) = self.no_place(key, visitor, now) {
                return Asked::Refused(self.refused(key, bound, now));
            }
        }
        if self.waiters == 0 {
            self.since = Some(now);
            self.blocked = false;
        }
        let waiter = waiter(self.next_number);
        self.next_number += 1;
        self.waiters += 1;
        if visitor.kind == Kind::Sync {
            self.waiting += 1;
            self.waiting_bytes += waiter.bytes;
            let app = &mut self.apps[self.doors[key].app];
            app.waiting += 1;
            app.waiting_bytes += waiter.bytes;
        }
        match visitor.inner {
            Some(depth) => {
                self.doors[key].inner += 1;
                let behind = self.inner.partition_point(|(_, other)| other.depth >= depth);
                self.inner.insert(behind, (key, waiter));
            }
            None => self.queue(key, visitor.kind, waiter, now),
        }
        self.serve(now);
        Asked::Waits
    }

    fn queue(&mut self, key: usize, kind: Kind, waiter: Waiter, now: Instant) {
        let since = self.since.unwrap_or(now);
        let door = &mut self.doors[key];
        // Who did not wait until now has saved nothing up.
        let floor = door.lanes.iter_mut().filter(|lane| !lane.line.is_empty()).map(|lane| {
            lane.claim.count(since, now);
            lane.claim.had()
        });
        let floor = floor.reduce(f64::min);
        let lane = &mut door.lanes[kind.at()];
        if lane.line.is_empty() {
            lane.claim.count(since, now);
            lane.claim.raise(floor.unwrap_or(0.0));
        }
        lane.line.push_back(waiter);
        self.list(key, now);
    }

    // Going.

    /// `count` attempts of `kind` ended or never began.
    pub fn leave(&mut self, key: usize, kind: Kind, count: usize, now: Instant) {
        self.take_out(key, kind, count, self.since.map(|since| (since, now)));
        if self.waiters > 0 {
            self.list(key, now);
            self.serve(now);
        }
    }

    /// One attempt took so long from when it was let in.
    pub fn took(&mut self, key: usize, time: Duration, now: Instant) {
        self.doors[key].service.note(time, now);
        self.service.note(time, now);
    }

    /// Somebody waits no longer. Whether it was still in line.
    pub fn give_up(&mut self, key: usize, kind: Kind, number: u64, now: Instant) -> bool {
        let lane = &mut self.doors[key].lanes[kind.at()].line;
        let found = match lane.iter().position(|waiter| waiter.number == number) {
            Some(at) => lane.remove(at),
            None => match self.inner.iter().position(|(_, waiter)| waiter.number == number) {
                Some(at) => {
                    self.doors[key].inner -= 1;
                    self.list(key, now);
                    self.inner.remove(at).map(|(_, waiter)| waiter)
                }
                None => None,
            },
        };
        let Some(waiter) = found else { return false };
        if waiter.granted > 0 {
            self.leave(key, kind, waiter.granted, now);
        }
        self.forget(key, &waiter);
        // It may have been what the others waited behind.
        self.serve(now);
        true
    }

    /// No longer counts among those who wait.
    fn forget(&mut self, key: usize, waiter: &Waiter) {
        self.waiters -= 1;
        if waiter.kind == Kind::Sync {
            self.waiting -= 1;
            self.waiting_bytes -= waiter.bytes;
            let app = &mut self.apps[self.doors[key].app];
            app.waiting -= 1;
            app.waiting_bytes -= waiter.bytes;
        }
        if self.waiters == 0 {
            self.unlist();
        }
    }

    fn begin(&mut self, key: usize, kind: Kind) {
        let door = &mut self.doors[key];
        let app = &mut self.apps[door.app];
        let before = door.terms.need(door.running);
        door.running += 1;
        app.running += 1;
        self.room.running += 1;
        self.room.change(before, door.terms.need(door.running));
        let claims = [&mut door.lanes[kind.at()].claim, &mut app.kinds[kind.at()], &mut app.claim];
        match self.since {
            None => claims.into_iter().for_each(Claim::begin),
            Some(since) => {
                let now = Instant::now();
                for claim in claims {
                    claim.count(since, now);
                    claim.begin();
                }
            }
        }
    }

    /// Undoes [`State::begin`].
    fn undo(&mut self, key: usize, kind: Kind, count: usize) {
        self.take_out(key, kind, count, None);
    }

    /// They run no longer. Their time counts from when somebody began to wait until now, if that is to be said.
    fn take_out(&mut self, key: usize, kind: Kind, count: usize, until: Option<(Instant, Instant)>) {
        let door = &mut self.doors[key];
        let app = &mut self.apps[door.app];
        let before = door.terms.need(door.running);
        door.running -= count;
        app.running -= count;
        self.room.running -= count;
        self.room.change(before, door.terms.need(door.running));
        for claim in [&mut door.lanes[kind.at()].claim, &mut app.kinds[kind.at()], &mut app.claim] {
            if let Some((since, now)) = until {
                claim.count(since, now);
            }
            (0..count).for_each(|_| claim.end());
        }
    }
}

#[cfg(test)]
impl State {
    pub fn running_of_apps(&self) -> impl Iterator<Item = usize> {
        self.apps.iter().map(|(_, app)| app.running)
    }

    /// A door at which somebody waits whom nothing keeps out.
    pub fn could_be_let_in(&self) -> Option<usize> {
        let waits = |door: &DoorState| door.lanes.iter().any(|lane| !lane.line.is_empty());
        let found = self.doors.iter().find(|(key, door)| {
            let app = &self.apps[door.app];
            waits(door)
                && !door.is_full()
                && door.inner == 0
                && app.running < app.concurrency
                && self.fits(*key, None)
        });
        found.map(|(key, _)| key)
    }
}
