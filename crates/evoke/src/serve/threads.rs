//! The threads that calls over HTTP are made on, each with a runtime of its own.
//!
//! They begin before the gateway and end after the engine: what is left of a call ends on its thread, and instances are watched by the
//! runtimes that called them last. A task that panics ends alone. A thread that ends before it is told to takes its connections with it,
//! and those that would be given to it: that is told ([`Threads::lost`]), and is the end of the server.

use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::failure;
use crate::exit::Result;

/// The threads. Dropped, they end by themselves.
pub struct Threads {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// Fires when one ends, for whatever reason.
    lost: CancellationToken,
    /// Says that all have ended.
    ended: mpsc::Receiver<()>,
    _stops: DropGuard,
}

/// Half of the processors: the other half is for what is called.
pub fn usual() -> usize {
    thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

impl Threads {
    /// Starts `count` of them.
    pub fn start(count: usize) -> Result<Self> {
        let (stop, lost) = (CancellationToken::new(), CancellationToken::new());
        let stops = stop.clone().drop_guard();
        let (running, ended) = mpsc::channel(1);
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(failure::threads)?;
            handles.push(runtime.handle().clone());
            let until = stop.clone().cancelled_owned();
            let held = (running.clone(), lost.clone().drop_guard());
            let thread = thread::Builder::new().name(format!("evoke-calls-{number}"));
            let thread = thread.spawn(move || run(runtime, until, held)).map_err(failure::threads)?;
            threads.push(thread);
        }
        Ok(Self { handles, threads, stop, _stops: stops, lost, ended })
    }

    /// Their runtimes.
    pub fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// Waits until one has ended.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Ends them, and waits until they have ended. What still runs on them is dropped.
    pub async fn end(mut self) {
        self.stop.cancel();
        while self.ended.recv().await.is_some() {}
        for thread in self.threads.drain(..) {
            // It said so as the last thing it did; a panic has been told.
            let _ = thread.join();
        }
    }
}

/// A thread: does what is spawned there, `until` then. `held` tells of its end, also by a panic.
fn run(runtime: Runtime, until: impl Future<Output = ()>, held: (mpsc::Sender<()>, DropGuard)) {
    let _held = held;
    runtime.block_on(until);
    // A look-up of a name that the system still waits for holds up nothing.
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_task_and_not_its_thread() {
        let threads = Threads::start(1).unwrap();
        let thread = &threads.handles()[0];
        assert!(thread.spawn(async { panic!("a mistake") }).await.unwrap_err().is_panic());
        assert_eq!(thread.spawn(async { 1 }).await.unwrap(), 1);
        threads.end().await;
    }

    #[tokio::test]
    async fn what_still_runs_at_the_end_is_dropped_before_it() {
        let threads = Threads::start(2).unwrap();
        let (held, mut dropped) = oneshot::channel::<()>();
        let (begun, begins) = oneshot::channel();
        threads.handles()[1].spawn(async move {
            let _held = held;
            let _ = begun.send(());
            std::future::pending::<()>().await;
        });
        begins.await.unwrap();
        threads.end().await;
        assert_eq!(dropped.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[tokio::test]
    async fn a_thread_that_ends_before_its_time_is_told_of() {
        let mut threads = Threads::start(0).unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        let (running, ended) = mpsc::channel(1);
        let held = (running, threads.lost.clone().drop_guard());
        threads.ended = ended;
        threads.threads.push(thread::spawn(move || run(runtime, async { panic!("a mistake") }, held)));
        threads.lost().await;
        threads.end().await;
    }
}
