//! What a pool knows of its instances, and what follows from that: plain counting, under the pool's lock.
//!
//! An instance is a *body* (a process with its place on the node) with one lane, or several where it runs several calls at
//! once. Lanes are what is idle, taken and given back; a body ends when its last lane is removed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Instance;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::slot::Slot;
use crate::place::Place;

/// Where the first in line is served.
pub(super) type Counter = oneshot::Sender<Result<Slot, Failure>>;

pub(super) struct State {
    /// Lanes that wait for a call, the longest idle first.
    idle: Vec<Idle>,
    /// Lanes in use.
    pub busy: usize,
    /// Bodies that live.
    pub instances: usize,
    /// Starts under way, those included that wait for a place.
    pub starting: usize,
    /// Those of them that have one.
    pub loading: usize,
    /// Bodies that end when their last call has.
    pub draining: usize,
    line: VecDeque<(u64, Counter)>,
    last_number: u64,
    pub retired: bool,
    /// Starts that failed since the last call that was served.
    pub failures: u32,
    /// So many in a row, and further ones back off.
    crash_loop: u32,
    closed: Option<Closed>,
    /// It was closed since somebody last asked.
    just_closed: bool,
}

/// What keeps a function that fails to start from being started again at once.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub until: Instant,
    pub failure: Failure,
}

struct Idle {
    lane: Lane,
    since: Instant,
}

/// The right to one call at a time in an instance.
pub(super) struct Lane {
    pub instance: Box<dyn Instance>,
    pub body: Arc<Body>,
    /// It has had a call.
    pub used: bool,
}

/// What the lanes of an instance have in common. Changed under the pool's lock only.
pub(super) struct Body {
    lanes: AtomicU32,
    busy: AtomicU32,
    draining: AtomicBool,
    _place: Place,
}

impl Body {
    pub fn new(place: Place, lanes: usize) -> Arc<Self> {
        let lanes = AtomicU32::new(u32::try_from(lanes).unwrap_or(u32::MAX));
        Arc::new(Self { lanes, busy: AtomicU32::new(0), draining: AtomicBool::new(false), _place: place })
    }

    pub fn occupy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub fn vacate(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn lanes(&self) -> u32 {
        self.lanes.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }
}

impl State {
    pub fn new(crash_loop: u32) -> Self {
        Self {
            idle: Vec::new(),
            busy: 0,
            instances: 0,
            starting: 0,
            loading: 0,
            draining: 0,
            line: VecDeque::new(),
            last_number: 0,
            retired: false,
            failures: 0,
            crash_loop,
            closed: None,
            just_closed: false,
        }
    }

    /// The lane that was used last and can be used again. What cannot goes to `ended`, to be dropped without the lock.
    pub fn pop_usable(&mut self, ended: &mut Vec<Lane>) -> Option<Lane> {
        while let Some(mut idle) = self.idle.pop() {
            if idle.is_alive() {
                return Some(idle.lane);
            }
            self.died(idle.lane, ended);
        }
        None
    }

    pub fn push_idle(&mut self, lane: Lane) {
        self.idle.push(Idle { lane, since: Instant::now() });
    }

    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Bodies of which no lane is in use, and those of which one is.
    pub fn idle_and_busy(&self) -> (usize, usize) {
        let of_idle_bodies = self.idle.iter().filter(|idle| !idle.lane.body.is_busy());
        let mut bodies: Vec<_> = of_idle_bodies.map(|idle| Arc::as_ptr(&idle.lane.body)).collect();
        bodies.sort_unstable();
        bodies.dedup();
        (bodies.len(), self.instances - bodies.len() - self.draining)
    }

    // The line.

    /// Gets in line. The number is for [`State::leave_line`].
    pub fn join_line(&mut self, to: Counter) -> u64 {
        self.last_number += 1;
        self.line.push_back((self.last_number, to));
        self.last_number
    }

    /// Whether it was still in line.
    pub fn leave_line(&mut self, number: u64) -> bool {
        let found = self.line.iter().position(|(of, _)| *of == number);
        found.map(|at| self.line.remove(at)).is_some()
    }

    /// Whether a start that has its place is the one for whoever has this number.
    pub fn is_loading_for(&self, number: u64, per_instance: usize) -> bool {
        let at = self.line.iter().position(|(of, _)| *of == number);
        at.is_some_and(|at| at < self.loading * per_instance)
    }

    pub fn next_in_line(&mut self) -> Option<Counter> {
        self.line.pop_front().map(|(_, to)| to)
    }

    pub fn line_is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Starts it takes to serve the line.
    pub fn starts_needed(&self, per_instance: usize) -> usize {
        self.line.len().div_ceil(per_instance)
    }

    // Ends.

