//! Who may use a runtime API where functions have no network of their own.
//!
//! Then it listens on the machine's loopback interface, which every process can reach. The kernel tells which user a
//! connection comes from, so only the function's own is let in. Where functions are no users of their own either, that
//! is the server's user: see `docs/decisions/0008-runtime-api-inside.md`.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use tokio::net::TcpStream;

/// The kernel's list of connections of this network namespace.
const CONNECTIONS: &str = "/proc/net/tcp";

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Everybody who can: nobody else is in that network.
    Namespace,
    /// Processes of this user.
    User(u32),
}

impl Guard {
    /// Whether this connection is the function's. Reads from `/proc` where it must.
    pub(super) fn admits(self, stream: &TcpStream, peer: SocketAddr) -> bool {
        let Self::User(user) = self else { return true };
        let Ok(here) = stream.local_addr() else { return false };
        let connections = std::fs::read_to_string(CONNECTIONS).unwrap_or_default();
        owner(&connections, peer, here) == Some(user)
    }
}

/// Whose the socket is that is bound to `local` and connected to `remote`.
fn owner(connections: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    connections.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let ends = (address(fields.next()?)?, address(fields.next()?)?);
        // State, queues, timer, retransmissions, user.
        (ends == (local, remote)).then(|| fields.nth(4)?.parse().ok())?
    })
}

/// `0100007F:2329`: the address as the machine's own number, the port in network order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    match IpAddr::from(ip) {
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, port).into()),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_that_of_the_user_who_made_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let me = rustix::process::geteuid().as_raw();
        assert!(Guard::User(me).admits(&stream, peer));
        assert!(!Guard::User(me + 1).admits(&stream, peer));
        assert!(Guard::Namespace.admits(&stream, peer));
        drop(client);
    }
}
