//! Processes of a function as the kernel tells of them, in `/proc` of the host.
//!
//! An instance collects the orphans of its descendants; when it dies they become children of the zygote, or of the process
//! 1 of its pid namespace. So whatever is a child of one of these two, and neither an instance nor the zygote itself, is
//! left over from a dead instance.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(1);

/// What dead instances left.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Those that lived, and were sent SIGKILL.
    killed: Vec<OwnedFd>,
    /// Whether there are zombies, which only the zygote can collect.
    dead: bool,
}

impl Strangers {
    /// Looks for what `outer` and `program` have as children besides `known` and each other, and kills it.
    pub(super) fn kill(outer: i32, program: i32, known: &[i32]) -> Self {
        let mut found = Self::default();
        let parents = if outer == program { vec![outer] } else { vec![outer, program] };
        for parent in parents {
            for pid in children_of(parent) {
                if pid == program || known.contains(&pid) {
                    continue;
                }
                if is_zombie(pid) {
                    // Process 1 of a namespace collects by itself.
                    found.dead |= parent == program;
                } else {
                    found.killed.extend(Pid::from_raw(pid).and_then(|pid| kill(pid, parent)));
                }
            }
        }
        found
    }

    pub(super) fn none(&self) -> bool {
        self.killed.is_empty() && !self.dead
    }

    /// Waits until the killed ones are zombies. Whether they are.
    pub(super) async fn gone(self) -> bool {
        for pidfd in self.killed {
            let Ok(watched) = crate::sys::watch(pidfd) else { continue };
            if tokio::time::timeout(GONE, watched.readable()).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Sends SIGKILL to a process if it is (still) a child of `parent`.
pub(super) fn kill(pid: Pid, parent: i32) -> Option<OwnedFd> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if parent_of(pid.as_raw_nonzero().get()) != Some(parent) {
        return None;
    }
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).ok()?;
    Some(pidfd)
}

/// Direct children of a process's first thread, zombies included.
pub(super) fn children_of(pid: i32) -> Vec<i32> {
    match std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|text| text.parse().ok()).collect(),
        // A kernel without CONFIG_PROC_CHILDREN: the long way round.
        Err(_) => {
            let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .filter(|&child| parent_of(child) == Some(pid))
                .collect()
        }
    }
}

/// The program in the sandbox that `outer` is the outermost process of, as long as it has started no other: in a pid
/// namespace that process has it as its only child, elsewhere it is the same.
pub(crate) fn program_of(outer: i32) -> i32 {
    children_of(outer).first().copied().unwrap_or(outer)
}

/// Proportional set size in bytes, or what comes nearest to it; 0 when nothing can be read.
pub(crate) fn memory_of(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kib(&rollup, "Pss:").or_else(|| kib(&status(), "VmRSS:")).map_or(0, |kib| kib << 10)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

pub(super) fn parent_of(pid: i32) -> Option<i32> {
    stat(pid)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn is_zombie(pid: i32) -> bool {
    stat(pid).is_none_or(|stat| stat.trim_start().starts_with('Z'))
}

/// What follows the name in `pid (name) state ppid …`, where the name may contain anything, also parentheses.
fn stat(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat[stat.rfind(')')? + 1..].to_owned())
}