    /// Takes a lane out for good.
    pub fn remove(&mut self, lane: Lane, ended: &mut Vec<Lane>) {
        if lane.body.lanes.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.instances -= 1;
            self.draining -= usize::from(lane.body.is_draining());
        }
        ended.push(lane);
    }

    /// Takes out a lane whose body cannot be used any more, and its idle siblings.
    pub fn end_body(&mut self, lane: Lane, ended: &mut Vec<Lane>) {
        self.drain(&lane.body.clone(), ended);
        self.remove(lane, ended);
    }

    /// No further call for this body: its idle lanes end, the others when they are given back.
    fn drain(&mut self, body: &Arc<Body>, ended: &mut Vec<Lane>) {
        if body.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        self.draining += 1;
        let lanes: Vec<Idle> = self.idle.extract_if(.., |idle| Arc::ptr_eq(&idle.lane.body, body)).collect();
        for idle in lanes {
            self.remove(idle.lane, ended);
        }
    }

    /// An idle instance ended by itself. One that never served a call may be one of many: that counts as a failed start.
    fn died(&mut self, lane: Lane, ended: &mut Vec<Lane>) {
        if !lane.used && !lane.body.is_draining() {
            let words = "its instances end by themselves before their first call";
            self.start_failed(&Failure::new(FailureCode::Crashed, words));
        }
        self.end_body(lane, ended);
    }

    /// Another function waits for a place: ends the longest idle body, `lane` among them, or has this one end after the calls
    /// it still has.
    pub fn give_way(&mut self, lane: Lane, ended: &mut Vec<Lane>) {
        let body = lane.body.clone();
        self.push_idle(lane);
        match self.longest_idle() {
            Some((_, body)) => self.drain(&body, ended),
            None if self.draining == 0 => self.drain(&body, ended),
            None => {}
        }
    }

    /// Ends what is idle, but for the last `kept` lanes or more.
    pub fn end_idle(&mut self, kept: usize, ended: &mut Vec<Lane>) {
        while self.idle.len() > kept
            && let Some(body) = self.idle.first().map(|idle| idle.lane.body.clone())
        {
            self.drain(&body, ended);
        }
    }

    /// Ends what ended by itself, and bodies idle for `time` while there are more than `min`.
    pub fn evict(&mut self, time: Duration, min: usize, ended: &mut Vec<Lane>) {
        let dead: Vec<Idle> = self.idle.extract_if(.., |idle| !idle.is_alive()).collect();
        for idle in dead {
            self.died(idle.lane, ended);
        }
        while self.instances > min
            && let Some((since, body)) = self.longest_idle()
            && since.elapsed() >= time
        {
            self.drain(&body, ended);
        }
    }

    /// Ends the longest idle body. Whether there was one.
    pub fn end_longest_idle(&mut self, ended: &mut Vec<Lane>) -> bool {
        let longest = self.longest_idle();
        if let Some((_, body)) = &longest {
            self.drain(body, ended);
        }
        longest.is_some()
    }

    /// The body of which no lane is in use for the longest time, and since when.
    pub fn longest_idle(&self) -> Option<(Instant, Arc<Body>)> {
        let mut seen: HashMap<*const Body, u32> = HashMap::new();
        // The list is in the order of `since`: the lane that makes a body complete was its last in use.
        let complete = self.idle.iter().find(|Idle { lane, .. }| {
            let lanes = lane.body.lanes();
            if lanes == 1 {
                return true;
            }
            let seen = seen.entry(Arc::as_ptr(&lane.body)).or_default();
            *seen += 1;
            *seen == lanes
        });
        complete.map(|idle| (idle.since, idle.lane.body.clone()))
    }

    // Failed starts.

    /// Until when nothing is started, and why, if that is so.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref().filter(|closed| Instant::now() < closed.until)
    }

    /// The same, once after it has begun.
    pub fn just_closed(&mut self) -> Option<Closed> {
        std::mem::take(&mut self.just_closed).then(|| self.closed.clone()).flatten()
    }

    pub fn open(&mut self) {
        self.closed = None;
    }

    /// Notes a failed start; after several in a row nothing is started for a while.
    pub fn start_failed(&mut self, failure: &Failure) {
        self.failures += 1;
        if self.failures < self.crash_loop {
            return;
        }
        let doublings = (self.failures - self.crash_loop).min(6);
        let pause = Duration::from_secs(1 << doublings);
        let words = format!(
            "{} (failed to start {} times in a row; not tried again for {} s)",
            failure.message,
            self.failures,
            pause.as_secs()
        );
        let failure = Failure { message: words, ..failure.clone() };
        self.closed = Some(Closed { until: Instant::now() + pause, failure });
        self.just_closed = true;
    }
}

impl Idle {
    fn is_alive(&mut self) -> bool {
        self.lane.instance.has_stayed_usable()
    }
}
