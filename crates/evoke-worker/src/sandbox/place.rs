//! Limits for a process that was forked by one in a sandbox: it has inherited every layer, and the groups of its parent with
//! them. Memory and processes are limited per instance, so it gets groups of its own.

use std::io;

use super::cgroup::Group;
use super::enter::PROCESSES;
use super::probe::Sandbox;
use crate::gauge::Counters;

/// The groups of such a process.
#[derive(Debug)]
pub(crate) struct Place {
    group: Group,
}

/// Moves a process into groups of its own. `None` where there are none: then it has inherited resource limits instead.
/// `number` is used once in the life of a launcher.
pub(crate) fn place(
    sandbox: &Sandbox,
    number: u64,
    pid: i32,
    memory_bytes: u64,
) -> io::Result<Option<Place>> {
    let Some(group) = sandbox.group(number, memory_bytes, PROCESSES)? else { return Ok(None) };
    match group.take(pid) {
        Ok(()) => Ok(Some(Place { group })),
        Err(cause) => {
            group.remove();
            Err(cause)
        }
    }
}

impl Place {
    /// Whether the kernel has killed something in it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.group.ran_out_of_memory()
    }

    /// What is used in it.
    pub(crate) fn counters(&self) -> &Counters {
        self.group.counters()
    }

    /// Gives it back. `false` when it has to be tried again, because remnants live.
    pub(crate) fn release(&self) -> bool {
        self.group.remove()
    }
}
