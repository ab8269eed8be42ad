//! SIGTERM and SIGINT: the first asks for an orderly end, the second for an end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Error, Result};

/// Listens from its creation on; before that, a signal ends the process.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// SIGHUP, which asks a server to read its files again.
#[derive(Debug)]
pub struct HangUps(Signal);

impl HangUps {
    /// Listens from its creation on; before that, the signal ends the process.
    pub fn listen() -> Result<Self> {
        open(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        let _ = self.0.recv().await;
    }
}

fn open(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|cause| Error::failed("signals", format!("signals cannot be listened to: {cause}")))
}

impl Signals {
    /// Starts to listen.
    pub fn listen() -> Result<Self> {
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
