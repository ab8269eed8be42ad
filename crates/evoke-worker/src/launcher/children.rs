//! The launcher's children: the instances it started, and what they left behind.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::wire::{Exit, Spawn};
use crate::gauge::{Counters, Reading};
use crate::sandbox::{self, Ending, Machine, Place, Sandbox, Setup, Started, Told};

/// How long [`Children::end_all`] waits for killed processes to be gone; only one stuck in the kernel takes longer.
const END_SECONDS: i64 = 5;

/// Everything whose parent is this process.
#[derive(Debug)]
pub(super) struct Children {
    sandbox: Sandbox,
    all: Vec<Child>,
    /// Dead instances whose remnants still hold something of the machine.
    unreleased: Vec<Started>,
    /// Processes that others have forked.
    placed: HashMap<u64, Place>,
    /// The same, dead.
    left: Vec<Place>,
}

/// A process that was just started.
#[derive(Debug)]
pub(super) struct Born<'a> {
    pub pid: Pid,
    pub pidfd: BorrowedFd<'a>,
    /// Of its groups, where it has some.
    pub counters: Option<&'a Counters>,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// `None` for a remnant: a descendant of an instance that outlived it.
    instance: Option<(u64, Started)>,
}

impl Children {
    pub(super) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, all: Vec::new(), unreleased: Vec::new(), placed: HashMap::new(), left: Vec::new() }
    }

    /// What they can be confined with.
    pub(super) fn machine(&self) -> &Machine {
        self.sandbox.machine()
    }

    /// Forks and executes. `fds` are as [`Spawn`] says.
    pub(super) fn spawn(&mut self, order: Spawn, fds: Vec<OwnedFd>) -> io::Result<Born<'_>> {
        let mut fds = fds.into_iter();
        let (Some(channel), Some(stdout), Some(stderr)) = (fds.next(), fds.next(), fds.next()) else {
            return Err(io::Error::other("a spawn request needs three file descriptors"));
        };
        let network = fds.next();
        let Spawn { id, program, args, env, cwd, confinement } = order;
        let setup = Setup { program, args, env, cwd, confinement, channel, stdout, stderr, network };
        let started = sandbox::start(&self.sandbox, id, &setup)?;
        let pid = started.pid;
        let pidfd = started.pidfd.try_clone()?;
        self.all.push(Child { pid, pidfd, instance: Some((id, started)) });
        let child = &self.all[self.all.len() - 1];
        let counters = child.instance.as_ref().and_then(|(_, started)| started.counters());
        Ok(Born { pid, pidfd: child.pidfd.as_fd(), counters })
    }

    /// Limits a process that another has forked. What it uses; `None` where there is nothing to limit it with.
    pub(super) fn place(&mut self, id: u64, pid: i32, memory_bytes: u64) -> io::Result<Option<&Counters>> {
        let place = sandbox::place(&self.sandbox, id, pid, memory_bytes)?;
        self.placed.extend(place.map(|place| (id, place)));
        Ok(self.placed.get(&id).map(Place::counters))
    }

    /// Such a process is dead. Whether the kernel has killed something in it for want of memory, and what it used.
    pub(super) fn leave(&mut self, id: u64) -> (bool, Reading) {
        self.left.retain(|place| !place.release());
        let Some(place) = self.placed.remove(&id) else { return (false, Reading::default()) };
        let end = (place.ran_out_of_memory(), place.counters().read());
        if !place.release() {
            self.left.push(place);
        }
        end
    }

    /// All children with the descriptors that become readable when they die.
    pub(super) fn pidfds(&self) -> impl Iterator<Item = (Pid, BorrowedFd<'_>)> {
        self.all.iter().map(|child| (child.pid, child.pidfd.as_fd()))
    }

    /// Reaps a dead child and kills what it left. For an instance: which, how it ended, and what it used.
    pub(super) fn bury(&mut self, pid: Pid) -> Option<(u64, Exit, Reading)> {
        let at = self.all.iter().position(|child| child.pid == pid)?;
        if self.all[at].instance.is_some() {
            // While its leader is a zombie the group's number belongs to nobody else.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let ended = match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Ending::of(status),
            Ok(None) => return None,
            Err(_) => None,
        };
        let buried = self.all.swap_remove(at);
        self.kill_remnants();
        self.unreleased.retain(|started| !started.release());
        let (id, mut started) = buried.instance?;
        let exit = exit_of(&mut started, ended);
        let last = started.counters().map_or_else(Reading::default, Counters::read);
        if !started.release() {
            self.unreleased.push(started);
        }
        Some((id, exit, last))
    }

    /// Kills everything and waits until it is gone.
    pub(super) fn end_all(mut self) {
        let until = monotonic_seconds() + END_SECONDS;
        for child in &self.all {
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
        }
        self.kill_remnants();
        self.end_within(until);
        self.unreleased.retain(|started| !started.release());
        self.left.extend(self.placed.drain().map(|(_, place)| place));
        self.left.retain(|place| !place.release());
    }

    fn end_within(&mut self, until: i64) {
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

fn exit_of(started: &mut Started, ended: Option<Ending>) -> Exit {
    let ending = match started.told() {
        Told::Failed(cause) => return Exit::NotStarted(cause),
        Told::Ended(ending) => Some(ending),
        Told::Nothing => ended,
    };
    match ending {
        Some(Ending::Signal(libc::SIGKILL)) if started.ran_out_of_memory() => Exit::OutOfMemory,
        Some(Ending::Signal(signal)) => Exit::Signal(signal),
        Some(Ending::Code(code)) => Exit::Code(code),
        None => Exit::Unseen,
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
