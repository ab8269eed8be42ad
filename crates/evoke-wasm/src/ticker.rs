//! The clock that interrupts guests: it moves while any of them runs, and stands still otherwise.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::Engine;

/// How often a running guest lets others have its thread, and is asked whether it may go on.
const TICK: Duration = Duration::from_millis(10);

/// Moves an engine's epoch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    running: Mutex<usize>,
    first: Condvar,
}

/// While it lives, the clock moves.
pub(crate) struct Running(Ticker);

impl Ticker {
    /// Starts the clock of `engine`. A thread of its own, because guests may keep all others busy; it ends with the process.
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
        let ticker = Self { shared: Arc::new(Shared { running: Mutex::new(0), first: Condvar::new() }) };
        let (shared, engine) = (Arc::clone(&ticker.shared), engine.clone());
        std::thread::Builder::new().name("evoke-epoch".to_owned()).spawn(move || {
            let mut running = shared.running.lock();
            loop {
                shared.first.wait_while(&mut running, |running| *running == 0);
                // Nobody notifies in between, so this is the time of a tick, without the lock.
                shared.first.wait_for(&mut running, TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(ticker)
    }

    /// Says that a guest runs.
    pub fn run(&self) -> Running {
        let mut running = self.shared.running.lock();
        *running += 1;
        if *running == 1 {
            self.shared.first.notify_one();
        }
        Running(self.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.shared.running.lock() -= 1;
    }
}
