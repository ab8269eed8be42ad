//! A socket over which several calls run at once: one task owns it, and the pipes of its process, and passes frames on by the number
//! of their call. Each call has a lane with a [`Link`] of its own, which the exchange cannot tell from a socket.
//!
//! What lanes send is put together: whoever adds to what waits wakes the task, which has its turn after all who are ready by then,
//! and writes once for all of them. Where there are [`TOGETHER`], or no more to be expected, whoever comes last writes by himself, so that
//! the other side need not wait for the rest. In the same way one read brings the answers of several.
//!
//! A lane that does not take what it is sent holds up the others: they share a socket, and nothing may pile up here.

mod own;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use evoke_core::origin::Present;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::inbox::Inbox;
use super::link::Link;
use super::{Between, Parts};
use crate::frame::{Encoder, Kind, UNREAD_BYTES};
use crate::socket::send_now;

use own::{Own, Turn};

/// Lanes whose frames are written together. More would save little, and the other side would have nothing to do meanwhile.
const TOGETHER: usize = 4;

/// The lanes' side of a socket. When it is dropped the socket is closed, and its process ends if it has no other.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Arc<Shared>,
    /// The task, until it has begun.
    own: Mutex<Option<Own>>,
    tasks: TaskTracker,
    runtime: Handle,
}

/// What the lanes and the task have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Calls under way.
    calls: Mutex<BTreeMap<u32, Place>>,
    last_call: AtomicU32,
    departures: Mutex<Departures>,
    /// The socket, for who writes by himself.
    socket: Option<Arc<OwnedFd>>,
    /// Some of what waited has been taken.
    room: Notify,
    /// The calls that run in the network of the process.
    present: Option<Arc<Present>>,
    /// Why it was ended, if a call of it is to blame.
    ended_by: OnceLock<String>,
}

/// Who listens to a call.
#[derive(Debug)]
enum Place {
    Lane(Arc<Inbox>),
    /// Nobody any more; since then, as far as the task has seen it.
    GivenUp(Option<Instant>),
}

/// Frames of all lanes on their way out.
#[derive(Debug, Default)]
struct Departures {
    waiting: Encoder,
    /// How many lanes have added to them.
    added: usize,
    /// The task is in the middle of earlier ones.
    is_writing: bool,
    /// Nobody wants the socket any more.
    is_unwanted: bool,
    /// A call was given up, which the task does not know yet.
    gave_up: bool,
    /// The task has seen them, and let others go first who may have more.
    were_seen: bool,
    /// The task is gone.
    is_closed: bool,
    task: Option<Waker>,
}

/// A call's entry in the hub. Dropping it before its last frame has come gives the call up.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: u32,
    shared: Arc<Shared>,
}

impl Hub {
    /// Takes charge of a process; or of a connection to one: then `guests` are what runs there, which the process can end one by one.
    pub(super) fn new(parts: Parts, function: String, guests: bool, tasks: TaskTracker) -> Self {
        let (present, socket) = (parts.output.present(), parts.link.socket());
        let shared = Arc::new(Shared { present, socket, ..Shared::default() });
        let own = Own {
            parts,
            between: Between::new(function),
            shared: Arc::clone(&shared),
            guests,
            overdue: None,
        };
        let hub = Self { shared, own: Mutex::new(Some(own)), tasks, runtime: Handle::current() };
        if !guests {
            // A process may write, and end, before it is called.
            hub.begin();
        }
        hub
    }

    /// Begins the task here: where calls are made, it wakes no other thread for them.
    fn begin(&self) {
        if let Some(mut own) = self.own.lock().take() {
            own.parts.settle();
            self.tasks.spawn(own.run());
        }
    }

    /// What links of lanes have of it.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The calls that run in the network of the process.
    pub(super) fn present(&self) -> Option<Arc<Present>> {
        self.shared.present.clone()
    }

