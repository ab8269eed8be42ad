//! Whose turn it is.

use std::time::Duration;

use tokio::time::Instant;

use super::app::floor;
use super::{State, TYPICAL};
use crate::admission::Kind;
use crate::admission::line::Told;

/// Whoever waited for so many times that is sent away instead of being let in late.
const STALE: u32 = 2;
/// For how long room is kept for calls of functions by functions after there was one.
const INNER: Duration = Duration::from_secs(10 * 60);

impl State {
    /// Nobody waits any more.
    pub(super) fn unlist(&mut self) {
        self.since = None;
        self.blocked = false;
        for key in std::mem::take(&mut self.contending) {
            for (kind, listed) in Kind::ALL.into_iter().zip(&mut self.apps[key].listed) {
                listed.drain(..).for_each(|door| self.doors[door].lanes[kind.at()].listed = false);
            }
        }
    }

    /// Lists the door where somebody waits at it whom the function would let in.
    pub(super) fn list(&mut self, key: usize, now: Instant) {
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
    pub(super) fn serve(&mut self, now: Instant) {
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

    /// Hands over what the first in that line was granted.
    pub(super) fn flush(&mut self, key: usize, kind: Kind) {
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

    pub(super) fn fits(&self, key: usize, inner: Option<usize>) -> bool {
        let door = &self.doors[key];
        let reserve = self.inner_at.is_some_and(|at| at.elapsed() < INNER);
        let (now, then) = (door.terms.need(door.running), door.terms.need(door.running + 1));
        self.room.fits(now, then, inner, reserve)
    }
}
