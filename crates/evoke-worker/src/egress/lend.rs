//! Connections for a process that has no network at all: it asks for each by name, and gets a socket that leads there.
//!
//! Not the connection itself: a TCP socket can be told to connect again, to anywhere.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use evoke_core::egress::{Destination, Host};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::proxy::{open, pass};
use super::{Namespace, Refusal, Why};

/// Makes connections for one function, by its list and the rules for addresses. They end with its [`super::Common`].
#[derive(Debug, Clone)]
pub(crate) struct Lender {
    namespace: Arc<Namespace>,
    ended: CancellationToken,
}

impl Lender {
    pub(super) fn new(namespace: Arc<Namespace>, ended: CancellationToken) -> Self {
        Self { namespace, ended }
    }

    /// Connects to `to`, a host and a port, and returns the other end. The error is a word of the worker protocol; the sentence is
    /// in the function's log.
    pub(crate) async fn connect(&self, to: &str) -> Result<OwnedFd, &'static str> {
        let destination = self.destination(to).ok_or("denied")?;
        let (there, permits) = match open(&destination, &self.namespace).await {
            Ok(opened) => opened,
            Err(why) => {
                let word = word(&why);
                // Told before the function sees it fail, so that the line is in the log of the call that caused it.
                let _ = self.namespace.refusals.try_send(Refusal { destination, why });
                return Err(word);
            }
        };
        let (ours, theirs) = pair().map_err(|_| "unreachable")?;
        let namespace = Arc::clone(&self.namespace);
        let connection = async move {
            let _permits = permits;
            let from = there.local_addr().ok();
            let _noted = from.map(|from| namespace.node.origins.opened(from, &namespace.present));
            namespace.traffic.connections.fetch_add(1, Ordering::Relaxed);
            pass::both_ways_lent(ours, there, &namespace.traffic, namespace.node.limits.egress_idle).await;
        };
        let connection = self.ended.clone().run_until_cancelled_owned(Box::pin(connection));
        self.namespace.node.tasks.spawn(connection);
        Ok(theirs)
    }

    fn destination(&self, to: &str) -> Option<Destination> {
        let (host, port) = to.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(self.namespace.meant(SocketAddr::new(address, port)));
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        (!name.is_empty()).then_some(Destination { host: Host::Name(name), port })
    }
}

fn word(why: &Why) -> &'static str {
    match why {
        Why::NotListed { .. } => "denied",
        Why::Closed(_) => "prohibited",
        Why::NoAddress(_) => "no_address",
        Why::Unreachable(_) => "unreachable",
        Why::TooMany { .. } => "too_many",
    }
}

fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}
