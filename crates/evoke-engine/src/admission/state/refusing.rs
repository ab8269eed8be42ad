//! What keeps somebody out, and what they are told.

use tokio::time::Instant;

use super::State;
use crate::admission::{Bound, Full, Visitor};

impl State {
    /// What keeps the visitor from waiting, if anything does.
    pub(super) fn no_place(&mut self, key: usize, visitor: &Visitor, now: Instant) -> Option<Bound> {
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

    /// What the line was there for, while one has just left.
    pub(super) fn cause_of_line(&self, key: usize) -> Bound {
        let door = &self.doors[key];
        if door.running + 1 >= door.terms.concurrency {
            return Bound::Concurrency(door.terms.concurrency);
        }
        self.cause(key)
    }
}
