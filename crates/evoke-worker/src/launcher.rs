//! The small process all instances are forked from, and the host's handle on it.
//!
//! The host is multi-threaded and large; a fork of it would be slow, and what may run between its fork and exec is next
//! to nothing. So it forks once, at start-up, into this: one thread, no allocator tricks, a SEQPACKET socket to the host
//! as its standard input. It owns the life and death of instances:
//!
//! * each instance leads a session and process group of its own, and dies with the launcher (`PR_SET_PDEATHSIG`);
//! * each instance is the subreaper of its descendants, the launcher that of the instances. So when an instance dies, all
//!   that is left below it becomes a child of the launcher, and whatever child the launcher did not start is such a
//!   remnant: it is killed, in whatever session or group it hides;
//! * each instance is in a sandbox ([`crate::sandbox`]), made in its own process before its program runs. In a pid namespace
//!   nothing can outlive it in the first place, and its process 1 tells how it ended;
//! * when the socket closes, because the host ended or was killed, everything is killed and the launcher ends.

mod children;
mod client;
mod connect;
mod process;
mod wire;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, Rlimit};

pub(crate) use client::{Launcher, Placed, Stdio, WeakLauncher};
pub(crate) use connect::{Ends, connect};
pub(crate) use process::{Connection, Death, Obituary, Process};
pub(crate) use wire::{Exit, Spawn};

use crate::gauge::{Counters, Sent};
use crate::sandbox::Sandbox;
use children::{Born, Children};
use wire::{Ask, Notice};

/// What `evoke worker launcher` does, with the host's socket as standard input. Returns when the host is gone and
/// everything it started is dead.
pub fn main() -> ExitCode {
    match run(io::stdin().as_fd()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("evoke worker launcher: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(host: BorrowedFd<'_>) -> io::Result<()> {
    if rustix::net::sockopt::socket_domain(host) != Ok(rustix::net::AddressFamily::UNIX) {
        return Err(io::Error::other(
            "this is started by evoke itself: its standard input must be a socket of the host",
        ));
    }
    // Ctrl-C in a terminal is for the host alone. Fails only for a group leader, which nobody makes us but a shell.
    let _ = rustix::process::setsid();
    crate::sys::ignore_group_signals();
    // One descriptor per child, and whatever a burst of remnants takes.
    let files = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })?;
    crate::sys::close_on_exec_from_3()?;
    let _three_is_taken = occupy_three()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;

    let mut children = Children::new(Sandbox::probe());
    let served = serve(host, &mut children);
    children.end_all();
    served
}

/// See [`crate::sys::place_channel`]. One of the two is at the number, unless somebody else was there before.
fn occupy_three() -> io::Result<[OwnedFd; 2]> {
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    let next = rustix::io::fcntl_dupfd_cloexec(&null, crate::sys::CHANNEL_FD)?;
    Ok([null, next])
}

fn serve(host: BorrowedFd<'_>, children: &mut Children) -> io::Result<()> {
    let mut buffer = vec![0; wire::MESSAGE_BYTES_MAX];
    tell(host, &Notice::Ready { machine: children.machine().clone() }, &[])?;
    loop {
        let (host_speaks, dead) = wait(host, children)?;
        for pid in dead {
            if let Some((id, exit, last)) = children.bury(pid) {
                tell(host, &Notice::Exited { id, exit, last }, &[])?;
            }
        }
        if host_speaks {
            let Some((ask, fds)) = wire::receive::<Ask>(host, &mut buffer)? else { return Ok(()) };
            match ask {
                Ask::Spawn(order) => {
                    let id = order.id;
                    match children.spawn(*order, fds) {
                        Ok(Born { pid, pidfd, counters }) => {
                            let fds: Vec<_> = [pidfd]
                                .into_iter()
                                .chain(counters.into_iter().flat_map(Counters::fds))
                                .collect();
                            let counters = counters.map_or_else(Sent::default, Counters::sent);
                            let pid = pid.as_raw_nonzero().get();
                            tell(host, &Notice::Spawned { id, pid, counters }, &fds)?
                        }
                        Err(cause) => tell(host, &Notice::Refused { id, cause: cause.to_string() }, &[])?,
                    }
                }
                Ask::Place { id, pid, memory_bytes } => match children.place(id, pid, memory_bytes) {
                    Ok(counters) => {
                        let fds: Vec<_> = counters.into_iter().flat_map(Counters::fds).collect();
                        let counters = counters.map(Counters::sent);
                        tell(host, &Notice::Placed { id, counters }, &fds)?
                    }
                    Err(cause) => tell(host, &Notice::Refused { id, cause: cause.to_string() }, &[])?,
                },
                Ask::Leave { id } => {
                    let (out_of_memory, last) = children.leave(id);
                    tell(host, &Notice::Left { id, out_of_memory, last }, &[])?
                }
            }
        }
    }
}

/// Waits until the host has said something or a child has died.
fn wait(host: BorrowedFd<'_>, children: &Children) -> io::Result<(bool, Vec<rustix::process::Pid>)> {
    let mut fds = vec![PollFd::from_borrowed_fd(host, PollFlags::IN)];
    fds.extend(children.pidfds().map(|(_, pidfd)| PollFd::from_borrowed_fd(pidfd, PollFlags::IN)));
    match rustix::event::poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(cause) => return Err(cause.into()),
    }
    let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    let dead =
        children.pidfds().zip(&fds[1..]).filter(|(_, fd)| ready(fd)).map(|((pid, _), _)| pid).collect();
    Ok((ready(&fds[0]), dead))
}

/// Tells the host. It reads all the time, so waiting for room is short; when it is gone, the next poll says so.
fn tell(host: BorrowedFd<'_>, notice: &Notice, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        match wire::send(host, notice, fds) {
            Ok(()) => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                let mut room = [PollFd::from_borrowed_fd(host, PollFlags::OUT)];
                rustix::event::poll(&mut room, None)?;
            }
            Err(cause) => return Err(cause),
        }
    }
}
