//! The launcher's children: the instances it started, and what they left behind.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};

use super::wire::{Exit, Spawn};

/// How long [`Children::end_all`] waits for killed processes to be gone; only one stuck in the kernel takes longer.
const END_SECONDS: i64 = 5;

/// Everything whose parent is this process.
#[derive(Debug, Default)]
pub(super) struct Children {
    all: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// `None` for a remnant: a descendant of an instance that outlived it.
    instance: Option<u64>,
}

impl Children {
    /// Forks and executes. `fds` are channel, stdout and stderr.
    pub(super) fn spawn(&mut self, order: Spawn, fds: Vec<OwnedFd>) -> io::Result<(Pid, BorrowedFd<'_>)> {
        let fds: [OwnedFd; 3] =
            fds.try_into().map_err(|_| io::Error::other("a spawn request needs three file descriptors"))?;
        let [channel, stdout, stderr] = fds;
        let mut command = Command::new(&order.program);
        command.args(&order.args).env_clear().envs(order.env).current_dir(&order.cwd);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        crate::sys::confine(&mut command, channel, order.data_bytes_max);
        // The standard library waits here until exec has succeeded, or tells why it has not.
        let spawned = command.spawn()?;
        let pid = Pid::from_child(&spawned);
        // When memory runs out, functions go before anything else of the machine. Best effort.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        })?;
        self.all.push(Child { pid, pidfd, instance: Some(order.id) });
        let pidfd = self.all[self.all.len() - 1].pidfd.as_fd();
        Ok((pid, pidfd))
    }

    /// All children with the descriptors that become readable when they die.
    pub(super) fn pidfds(&self) -> impl Iterator<Item = (Pid, BorrowedFd<'_>)> {
        self.all.iter().map(|child| (child.pid, child.pidfd.as_fd()))
    }

    /// Reaps a dead child and kills what it left. For an instance: which, and how it ended.
    pub(super) fn bury(&mut self, pid: Pid) -> Option<(u64, Exit)> {
        let at = self.all.iter().position(|child| child.pid == pid)?;
        if self.all[at].instance.is_some() {
            // While its leader is a zombie the group's number belongs to nobody else.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let status = match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => exit_of(status),
            Ok(None) => return None,
            Err(_) => Exit::Unseen,
        };
        let buried = self.all.swap_remove(at);
        self.kill_remnants();
        buried.instance.map(|id| (id, status))
    }

    /// Kills everything and waits until it is gone.
    pub(super) fn end_all(mut self) {
        let until = monotonic_seconds() + END_SECONDS;
        for child in &self.all {
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
        }
        self.kill_remnants();
        while !self.all.is_empty() && monotonic_seconds() < until {
            let pids: Vec<Pid> = self.all.iter().map(|child| child.pid).collect();
            let mut fds: Vec<_> =
                self.all.iter().map(|child| PollFd::new(&child.pidfd, PollFlags::IN)).collect();
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            if rustix::event::poll(&mut fds, Some(&second)).is_err() {
                continue;
            }
            let dead: Vec<Pid> = pids
                .into_iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|(pid, _)| pid)
                .collect();
            for pid in dead {
                self.bury(pid);
            }
        }
    }

    /// Kills every child that is not an instance. Its own children come to us when it dies, and then go the same way.
    fn kill_remnants(&mut self) {
        for pid in children_of_this_process() {
            if self.all.iter().any(|child| child.pid == pid) {
                continue;
            }
            // Our own unreaped child: the number cannot belong to another process.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            if let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                self.all.push(Child { pid, pidfd, instance: None });
            }
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unseen,
    }
}

fn monotonic_seconds() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec
}

/// Direct children, zombies included.
fn children_of_this_process() -> Vec<Pid> {
    let me = rustix::process::getpid();
    let pid = |text: &str| text.parse().ok().and_then(Pid::from_raw);
    match std::fs::read_to_string(format!("/proc/self/task/{me}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(pid).collect(),
        // A kernel without CONFIG_PROC_CHILDREN: the long way round.
        Err(_) => {
            let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            all.filter_map(|entry| pid(entry.file_name().to_str()?))
                .filter(|&pid| parent_of(pid) == Some(me))
                .collect()
        }
    }
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state ppid …`, where the name may contain anything, also parentheses.
    let after_name = &stat[stat.rfind(')')? + 1..];
    Pid::from_raw(after_name.split_ascii_whitespace().nth(1)?.parse().ok()?)
}
