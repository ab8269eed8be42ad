//! Processes that were started before anybody wanted them, one for each function whose instances are not forked. Such a
//! process is in its function's sandbox, its interpreter is up, and it loads the code when an instance is wanted.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::runtime::InstanceSpec;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::egress::Egress;
use crate::launcher::{Ends, Process};
use crate::zygote::{Ground, memory_of, program_of};

/// A process that waits for `INIT`.
#[derive(Debug)]
pub(super) struct Booted {
    pub process: Process,
    pub ends: Ends,
    pub egress: Option<Egress>,
    pub ground: Ground,
}

/// All of them, under the bounds of zygotes.
#[derive(Debug)]
pub(super) struct Ahead {
    waiting: Arc<parking_lot::Mutex<Waiting>>,
    count_max: usize,
    bytes_max: u64,
    idle: Duration,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The oldest first.
    all: Vec<One>,
    last: u64,
    closed: bool,
}

#[derive(Debug)]
struct One {
    number: u64,
    spec: Arc<InstanceSpec>,
    booted: Booted,
    /// Ends the task that waits for it to be too old.
    _gone: DropGuard,
}

impl Ahead {
    pub(super) fn new(limits: &Limits, tasks: TaskTracker) -> Self {
        Self {
            waiting: Arc::default(),
            count_max: limits.zygotes,
            bytes_max: limits.zygote_bytes,
            idle: limits.zygote_idle,
            tasks,
        }
    }

    /// The one for this function, if it still lives.
    pub(super) fn take(&self, spec: &InstanceSpec) -> Option<Booted> {
        let all = &mut self.waiting.lock().all;
        let at = all.iter().position(|one| *one.spec == *spec)?;
        let booted = all.remove(at).booted;
        (!booted.process.has_exited()).then_some(booted)
    }

    /// Whether there is one for this function.
    pub(super) fn has(&self, spec: &InstanceSpec) -> bool {
        self.waiting.lock().all.iter().any(|one| *one.spec == *spec)
    }

    /// Keeps it until it is taken, too old, or has to give way to others.
    pub(super) fn put(&self, spec: &Arc<InstanceSpec>, booted: Booted) {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.all.iter().any(|one| one.spec == *spec) {
            return;
        }
        waiting.last += 1;
        let (number, gone) = (waiting.last, CancellationToken::new());
        let spec = Arc::clone(spec);
        waiting.all.push(One { number, spec, booted, _gone: gone.clone().drop_guard() });
        let bytes =
            |all: &[One]| all.iter().map(|one| memory_of(program_of(one.booted.process.pid))).sum::<u64>();
        let too_many = |all: &[One]| all.len() > self.count_max || bytes(all) > self.bytes_max;
        while !waiting.all.is_empty() && too_many(&waiting.all) {
            waiting.all.remove(0);
        }
        drop(waiting);
        let (waiting, idle) = (Arc::clone(&self.waiting), self.idle);
        self.tasks.spawn(async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = tokio::time::sleep(idle) => waiting.lock().all.retain(|one| one.number != number),
            }
        });
    }

    /// Ends all of them.
    pub(super) fn clear(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.all.clear();
    }
}
