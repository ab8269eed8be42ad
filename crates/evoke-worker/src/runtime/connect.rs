//! What a process is connected to: its channel and its two pipes, our ends and its own.

use std::os::fd::OwnedFd;

use evoke_core::outcome::Failure;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::init_error;
use crate::interpreter::pipe_pair;
use crate::launcher::Stdio;

/// Our ends of what a process is connected to.
#[derive(Debug)]
pub(super) struct Ends {
    pub channel: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Connects a process that is not there yet.
pub(super) fn connect() -> Result<(Ends, Stdio), Failure> {
    let failure = |cause: std::io::Error| init_error(format!("its process cannot be connected: {cause}"));
    let (channel, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|cause| failure(cause.into()))?;
    let (stdout, their_stdout) = pipe_pair().map_err(failure)?;
    let (stderr, their_stderr) = pipe_pair().map_err(failure)?;
    let stdio = Stdio { channel: theirs, stdout: their_stdout, stderr: their_stderr, network: None };
    Ok((Ends { channel, stdout, stderr }, stdio))
}