    /// The next call, to which `inbox` belongs from now on.
    pub(super) fn enter(&self, inbox: &Arc<Inbox>) -> Entry {
        self.begin();
        inbox.clear();
        let mut calls = self.shared.calls.lock();
        let id = loop {
            let id = self.shared.last_call.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            // Call 0 is the connection itself; after four billion calls numbers come again.
            if id != 0 && !calls.contains_key(&id) {
                break id;
            }
        };
        calls.insert(id, Place::Lane(Arc::clone(inbox)));
        drop(calls);
        if self.shared.departures.lock().is_closed {
            inbox.close();
        }
        Entry { id, shared: Arc::clone(&self.shared) }
    }

    /// Whether the process can be talked to.
    pub(super) fn is_open(&self) -> bool {
        !self.shared.departures.lock().is_closed && self.shared.ended_by.get().is_none()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let mut departures = self.shared.departures.lock();
        departures.is_unwanted = true;
        departures.wake();
        drop(departures);
        if let Some(own) = self.own.lock().take() {
            self.tasks.spawn_on(own.run(), &self.runtime);
        }
    }
}

impl Shared {
    /// Takes over what `frames` has, of the call of `inbox`, if there is room for it. An error when nobody will write it.
    pub(super) fn depart(&self, frames: &mut Encoder, inbox: &Inbox) -> io::Result<bool> {
        let mut departures = self.departures.lock();
        if departures.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if departures.waiting.unwritten().len() >= UNREAD_BYTES {
            return Ok(false);
        }
        departures.waiting.whole(frames.unwritten());
        frames.advance(frames.unwritten().len());
        inbox.begun();
        departures.added += 1;
        // Others may have more; but the other side is not to wait for all of them.
        if departures.added < TOGETHER.min(self.calls.lock().len()) || !self.write(&mut departures) {
            departures.wake();
        }
        Ok(true)
    }

    /// Writes what waits at once, without the task. False if that is for the task to do.
    fn write(&self, departures: &mut Departures) -> bool {
        let Some(socket) = self.socket.as_ref().filter(|_| !departures.is_writing) else { return false };
        match send_now(socket.as_fd(), departures.waiting.unwritten()) {
            Ok(written) => departures.waiting.advance(written),
            // The task finds out what it is.
            Err(_) => return false,
        }
        departures.added = 0;
        departures.waiting.unwritten().is_empty()
    }

    /// The same as soon as there is room. Safe to drop and call again.
    pub(super) async fn departed(&self, frames: &mut Encoder, inbox: &Inbox) -> io::Result<()> {
        loop {
            let mut room = pin!(self.room.notified());
            // Told of room from here on, though it does not wait yet.
            room.as_mut().enable();
            if self.depart(frames, inbox)? {
                return Ok(());
            }
            room.await;
        }
    }
}

impl Shared {
    /// Writes what waits, and reads. Once all is written, the task is woken by what is added.
    fn poll(&self, link: &mut Link, cx: &mut Context<'_>) -> Poll<Turn> {
        loop {
            let has_room = link.poll_flush(cx).is_ready();
            let mut departures = self.departures.lock();
            departures.is_writing = !has_room;
            if departures.is_unwanted {
                return Poll::Ready(Turn::Unwanted);
            }
            if std::mem::take(&mut departures.gave_up) {
                return Poll::Ready(Turn::GivenUp);
            }
            if !has_room || departures.waiting.unwritten().is_empty() {
                departures.task = Some(cx.waker().clone());
                break;
            }
            if !departures.were_seen && self.calls.lock().len() > 1 {
                departures.were_seen = true;
                cx.waker().wake_by_ref();
                break;
            }
            (departures.were_seen, departures.is_writing, departures.added) = (false, true, 0);
            std::mem::swap(&mut link.encoder, &mut departures.waiting);
            drop(departures);
            self.room.notify_waiters();
        }
        // An error is the end of it as well, and noted as that.
        link.poll_read(cx).map(|_| Turn::Read)
    }
}

