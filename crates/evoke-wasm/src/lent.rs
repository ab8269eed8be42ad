//! Connections that the host lends: asked for on a function's socket, handed over on the process's own.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Those that are on their way to this process.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    last: AtomicU64,
    awaited: Mutex<HashMap<u64, oneshot::Sender<OwnedFd>>>,
}

/// A place for one. Dropping it gives it up: what still comes is closed.
#[derive(Debug)]
pub(crate) struct Awaited<'a> {
    pub number: u64,
    lent: &'a Lent,
    socket: oneshot::Receiver<OwnedFd>,
}

impl Lent {
    /// A place for one that is going to be asked for.
    pub fn expect(&self) -> Awaited<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (to, socket) = oneshot::channel();
        self.awaited.lock().insert(number, to);
        Awaited { number, lent: self, socket }
    }

    /// One has come.
    pub fn take(&self, number: u64, socket: OwnedFd) {
        if let Some(awaited) = self.awaited.lock().remove(&number) {
            // Whoever does not wait any more does not need it.
            let _ = awaited.send(socket);
        }
    }
}

impl Awaited<'_> {
    /// Waits for it.
    pub async fn socket(&mut self) -> Option<OwnedFd> {
        (&mut self.socket).await.ok()
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.lent.awaited.lock().remove(&self.number);
    }
}
