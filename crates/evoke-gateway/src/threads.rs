//! On which thread a connection is served.
//!
//! A call is made in the task of its connection ([`listener`](crate::listener)), and waits in turns for its client and for its instance. On a runtime with several
//! threads each wake-up may hand the task to another one, which costs as much as all else of a small call. So the data listener's
//! connections can be given runtimes with one thread each: a connection stays with its thread, and so does what its calls wait for.

use std::sync::Arc;

use tokio::runtime::Handle;

/// The runtimes that connections are spread over.
pub(crate) struct Threads(Vec<Thread>);

struct Thread {
    runtime: Handle,
    /// Held by each connection besides us.
    connections: Arc<()>,
}

/// The place of a connection on a thread, until it is dropped.
pub(crate) struct Seat {
    pub runtime: Handle,
    _counted: Arc<()>,
}

impl Threads {
    /// Without any, all is done in the runtime this is called in.
    pub fn new(runtimes: Vec<Handle>) -> Self {
        let runtimes = if runtimes.is_empty() { vec![Handle::current()] } else { runtimes };
        let thread = |runtime| Thread { runtime, connections: Arc::default() };
        Self(runtimes.into_iter().map(thread).collect())
    }

    /// Where connections are accepted: a server with one such thread never hands one on.
    pub fn first(&self) -> &Handle {
        &self.0[0].runtime
    }

    /// A seat on the thread with the fewest connections.
    pub fn seat(&self) -> Seat {
        let fewest = self.0.iter().min_by_key(|thread| Arc::strong_count(&thread.connections));
        let Thread { runtime, connections } = fewest.expect("there is one at least");
        Seat { runtime: runtime.clone(), _counted: connections.clone() }
    }
}
