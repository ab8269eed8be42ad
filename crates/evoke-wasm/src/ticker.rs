//! The clock that interrupts guests: it moves while any of them runs, and stands still otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::Engine;

/// How often a running guest lets others have its thread, and is asked whether it may go on.
const TICK: Duration = Duration::from_millis(10);

/// Moves the epochs of engines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    /// The thread found nobody running, and waits to be told. A call costs no more than this look while others run.
    is_asleep: AtomicBool,
    lock: Mutex<()>,
    first: Condvar,
}

/// While it lives, the clock moves.
pub(crate) struct Running(Ticker);

impl Ticker {
    /// Starts the clock of `engines`. A thread of its own, because guests may keep all others busy; it ends with the process.
    pub fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let ticker = Self { shared: Arc::default() };
        let shared = Arc::clone(&ticker.shared);
        std::thread::Builder::new().name("evoke-epoch".to_owned()).spawn(move || {
            loop {
                shared.wait_for_first();
                let mut lock = shared.lock.lock();
                // Nobody notifies while the clock moves, so this is the time of a tick, without the lock.
                shared.first.wait_for(&mut lock, TICK);
                drop(lock);
                engines.iter().for_each(Engine::increment_epoch);
            }
        })?;
        Ok(ticker)
    }

    /// Says that a guest runs.
    pub fn run(&self) -> Running {
        let shared = &self.shared;
        shared.running.fetch_add(1, Ordering::SeqCst);
        if shared.is_asleep.load(Ordering::SeqCst) {
            // With the lock it either waits already, or has not looked yet.
            let _lock = shared.lock.lock();
            shared.first.notify_one();
        }
        Running(self.clone())
    }
}

impl Shared {
    fn wait_for_first(&self) {
        if self.running.load(Ordering::SeqCst) > 0 {
            return;
        }
        let mut lock = self.lock.lock();
        self.is_asleep.store(true, Ordering::SeqCst);
        // Whoever came before it said so is seen now; whoever comes after it finds it asleep.
        self.first.wait_while(&mut lock, |()| self.running.load(Ordering::SeqCst) == 0);
        self.is_asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}
