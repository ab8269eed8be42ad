//! Who a forked instance is. A zygote may live in a pid namespace of its own and knows other numbers than we do, and what
//! it says is the word of the function. So the kernel is asked: it notes the sender beside what comes over a socket, in the
//! receiver's numbers (`SO_PASSCRED`, unix(7)).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Pid, PidfdFlags};
use tokio::io::unix::AsyncFd;

use super::orphans;
use crate::frame::{Decoder, HEADER_BYTES, Kind};

/// A socket on which an instance is going to say hello.
#[derive(Debug)]
pub(super) struct Awaited {
    socket: AsyncFd<OwnedFd>,
}

impl Awaited {
    /// Must be made before the other end is given away.
    pub(super) fn new(channel: OwnedFd) -> io::Result<Self> {
        rustix::net::sockopt::set_socket_passcred(&channel, true)?;
        rustix::io::ioctl_fionbio(&channel, true)?;
        Ok(Self { socket: crate::sys::watch(channel)? })
    }

    /// Waits for it. The process must be a child of `parent`.
    pub(super) async fn received(self, parent: i32) -> io::Result<(Pid, OwnedFd, OwnedFd)> {
        let pid = loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| receive(socket.get_ref())) {
                break received?;
            }
        };
        // Between the two lines the process may have died and its number been given away: hence the look at its parent.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        if orphans::parent_of(pid.as_raw_nonzero().get()) != Some(parent) {
            return Err(io::Error::other("the process that said hello was not forked for it"));
        }
        let channel = self.socket.into_inner();
        rustix::net::sockopt::set_socket_passcred(&channel, false)?;
        Ok((pid, pidfd, channel))
    }
}

/// Reads the frame and not a byte more: what follows is read by others.
fn receive(socket: &OwnedFd) -> io::Result<Pid> {
    let mut bytes = [0; HEADER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let got = rustix::net::recvmsg(socket.as_fd(), &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
        _ => None,
    });
    let mut decoder = Decoder::default();
    decoder.space(HEADER_BYTES).extend_from_slice(&bytes[..got.bytes]);
    match decoder.take() {
        Ok(Some(frame)) if frame.kind == Kind::Hello => {}
        _ if got.bytes == 0 => return Err(io::Error::other("the forked process ended at once")),
        _ => return Err(io::Error::other("the forked process did not say hello")),
    }
    sender.ok_or_else(|| io::Error::other("the kernel did not say who said hello"))
}
