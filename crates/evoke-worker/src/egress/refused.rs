//! What the kernel refused inside a namespace: connections to ports of which no entry of the list speaks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::RecvFlags;
use tokio::io::unix::AsyncFd;

/// Bytes of a packet that are looked at: two headers with options.
const PACKET_BYTES: usize = 128;
/// The TCP header without options.
const TCP_BYTES: usize = 20;

/// Both raw sockets.
#[derive(Debug)]
pub(super) struct Refusals {
    v4: Option<AsyncFd<OwnedFd>>,
    v6: Option<AsyncFd<OwnedFd>>,
}

impl Refusals {
    pub(super) fn new(v4: Option<OwnedFd>, v6: Option<OwnedFd>) -> io::Result<Self> {
        let watch = |socket: Option<OwnedFd>| socket.map(crate::sys::watch).transpose();
        Ok(Self { v4: watch(v4)?, v6: watch(v6)? })
    }

    /// Waits for a refused connection, and says where it was to go; `None` for a packet that means nothing. Safe to drop
    /// and call again.
    pub(super) async fn next(&self) -> Option<SocketAddr> {
        tokio::select! {
            to = read(self.v4.as_ref()) => to,
            to = read(self.v6.as_ref()) => to,
        }
    }

    /// Both sockets, to be asked whether there is one.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.v4, &self.v6].into_iter().flatten().map(AsFd::as_fd)
    }

    /// The next one that is here already.
    pub(super) fn next_now(&self) -> Option<SocketAddr> {
        let now = |socket: &Option<AsyncFd<OwnedFd>>| receive(socket.as_ref()?.get_ref()).ok().flatten();
        now(&self.v4).or_else(|| now(&self.v6))
    }
}

async fn read(socket: Option<&AsyncFd<OwnedFd>>) -> Option<SocketAddr> {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        // Fails only when the runtime is going down.
        let Ok(mut ready) = socket.readable().await else { return std::future::pending().await };
        if let Ok(received) = ready.try_io(|socket| receive(socket.get_ref())) {
            return received.ok().flatten();
        }
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    let mut packet = [0; PACKET_BYTES];
    let (_, length, from) = rustix::net::recvfrom(socket.as_fd(), &mut packet[..], RecvFlags::DONTWAIT)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Ok(from.and_then(|from| refused(from.ip(), &packet[..length.min(PACKET_BYTES)])))
}

/// Whoever refuses is where the connection was to go.
fn refused(from: IpAddr, packet: &[u8]) -> Option<SocketAddr> {
    let tcp = match from {
        IpAddr::V4(_) => packet.get(usize::from(packet.first()? & 0x0f) * 4..)?,
        IpAddr::V6(_) => packet,
    };
    let port = u16::from_be_bytes(tcp.get(..TCP_BYTES)?[..2].try_into().ok()?);
    Some(SocketAddr::from((from, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destination_is_the_source_of_the_refusal() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[20..22].copy_from_slice(&443u16.to_be_bytes());
        let v4: IpAddr = [192, 0, 2, 7].into();
        assert_eq!(refused(v4, &packet), Some(SocketAddr::from((v4, 443))));
        let v6: IpAddr = "2001:db8::7".parse().unwrap();
        assert_eq!(refused(v6, &packet[20..]), Some(SocketAddr::from((v6, 443))));
        assert_eq!(refused(v4, &packet[..39]), None);
        assert_eq!(refused(v4, &[]), None);
    }
}
