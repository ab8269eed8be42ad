//! The places for instances on this node: all pools together never have more instances than there are places.
//!
//! Who finds none free waits in line. An instance that becomes idle goes to the first in line if that is of its own
//! pool; for one of another pool it ends, and its place goes there. So nobody waits beside an idle instance, no function
//! keeps others from their turn, and one that fills the node by itself still uses its instances again.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::pool::{PoolId, Slot};

/// All places of the node, and the line for them.
pub(crate) struct Places {
    state: Mutex<State>,
}

struct State {
    /// None while somebody waits.
    free: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    pool: PoolId,
    to: oneshot::Sender<Granted>,
}

/// What waiting in line was good for.
#[derive(Debug)]
pub(crate) enum Granted {
    /// A place for a new instance.
    Place(Place),
    /// An instance of the pool one waited for.
    Instance(Slot),
}

/// The place of one instance. Dropping it gives it to the next in line.
pub(crate) struct Place {
    /// `None` when it was given back.
    of: Option<Arc<Places>>,
}

impl Places {
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: count, waiting: VecDeque::new() }) })
    }

    /// A place for one more instance of `pool`, or an instance of it. Where no place is free, `make_room` ends an instance
    /// that is idle already, if there is one.
    pub async fn take(self: &Arc<Self>, pool: PoolId, make_room: impl FnOnce()) -> Granted {
        let granted = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return Granted::Place(self.place());
            }
            let (to, granted) = oneshot::channel();
            state.waiting.retain(|waiting| !waiting.to.is_closed());
            state.waiting.push_back(Waiting { pool, to });
            granted
        };
        // In line first: what becomes idle from now on sees it, what became so before is seen here.
        make_room();
        granted.await.expect("who waits in line is not forgotten")
    }

    /// The pool that the first in line waits for.
    pub fn first_waiting(&self) -> Option<PoolId> {
        let mut state = self.state.lock();
        while state.waiting.front().is_some_and(|waiting| waiting.to.is_closed()) {
            state.waiting.pop_front();
        }
        state.waiting.front().map(|waiting| waiting.pool)
    }

    /// Gives an instance of `pool` to the first in line, who waits for one of that pool; otherwise back.
    pub fn hand_over(&self, pool: PoolId, slot: Slot) -> Result<(), Slot> {
        let first = {
            let mut state = self.state.lock();
            state.waiting.pop_front_if(|waiting| waiting.pool == pool)
        };
        let Some(first) = first else { return Err(slot) };
        match first.to.send(Granted::Instance(slot)) {
            Err(Granted::Instance(slot)) => Err(slot),
            Ok(()) | Err(Granted::Place(_)) => Ok(()),
        }
    }

    fn place(self: &Arc<Self>) -> Place {
        Place { of: Some(self.clone()) }
    }

    fn release(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.waiting.pop_front();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.to.send(Granted::Place(self.place())) {
                // It left the line. The place is not released once more, but offered to the next here.
                Err(Granted::Place(mut place)) => place.of = None,
                Ok(()) | Err(Granted::Instance(_)) => return,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.of.take() {
            places.release();
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}
