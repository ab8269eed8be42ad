//! What a hall knows: who runs, who waits, and who is next. Plain counting, under the hall's lock.
//!
//! A door is *listed* with its app where somebody waits at it whom the function itself would let in. So what is listed
//! after everybody was served waits for its app or for the node.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::manifest::Share;
use slab::Slab;
use tokio::time::Instant;

use super::claim::Claim;
use super::line::{Told, Waiter};
use super::pace::{Pace, Service};
use super::ready::Readiness;
use super::room::{Need, Room};
use super::{Bound, Full, Kind, Terms, Visitor};

/// What an attempt is taken to last where nothing was measured.
const TYPICAL: Duration = Duration::from_millis(50);
/// The least time that calls may wait while more come than go.
const STANDING_MIN: Duration = Duration::from_millis(5);
/// Whoever waited for so many times that is sent away instead of being let in late.
const STALE: u32 = 2;
/// For how long room is kept for calls of functions by functions after there was one.
const INNER: Duration = Duration::from_secs(10 * 60);

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

pub(super) struct AppState {
    name: AppName,
    pub concurrency: usize,
    pub waiting_max: usize,
    pub waiting_bytes_max: u64,
    doors: usize,
    pub running: usize,
    pub waiting: usize,
    pub waiting_bytes: u64,
    claim: Claim,
    kinds: [Claim; Kind::COUNT],
    /// Doors at which somebody of the kind waits for the app or the node. Some may be there no longer.
    listed: [VecDeque<usize>; Kind::COUNT],
}

pub(super) struct DoorState {
    pub app: usize,
    pub terms: Terms,
    pub closed: bool,
    pub running: usize,
    /// Calls by running functions, which wait in the hall's own line.
    inner: usize,
    lanes: [Lane; Kind::COUNT],
    pub service: Service,
}

struct Lane {
    line: VecDeque<Waiter>,
    claim: Claim,
    pace: Pace,
    listed: bool,
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

    /// What keeps the visitor from waiting, if anything does.
    fn no_place(&mut self, key: usize, visitor: &Visitor, now: Instant) -> Option<Bound> {
        let cause = self.cause(key);
        let (waiting, waiting_bytes) = (self.waiting, self.waiting_bytes);
        let door = &mut self.doors[key];
        let app = &self.apps[door.app];
        let most = door.terms.waiting_max;
        let with = |bytes: u64| bytes.saturating_add(visitor.bytes);
        if door.waiting_calls() >= most {
            return Some(if most == 0 { cause } else { Bound::Waiting(most) });
        }
        if app.waiting >= app.waiting_max {
            return Some(Bound::AppWaiting(app.waiting_max));
        }
        if with(app.waiting_bytes) > app.waiting_bytes_max {
            return Some(Bound::AppWaitingBytes(app.waiting_bytes_max));
        }
        if waiting >= self.room.waiting_max {
            return Some(Bound::NodeWaiting(self.room.waiting_max));
        }
        if with(waiting_bytes) > self.room.waiting_bytes_max {
            return Some(Bound::NodeWaitingBytes(self.room.waiting_bytes_max));
        }
        let left = visitor.patience.saturating_duration_since(now);
        let standing = door.standing();
        let ahead = if visitor.inner.is_some() { door.inner } else { door.waiting_calls() };
        let running = door.running;
        let service = door.service.clone();
        let pace = &mut door.sync().pace;
        let wait = pace.wait(ahead, running, &service)?;
        if visitor.inner.is_none() && wait > standing && pace.is_overloaded(now) {
            return Some(cause);
        }
        (wait > left).then_some(cause)
    }

    /// What keeps calls from being let in there now.
    pub fn cause(&self, key: usize) -> Bound {
        let door = &self.doors[key];
        let app = &self.apps[door.app];
        if door.is_full() {
            Bound::Concurrency(door.terms.concurrency)
        } else if app.running >= app.concurrency {
            Bound::AppConcurrency(app.concurrency)
        } else {
            self.room.bound(door.terms.need(door.running), door.terms.need(door.running + 1))
        }
    }

