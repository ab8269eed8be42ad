//! Frames on their way to the host: whoever has one puts it here, one task writes them.

use std::io;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use evoke_worker::frame::{Encoder, Kind};

/// Bytes that may wait before output of guests does. Bodies are bounded by their credit, and heads by their number.
const WAITING_BYTES: usize = 1 << 20;

/// The frames of one socket that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Encoder>,
    /// Something waits.
    filled: Notify,
    /// Much of it was written.
    emptied: Notify,
}

impl Outbox {
    /// Adds a frame whose payload is these parts, one after the other. They must be within the bounds of its kind.
    pub fn frame(&self, kind: Kind, call: u32, parts: &[&[u8]]) {
        self.waiting.lock().parts(kind, call, parts);
        self.filled.notify_one();
    }

    /// Adds a frame whose payload is JSON. The error says why it cannot be sent.
    pub fn json<T: Serialize>(&self, kind: Kind, call: u32, payload: &T) -> Result<(), String> {
        let added = self.waiting.lock().json(kind, call, payload).map_err(|cause| cause.to_string());
        self.filled.notify_one();
        added
    }

    /// Whether output may be added now.
    pub fn has_room(&self) -> bool {
        self.waiting.lock().unwritten().len() < WAITING_BYTES
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

    /// Writes what is there and what comes, until `end` and all is written, or the socket fails.
    pub async fn write(&self, mut socket: OwnedWriteHalf, end: CancellationToken) -> io::Result<()> {
        let mut taken = Encoder::default();
        loop {
            std::mem::swap(&mut taken, &mut *self.waiting.lock());
            if taken.unwritten().is_empty() {
                if end.is_cancelled() {
                    return Ok(());
                }
                tokio::select! {
                    () = self.filled.notified() => {}
                    () = end.cancelled() => {}
                }
                continue;
            }
            let bytes = taken.unwritten().len();
            socket.write_all(taken.unwritten()).await?;
            taken.advance(bytes);
            self.emptied.notify_waiters();
        }
    }
}
