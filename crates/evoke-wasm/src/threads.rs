//! The threads that sockets of functions are served on, each with a runtime of its own.
//!
//! Calls that are over at once are made there, and nothing wakes another thread for them. What computes goes on elsewhere, so that
//! the host is heard, and neighbours are answered, while guests do.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::task::TaskTracker;

/// Turns of its scheduler after which a thread looks for what has arrived. Calls may have a millisecond each, guests that compute a
/// tick, so with the usual 61 the host's words would wait for half a second.
pub(crate) const TURNS: u32 = 8;

/// Those there are. They end with the process.
pub(crate) struct Threads(Vec<Thread>);

struct Thread {
    runtime: Handle,
    tasks: TaskTracker,
    /// Held by each connection besides us.
    connections: Arc<()>,
}

impl Threads {
    /// Each has a handful of open files.
    const MAX: usize = 8;

    /// Half of the processors: the other half is for who calls, and for what computes.
    pub fn usual() -> usize {
        thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).clamp(1, Self::MAX))
    }

    /// Starts `count` of them.
    pub fn start(count: usize) -> io::Result<Self> {
        let start = |number| {
            let runtime =
                Builder::new_current_thread().enable_io().enable_time().event_interval(TURNS).build()?;
            let thread = Thread {
                runtime: runtime.handle().clone(),
                tasks: TaskTracker::new(),
                connections: Arc::default(),
            };
            thread::Builder::new()
                .name(format!("evoke-sockets-{number}"))
                .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
            Ok(thread)
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Serves a connection on the thread with the fewest.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let fewest = self.0.iter().min_by_key(|thread| Arc::strong_count(&thread.connections));
        let Thread { runtime, tasks, connections } = fewest.expect("there is one at least");
        let counted = Arc::clone(connections);
        tasks.spawn_on(
            async move {
                connection.await;
                drop(counted);
            },
            runtime,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn connections_are_spread_over_the_threads_and_make_room_when_they_end() {
        let threads = Threads::start(2).unwrap();
        let (tell, told) = mpsc::channel();
        let connect = || {
            let (close, closed) = oneshot::channel::<()>();
            let tell = tell.clone();
            threads.spawn(async move {
                tell.send(thread::current().id()).unwrap();
                let _ = closed.await;
                tell.send(thread::current().id()).unwrap();
            });
            (told.recv().unwrap(), close)
        };
        let mut open: Vec<_> = (0..6).map(|_| connect()).collect();
        let mut on = HashMap::new();
        open.iter().for_each(|(thread, _)| *on.entry(*thread).or_insert(0) += 1);
        assert_eq!(on.into_values().collect::<Vec<_>>(), [3, 3]);

        let first = open[0].0;
        for (_, close) in open.extract_if(.., |(thread, _)| *thread == first) {
            close.send(()).unwrap();
            told.recv().unwrap();
        }
        assert_eq!(connect().0, first);
    }
}