impl Departures {
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl Entry {
    /// Notes that the process is being ended for this call's sake.
    pub(super) fn blame(&self, words: String) {
        // The first is the cause.
        let _ = self.shared.ended_by.set(words);
    }

    /// Why the process was ended, if a call is to blame.
    pub(super) fn blamed(&self) -> Option<&str> {
        self.shared.ended_by.get().map(String::as_str)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut calls = self.shared.calls.lock();
        // What the other side has not heard of, or has said the last word of, it says no more of: also if nobody has taken that word.
        let is_over = !matches!(calls.get(&self.id), Some(Place::Lane(inbox)) if inbox.is_under_way());
        let former = match is_over {
            true => calls.remove(&self.id),
            false => calls.insert(self.id, Place::GivenUp(None)),
        };
        drop(calls);
        if let Some(Place::Lane(inbox)) = former {
            // Who waits for room in it need not any more.
            inbox.clear();
        }
        if !is_over {
            let mut departures = self.shared.departures.lock();
            // However much waits: it is small, and there is one a call.
            departures.waiting.frame(Kind::Cancel, self.id, b"cancelled");
            departures.gave_up = true;
            departures.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::own::Ending;
    use super::*;
    use crate::frame::Frame;

    fn enter(shared: &Arc<Shared>, id: u32, inbox: &Arc<Inbox>) -> Entry {
        inbox.clear();
        shared.calls.lock().insert(id, Place::Lane(Arc::clone(inbox)));
        Entry { id, shared: Arc::clone(shared) }
    }

    #[test]
    fn of_a_call_that_never_left_no_end_is_awaited() {
        let (shared, inbox) = (Arc::new(Shared::default()), Arc::new(Inbox::default()));
        let mut frames = Encoder::default();
        let entry = enter(&shared, 1, &inbox);
        frames.frame(Kind::Invoke, 1, b"");
        assert!(shared.depart(&mut frames, &inbox).unwrap());
        drop(entry);
        assert!(matches!(shared.calls.lock()[&1], Place::GivenUp(None)), "it was sent, and will end");

        let entry = enter(&shared, 2, &inbox);
        shared.departures.lock().waiting.whole(&vec![0; UNREAD_BYTES]);
        let waiting = || shared.departures.lock().waiting.unwritten().len();
        let before = waiting();
        frames.frame(Kind::Invoke, 2, b"");
        assert!(!shared.depart(&mut frames, &inbox).unwrap());
        drop(entry);
        assert!(!shared.calls.lock().contains_key(&2));
        assert_eq!(waiting(), before, "nobody is told of its end");
    }

    #[test]
    fn of_a_call_whose_last_word_nobody_took_no_other_is_awaited() {
        let (shared, inbox) = (Arc::new(Shared::default()), Arc::new(Inbox::default()));
        for kind in [Kind::Done, Kind::Error] {
            let entry = enter(&shared, 1, &inbox);
            let mut frames = Encoder::default();
            frames.frame(Kind::Invoke, 1, b"");
            assert!(shared.depart(&mut frames, &inbox).unwrap());
            let last = Frame { kind, call: 1, payload: bytes::Bytes::new() };
            inbox.push(last, &Context::from_waker(Waker::noop())).unwrap();
            // More of the request's body, say.
            frames.frame(Kind::BodyEnd, 1, b"");
            assert!(shared.depart(&mut frames, &inbox).unwrap());
            drop(entry);
            assert!(shared.calls.lock().is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn when_the_task_is_gone_its_calls_know() {
        let (shared, inbox) = (Arc::new(Shared::default()), Arc::new(Inbox::default()));
        let _entry = enter(&shared, 1, &inbox);
        let cx = Context::from_waker(Waker::noop());
        assert!(inbox.poll_frame(&cx).is_pending());
        drop(Ending(Arc::clone(&shared)));
        assert_eq!(inbox.poll_frame(&cx), Poll::Ready(false));
        assert!(shared.depart(&mut Encoder::default(), &inbox).is_err());
    }
}
