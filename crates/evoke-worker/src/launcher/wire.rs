//! What host and launcher say to each other: JSON messages on a SEQPACKET socket, with file descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use crate::gauge::{Reading, Sent};
use crate::sandbox::{Confinement, Machine};

/// Bytes of one message; below the kernel's default for a unix socket's send buffer.
pub(crate) const MESSAGE_BYTES_MAX: usize = 160 << 10;
/// File descriptors beside one message.
const FDS_MAX: usize = 4;

/// From the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Start a process.
    Spawn(Box<Spawn>),
    /// Limit a process that another has forked.
    Place {
        /// Names it in the answers.
        id: u64,
        /// Its process id.
        pid: i32,
        /// Memory of it and all that it starts, in bytes.
        memory_bytes: u64,
    },
    /// Such a process is dead.
    Leave {
        /// Which.
        id: u64,
    },
}

/// Start a process. Descriptors come along: its end of the channel, its stdout, its stderr, and for a network
/// of its own the socket through which that network's sockets leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spawn {
    /// Names it in the answers.
    pub id: u64,
    /// Absolute path.
    pub program: String,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: String,
    /// Its sandbox; `None` for the operator's own programs.
    pub confinement: Option<Confinement>,
}

/// From the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// It listens, on a machine like this.
    Ready {
        /// What processes can be confined with.
        machine: Machine,
    },
    /// The process runs. Its pidfd comes along, then the counters of its groups.
    Spawned {
        /// Which.
        id: u64,
        /// Its process id.
        pid: i32,
        /// Which counters.
        counters: Sent,
    },
    /// It could not be started.
    Refused {
        /// Which.
        id: u64,
        /// Why.
        cause: String,
    },
    /// A forked process has been placed. The counters of its groups come along.
    Placed {
        /// Which.
        id: u64,
        /// Which counters; `None` where there is nothing to limit it with.
        counters: Option<Sent>,
    },
    /// A forked process has left its place.
    Left {
        /// Which.
        id: u64,
        /// The kernel has killed something in it for want of memory.
        out_of_memory: bool,
        /// What it used.
        last: Reading,
    },
    /// It is dead, and its process group with it.
    Exited {
        /// Which.
        id: u64,
        /// How.
        exit: Exit,
        /// What it used.
        last: Reading,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Exit {
    /// It never ran: this stood against it.
    NotStarted(String),
    /// Killed by the kernel when it reached its memory limit.
    OutOfMemory,
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// With the process it was forked from; how that one ended, in words.
    With(String),
    /// Unknown: the launcher died, and the process with it.
    Unseen,
}

/// Sends one message, or says [`io::ErrorKind::WouldBlock`].
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        let text = format!(
            "{} bytes of arguments and environment are above the limit of {MESSAGE_BYTES_MAX}",
            bytes.len()
        );
        return Err(io::Error::new(io::ErrorKind::ArgumentListTooLong, text));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many file descriptors for one message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message into `buffer` (of [`MESSAGE_BYTES_MAX`]) with its descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: for<'de> Deserialize<'de>>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            // A peer that was killed with messages unread resets the connection.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is longer than the buffer"));
    }
    Ok(Some((serde_json::from_slice(&buffer[..got.bytes])?, fds)))
}
