//! The places for instances on this node, and the memory for them: all pools together never have more instances than there
//! are places, and never promise them more memory than the node sets aside.
//!
//! Memory is counted by the limit of each instance, not by what it uses at the moment: what is promised is there when an
//! instance needs it, and whether one more fits is known before it is started.
//!
//! Who finds none waits in line, and the line is served from its front only: a large instance is not passed by small ones
//! for ever. A pool whose turn was used by an instance of its own leaves the front ([`Places::withdraw_first`]).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::pool::PoolId;

/// All places of the node, and the line for them.
pub(crate) struct Places {
    /// As many as there are, for messages.
    pub count: usize,
    pub bytes: u64,
    state: Mutex<State>,
}

struct State {
    free: usize,
    free_bytes: u64,
    /// The first does not fit, or is not there.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    pool: PoolId,
    bytes: u64,
    to: oneshot::Sender<Place>,
}

/// What became of asking for a place.
pub(crate) enum Asked {
    /// Here it is.
    Place(Place),
    /// It has to be waited for.
    InLine(InLine),
}

/// Somebody's place in the line. Dropping it leaves the line.
pub(crate) struct InLine {
    place: oneshot::Receiver<Place>,
    served: bool,
    of: Arc<Places>,
}

/// The place of one instance. Dropping it gives it to the next in line.
pub(crate) struct Place {
    bytes: u64,
    /// `None` when it was given back.
    of: Option<Arc<Places>>,
}

impl Places {
    pub fn new(count: usize, bytes: u64) -> Arc<Self> {
        let state = State { free: count, free_bytes: bytes, waiting: VecDeque::new() };
        Arc::new(Self { count, bytes, state: Mutex::new(state) })
    }

    /// A place if there is one that nobody waits for.
    pub fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Place> {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() || !state.fits(bytes) {
            return None;
        }
        Some(self.occupy(&mut state, bytes))
    }

    /// A place for one more instance of `pool`, or one at the end of the line.
    pub fn ask(self: &Arc<Self>, pool: PoolId, bytes: u64) -> Asked {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && state.fits(bytes) {
            return Asked::Place(self.occupy(&mut state, bytes));
        }
        let (to, place) = oneshot::channel();
        state.waiting.push_back(Waiting { pool, bytes, to });
        Asked::InLine(InLine { place, served: false, of: self.clone() })
    }

    /// The pool that the first in line waits for.
    pub fn first_waiting(&self) -> Option<PoolId> {
        self.state.lock().waiting.front().map(|waiting| waiting.pool)
    }

    /// Takes the first in line out of it if it is of `pool`, whose turn was used otherwise. Whether it was.
    pub fn withdraw_first(self: &Arc<Self>, pool: PoolId) -> bool {
        let mut state = self.state.lock();
        let first = state.waiting.pop_front_if(|waiting| waiting.pool == pool);
        if first.is_some() {
            self.serve(&mut state);
        }
        first.is_some()
    }

    /// Takes the last of `pool` out of the line, who is not needed any more. Whether there was one.
    pub fn withdraw_last(self: &Arc<Self>, pool: PoolId) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.waiting.iter().rposition(|waiting| waiting.pool == pool) else { return false };
        state.waiting.remove(at);
        self.serve(&mut state);
        true
    }

    /// Places and bytes in use.
    pub fn used(&self) -> (usize, u64) {
        let state = self.state.lock();
        (self.count - state.free, self.bytes - state.free_bytes)
    }

    fn occupy(self: &Arc<Self>, state: &mut State, bytes: u64) -> Place {
        state.free -= 1;
        state.free_bytes -= bytes;
        Place { bytes, of: Some(self.clone()) }
    }

    /// Gives places to the front of the line as long as they fit.
    fn serve(self: &Arc<Self>, state: &mut State) {
        while let Some(first) = state.waiting.front()
            && state.fits(first.bytes)
            && let Some(first) = state.waiting.pop_front()
        {
            let place = self.occupy(state, first.bytes);
            // It left the line. The place is not released once more, but taken back here.
            if let Err(mut place) = first.to.send(place) {
                place.of = None;
                state.free += 1;
                state.free_bytes += place.bytes;
            }
        }
    }
}

impl InLine {
    /// Waits. First `make_room` is called to end instances that are idle, until that was enough or it returns `false`: what
    /// becomes idle after one got in line sees the line, what became so before is seen here. `None` when the wish was
    /// withdrawn.
    pub async fn wait(mut self, mut make_room: impl FnMut() -> bool) -> Option<Place> {
        let place = loop {
            match self.place.try_recv() {
                Ok(place) => break Some(place),
                Err(TryRecvError::Closed) => break None,
                Err(TryRecvError::Empty) if make_room() => {}
                Err(TryRecvError::Empty) => break (&mut self.place).await.ok(),
            }
        };
        self.served = true;
        place
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        if !self.served {
            self.place.close();
            let mut state = self.of.state.lock();
            state.waiting.retain(|waiting| !waiting.to.is_closed());
            // Who was behind may be the first now.
            self.of.serve(&mut state);
        }
    }
}

impl State {
    fn fits(&self, bytes: u64) -> bool {
        self.free > 0 && self.free_bytes >= bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.of.take() {
            let mut state = places.state.lock();
            state.free += 1;
            state.free_bytes += self.bytes;
            places.serve(&mut state);
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
