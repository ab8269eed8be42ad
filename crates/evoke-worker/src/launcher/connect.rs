//! What a process is connected to: its channel and its two pipes, our ends and its own.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Stdio;
use crate::interpreter::pipe_pair;

/// Our ends of what a process is connected to.
#[derive(Debug)]
pub(crate) struct Ends {
    pub channel: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Connects a process that is not there yet.
pub(crate) fn connect() -> io::Result<(Ends, Stdio)> {
    let (channel, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let (stdout, their_stdout) = pipe_pair()?;
    let (stderr, their_stderr) = pipe_pair()?;
    let stdio = Stdio { channel: theirs, stdout: their_stdout, stderr: their_stderr, network: None };
    Ok((Ends { channel, stdout, stderr }, stdio))
}
