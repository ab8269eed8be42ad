//! Connections: who is meant, whether that is allowed, and the bytes.

pub(super) mod connect;
pub(super) mod pass;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evoke_core::egress::{Destination, Host, HostPattern, Reach};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Namespace, Refusal, Why};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

const LOCALHOST: &str = "localhost";

pub(super) fn listener(fd: OwnedFd) -> io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(fd))
}

/// Accepts for ever; each connection has a task of its own, until `ended`.
pub(super) async fn serve(listener: TcpListener, namespace: Arc<Namespace>, ended: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((guest, _)) => {
                let connection = Box::pin(serve_one(guest, Arc::clone(&namespace)));
                namespace.node.tasks.spawn(ended.clone().run_until_cancelled_owned(connection));
            }
            Err(cause) => {
                tracing::debug!(%cause, "a connection of a function cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve_one(guest: TcpStream, namespace: Arc<Namespace>) {
    let Ok(to) = guest.local_addr() else { return };
    let destination = namespace.meant(to);
    match open(&destination, &namespace).await {
        Ok((there, _permits)) => {
            let from = there.local_addr().ok();
            let _noted = from.map(|from| namespace.node.origins.opened(from, &namespace.present));
            namespace.traffic.connections.fetch_add(1, Ordering::Relaxed);
            pass::both_ways(guest, there, &namespace.traffic, namespace.node.limits.egress_idle).await;
        }
        Err(why) => {
            // Told before the function sees it fail, so that the line is in the log of the call that caused it.
            let _ = namespace.refusals.try_send(Refusal { destination, why });
            reset(&guest);
        }
    }
}

pub(super) async fn open(
    destination: &Destination,
    namespace: &Namespace,
) -> Result<(TcpStream, [OwnedSemaphorePermit; 2]), Why> {
    if !namespace.allowed.allows(destination) {
        return Err(namespace.not_listed(destination.clone()).why);
    }
    let limits = &namespace.node.limits;
    let permits = [
        permit(&namespace.connections, limits.egress_connections, "this instance")?,
        permit(&namespace.node.connections, limits.egress_connections_all, "all functions")?,
    ];
    let connect = connect::connect(destination, Reach::Public, &namespace.node);
    let there = tokio::time::timeout(limits.egress_connect, connect).await.unwrap_or_else(|_| {
        let ms = limits.egress_connect.as_millis();
        Err(Why::Unreachable(format!("no answer within the limit of {ms} ms")))
    })?;
    Ok((there, permits))
}

fn permit(
    semaphore: &Arc<Semaphore>,
    limit: usize,
    whose: &'static str,
) -> Result<OwnedSemaphorePermit, Why> {
    Arc::clone(semaphore).try_acquire_owned().map_err(|_| Why::TooMany { limit, whose })
}

/// Makes the closing of a connection one by RST: nothing came to an orderly end.
fn reset(guest: &TcpStream) {
    let _ = guest.set_zero_linger();
}

impl Namespace {
    /// What a function meant with this address.
    pub(super) fn meant(&self, to: SocketAddr) -> Destination {
        let address = to.ip().to_canonical();
        let port = to.port();
        let name = match address {
            IpAddr::V4(address) => self.names.lock().name_of(address).map(str::to_owned),
            IpAddr::V6(_) => None,
        };
        if let Some(name) = name {
            return Destination { host: Host::Name(name), port };
        }
        // The hosts file of the function gave it the address; the list says the name.
        if address.is_loopback() && self.lists_localhost(port) {
            return Destination { host: Host::Name(LOCALHOST.to_owned()), port };
        }
        Destination { host: Host::Address(address), port }
    }

    fn lists_localhost(&self, port: u16) -> bool {
        let mut entries = self.allowed.entries().iter();
        entries.any(|entry| {
            entry.port == port && matches!(&entry.host, HostPattern::Name(name) if name == LOCALHOST)
        })
    }

    pub(super) fn not_listed(&self, destination: Destination) -> Refusal {
        let closed = match destination.host {
            Host::Address(address) => self.node.policy.check(address).err().map(|refused| refused.address),
            Host::Name(_) => None,
        };
        Refusal { destination, why: Why::NotListed { closed } }
    }
}