    /// The refusal, with the time until those are through who wait and those that were refused lately.
    pub fn refused(&mut self, key: usize, bound: Bound, now: Instant) -> Full {
        let door = &mut self.doors[key];
        let waiting = door.waiting_calls();
        let (running, service) = (door.running, door.service.clone());
        let pace = &mut door.sync().pace;
        pace.refused(now);
        let again = pace.wait(waiting + pace.refused_lately(), running, &service);
        Full { bound, waiting, again }
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

    /// Nobody waits any more.
    fn unlist(&mut self) {
        self.since = None;
        self.blocked = false;
        for key in std::mem::take(&mut self.contending) {
            for (kind, listed) in Kind::ALL.into_iter().zip(&mut self.apps[key].listed) {
                listed.drain(..).for_each(|door| self.doors[door].lanes[kind.at()].listed = false);
            }
        }
    }

    // Serving.

    /// Lists the door where somebody waits at it whom the function would let in.
    fn list(&mut self, key: usize, now: Instant) {
        let since = self.since.unwrap_or(now);
        let door = &mut self.doors[key];
        if door.closed || door.is_full() || door.inner > 0 {
            return;
        }
        for kind in Kind::ALL {
            let lane = &mut door.lanes[kind.at()];
            if lane.listed || lane.line.is_empty() {
                continue;
            }
            lane.listed = true;
            if !self.contending.contains(&door.app) {
                let floor = floor(&mut self.apps, &self.contending, since, now);
                self.apps[door.app].claim.count(since, now);
                self.apps[door.app].claim.raise(floor);
                self.contending.insert(door.app);
            }
            let app = &mut self.apps[door.app];
            if app.listed[kind.at()].is_empty() {
                let floor = app.kinds_floor(since, now);
                let claim = &mut app.kinds[kind.at()];
                claim.count(since, now);
                claim.raise(floor);
            }
            app.listed[kind.at()].push_back(key);
        }
    }

    /// Lets in whoever can be.
    fn serve(&mut self, now: Instant) {
        self.serve_inner(now);
        let mut batches = Vec::new();
        self.blocked = false;
        while let Some((app, kind, key)) = self.next(now) {
            if !self.fits(key, None) {
                self.blocked = true;
                break;
            }
            self.apps[app].listed[kind.at()].pop_front();
            self.doors[key].lanes[kind.at()].listed = false;
            // Whose turn it is at this door may be another kind's.
            let kind = self.doors[key].turn(self.since.unwrap_or(now), now).unwrap_or(kind);
            self.let_in(key, kind, &mut batches, now);
            self.list(key, now);
        }
        for (key, kind) in batches {
            self.flush(key, kind);
        }
        let crowded = self.waiting * 5 >= self.room.waiting_max * 4;
        let pressed = self.waiting > 0 && (self.blocked || crowded);
        self.readiness.note(pressed, now);
    }

    /// Whose turn it is: the app, the kind and the door that have had least.
    fn next(&mut self, now: Instant) -> Option<(usize, Kind, usize)> {
        let since = self.since.unwrap_or(now);
        let typical = self.service.mean().unwrap_or(TYPICAL);
        loop {
            let mut best: Option<(f64, usize)> = None;
            for key in &self.contending {
                let app = &mut self.apps[*key];
                if app.running < app.concurrency {
                    app.claim.count(since, now);
                    let turn = app.claim.turn(typical);
                    if best.is_none_or(|(least, _)| turn < least) {
                        best = Some((turn, *key));
                    }
                }
            }
            let (_, key) = best?;
            match self.apps[key].next(&mut self.doors, typical, since, now) {
                Some((kind, door)) => return Some((key, kind, door)),
                None => self.contending.remove(&key),
            };
        }
    }

    /// Lets in the first of that kind, or sends it away when it has waited too long for it to be of use.
    fn let_in(&mut self, key: usize, kind: Kind, batches: &mut Vec<(usize, Kind)>, now: Instant) {
        let door = &mut self.doors[key];
        let standing = door.standing();
        let lane = &mut door.lanes[kind.at()];
        let Some(first) = lane.line.front_mut() else { return };
        if first.want > 1 {
            first.granted += 1;
            let done = first.granted == first.want;
            if first.granted == 1 {
                batches.push((key, kind));
            }
            self.begin(key, kind);
            if done {
                self.flush(key, kind);
            }
            return;
        }
        let stale = kind == Kind::Sync
            && now.saturating_duration_since(first.since) > standing * STALE
            && lane.pace.is_overloaded(now);
        let Some(first) = lane.line.pop_front() else { return };
        if stale {
            let cause = self.cause_of_line(key);
            let full = self.refused(key, cause, now);
            self.forget(key, &first);
            // It may have left in this moment.
            let _ = first.to.send(Told::Refused(full));
            return;
        }
        lane.pace.entered(now);
        self.begin(key, kind);
        self.forget(key, &first);
        if first.to.send(Told::In(1)).is_err() {
            self.undo(key, kind, 1);
        }
    }

    /// What the line was there for, while one has just left.
    fn cause_of_line(&self, key: usize) -> Bound {
        let door = &self.doors[key];
        if door.running + 1 >= door.terms.concurrency {
            return Bound::Concurrency(door.terms.concurrency);
        }
        self.cause(key)
    }

    /// Hands over what the first in that line was granted.
    fn flush(&mut self, key: usize, kind: Kind) {
        let line = &mut self.doors[key].lanes[kind.at()].line;
        let Some(first) = line.pop_front_if(|first| first.granted > 0) else { return };
        self.forget(key, &first);
        let granted = first.granted;
        if first.to.send(Told::In(granted)).is_err() {
            self.undo(key, kind, granted);
        }
    }

    /// Calls by running functions go first: what they belong to holds what others wait for.
    fn serve_inner(&mut self, now: Instant) {
        let mut at = 0;
        while let Some((key, depth)) = self.inner.get(at).map(|(key, waiter)| (*key, waiter.depth)) {
            if self.doors[key].is_full() || !self.fits(key, Some(depth)) {
                at += 1;
                continue;
            }
            let Some((_, waiter)) = self.inner.remove(at) else { return };
            let door = &mut self.doors[key];
            door.inner -= 1;
            door.sync().pace.entered(now);
            self.begin(key, Kind::Sync);
            self.forget(key, &waiter);
            if waiter.to.send(Told::In(1)).is_err() {
                self.undo(key, Kind::Sync, 1);
            }
            self.list(key, now);
        }
    }

    fn fits(&self, key: usize, inner: Option<usize>) -> bool {
        let door = &self.doors[key];
        let reserve = self.inner_at.is_some_and(|at| at.elapsed() < INNER);
        let (now, then) = (door.terms.need(door.running), door.terms.need(door.running + 1));
        self.room.fits(now, then, inner, reserve)
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

/// The least that one of the apps that contend has had.
fn floor(apps: &mut Slab<AppState>, contending: &BTreeSet<usize>, since: Instant, now: Instant) -> f64 {
    let had = contending.iter().map(|key| {
        apps[*key].claim.count(since, now);
        apps[*key].claim.had()
    });
    had.reduce(f64::min).unwrap_or(0.0)
}

impl AppState {
    fn new(name: AppName) -> Self {
        Self {
            name,
            concurrency: usize::MAX,
            waiting_max: usize::MAX,
            waiting_bytes_max: u64::MAX,
            doors: 0,
            running: 0,
            waiting: 0,
            waiting_bytes: 0,
            claim: Claim::new(Share::default().weight),
            kinds: Kind::ALL.map(|kind| Claim::new(kind.weight())),
            listed: Default::default(),
        }
    }

    fn kinds_floor(&mut self, since: Instant, now: Instant) -> f64 {
        let listed = self.kinds.iter_mut().zip(&self.listed).filter(|(_, listed)| !listed.is_empty());
        let had = listed.map(|(claim, _)| {
            claim.count(since, now);
            claim.had()
        });
        had.reduce(f64::min).unwrap_or(0.0)
    }

    /// The kind that has had least, and the door whose turn it is among those that have it.
    fn next(
        &mut self,
        doors: &mut Slab<DoorState>,
        typical: Duration,
        since: Instant,
        now: Instant,
    ) -> Option<(Kind, usize)> {
        for (kind, listed) in Kind::ALL.into_iter().zip(&mut self.listed) {
            while let Some(key) = listed.front() {
                let door = &mut doors[*key];
                if !door.is_full() && door.inner == 0 && !door.lanes[kind.at()].line.is_empty() {
                    break;
                }
                door.lanes[kind.at()].listed = false;
                listed.pop_front();
            }
        }
        let mut best: Option<(f64, Kind, usize)> = None;
        for kind in Kind::ALL {
            if let Some(door) = self.listed[kind.at()].front() {
                let claim = &mut self.kinds[kind.at()];
                claim.count(since, now);
                let turn = claim.turn(typical);
                if best.is_none_or(|(least, ..)| turn < least) {
                    best = Some((turn, kind, *door));
                }
            }
        }
        best.map(|(_, kind, door)| (kind, door))
    }
}

impl DoorState {
    pub fn is_full(&self) -> bool {
        self.running >= self.terms.concurrency
    }

    /// Sync calls that wait here.
    pub fn waiting_calls(&self) -> usize {
        self.lanes[Kind::Sync.at()].line.len() + self.inner
    }

    fn sync(&mut self) -> &mut Lane {
        &mut self.lanes[Kind::Sync.at()]
    }

    /// How long calls may wait while more come than go: as long as one takes.
    fn standing(&self) -> Duration {
        self.service.mean().unwrap_or(TYPICAL).max(STANDING_MIN)
    }

    /// The kind that has had least of this door, of those that wait.
    fn turn(&mut self, since: Instant, now: Instant) -> Option<Kind> {
        let typical = self.service.mean().unwrap_or(TYPICAL);
        let waiting = Kind::ALL.into_iter().zip(&mut self.lanes).filter(|(_, lane)| !lane.line.is_empty());
        let turns = waiting.map(|(kind, lane)| {
            lane.claim.count(since, now);
            (lane.claim.turn(typical), kind)
        });
        turns.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, kind)| kind)
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
