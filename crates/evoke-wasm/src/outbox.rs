//! Frames on their way to the host: whoever has one puts it here, the connection's task writes them.

use std::task::{Context, Waker};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use evoke_worker::frame::{Encoder, Kind};

/// Bytes that may wait before output of guests does. Bodies are bounded by their credit, and heads by their number.
const WAITING_BYTES: usize = 1 << 20;

/// The frames of one socket that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Much of it was written.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Encoder,
    /// Whom to wake when something is added; nobody while the writer is about to look by itself.
    writer: Option<Waker>,
}

impl Outbox {
    /// Adds a frame whose payload is these parts, one after the other. They must be within the bounds of its kind.
    pub fn frame(&self, kind: Kind, call: u32, parts: &[&[u8]]) {
        self.add(|to| to.parts(kind, call, parts));
    }

    /// Adds a frame whose payload is JSON. The error says why it cannot be sent.
    pub fn json<T: Serialize>(&self, kind: Kind, call: u32, payload: &T) -> Result<(), String> {
        self.add(|to| to.json(kind, call, payload)).map_err(|cause| cause.to_string())
    }

    /// Adds what `write` writes.
    pub fn add<T>(&self, write: impl FnOnce(&mut Encoder) -> T) -> T {
        let mut state = self.state.lock();
        let added = write(&mut state.waiting);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        added
    }

    /// Whether output may be added now.
    pub fn has_room(&self) -> bool {
        self.state.lock().waiting.unwritten().len() < WAITING_BYTES
    }

    /// Waits until output may be added.
    pub async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// The writer is going to look: what is added from now on need not wake it.
    pub fn attend(&self) {
        self.state.lock().writer = None;
    }

    /// Exchanges what waits with `written`, which is empty. False if nothing waits: then the writer is woken by what comes next.
    pub fn take(&self, written: &mut Encoder, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.waiting.unwritten().is_empty() {
            state.writer = Some(cx.waker().clone());
            return false;
        }
        std::mem::swap(written, &mut state.waiting);
        true
    }

    /// Much of what waited was written.
    pub fn has_emptied(&self) {
        self.emptied.notify_waiters();
    }
}
