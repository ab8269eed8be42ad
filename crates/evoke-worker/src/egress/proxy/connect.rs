//! From an allowed destination to a connection: look up, check, connect to the very address that was checked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::egress::{Destination, Host, Reach, Refused};
use tokio::net::TcpStream;

use super::super::{Node, Why};

/// How long one of several addresses is waited for before the next is tried.
const NEXT_ADDRESS: Duration = Duration::from_secs(2);

/// Connects. The caller bounds the time.
pub(in crate::egress) async fn connect(
    destination: &Destination,
    reach: Reach,
    node: &Arc<Node>,
) -> Result<TcpStream, Why> {
    let addresses = match &destination.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => look_up(name.clone(), node).await?,
    };
    // Each address is checked, and none is looked up again: what was checked is what is connected to.
    let mut closed = None;
    let mut open = Vec::with_capacity(addresses.len());
    for address in addresses {
        match check(address, reach, node) {
            Ok(()) => open.push(address),
            Err(refused) => closed = closed.or(Some(refused)),
        }
    }
    let Some(last) = open.len().checked_sub(1) else {
        return Err(closed.map_or_else(no_address, Why::Closed));
    };
    let mut failed = None;
    for (at, address) in open.into_iter().enumerate() {
        let connect = TcpStream::connect(SocketAddr::from((address, destination.port)));
        let connected = if at == last {
            connect.await
        } else {
            let timed_out = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
            tokio::time::timeout(NEXT_ADDRESS, connect).await.unwrap_or_else(timed_out)
        };
        match connected {
            Ok(there) => return Ok(there),
            Err(cause) => failed = Some(Why::Unreachable(format!("{address}: {}", plain(&cause)))),
        }
    }
    Err(failed.unwrap_or_else(no_address))
}

fn no_address() -> Why {
    Why::NoAddress("it has none".to_owned())
}

/// On a task of its own, which keeps its place among the look-ups until the system has answered: one that is given up
/// goes on in the background.
async fn look_up(name: String, node: &Arc<Node>) -> Result<Vec<IpAddr>, Why> {
    let going_down = || Why::Unreachable("the server is shutting down".to_owned());
    let place = Arc::clone(&node.lookups).acquire_owned().await.map_err(|_| going_down())?;
    let asked = Arc::clone(node);
    let answer = node.tasks.spawn(async move {
        let _place = place;
        asked.resolver.look_up(&name).await
    });
    answer.await.map_err(|_| going_down())?.map_err(|cause| {
        let text = plain(&cause);
        Why::NoAddress(
            text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned(),
        )
    })
}

/// Whether this node may connect to the address.
fn check(address: IpAddr, reach: Reach, node: &Node) -> Result<(), Refused> {
    if reach == Reach::Opened && !node.policy.opens(address) {
        return Err(Refused { address, what: "an address that nobody opened" });
    }
    node.policy.check(address)?;
    // A public address of this machine leads to its own listeners as loopback does.
    if is_own(address) && !node.policy.opens(address) {
        return Err(Refused { address, what: "an address of this machine" });
    }
    Ok(())
}

/// The kernel would reach one of its own addresses from that address itself. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source: SocketAddr| source.ip() == address)
}

/// The kernel's words without the number.
fn plain(cause: &io::Error) -> String {
    match cause.raw_os_error() {
        Some(errno) => {
            let text = cause.to_string().to_lowercase();
            text.strip_suffix(&format!(" (os error {errno})")).unwrap_or(&text).to_owned()
        }
        None => cause.to_string().to_lowercase(),
    }
}
