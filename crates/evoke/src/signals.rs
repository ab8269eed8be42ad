//! SIGTERM and SIGINT: the first asks for an orderly end, the second for an end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Error, Result};

/// Listens from its creation on; before that, a signal ends the process.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts to listen.
    pub fn listen() -> Result<Self> {
        let open = |kind| {
            signal(kind)
                .map_err(|cause| Error::failed("signals", format!("signals cannot be listened to: {cause}")))
        };
        Ok(Self { interrupt: open(SignalKind::interrupt())?, terminate: open(SignalKind::terminate())? })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
