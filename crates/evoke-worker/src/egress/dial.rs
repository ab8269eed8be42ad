//! Connections of Evoke itself, under the rules for addresses that functions have.

use std::fmt;
use std::sync::Arc;

use evoke_core::egress::{AddressPolicy, Destination, Reach};
use evoke_core::limits::Limits;
use evoke_core::origin::Origins;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::proxy::connect;
use super::{Node, Resolver, Why};

/// Connects to destinations: each address is checked at the moment it is connected to. Clones are the same.
#[derive(Clone)]
pub struct Dialler(Arc<Node>);

impl Dialler {
    /// One by itself. That of a server is [`crate::ProcessRuntime::dialler`].
    pub fn new(policy: AddressPolicy, resolver: Resolver, limits: Limits) -> Self {
        Self(Node::new(policy, resolver, Origins::default(), limits, TaskTracker::new()))
    }

    pub(crate) fn of(node: &Arc<Node>) -> Self {
        Self(Arc::clone(node))
    }

    /// Connects, within [`Limits::egress_connect`]. The error is a sentence.
    pub async fn dial(&self, to: &Destination, reach: Reach) -> Result<TcpStream, String> {
        let limit = self.0.limits.egress_connect;
        let connected = tokio::time::timeout(limit, connect::connect(to, reach, &self.0)).await;
        let connected = connected.unwrap_or_else(|_| {
            Err(Why::Unreachable(format!("no answer within the limit of {} ms", limit.as_millis())))
        });
        connected.map_err(|why| match (why, reach) {
            (Why::Closed(refused), Reach::Public) => format!(
                "{to} was refused: {refused}; the server must be started with --egress-allow {}",
                refused.address
            ),
            (Why::Closed(refused), Reach::Opened) => format!(
                "{to} was refused: http is only for addresses that the operator opened; write https, or start the server with --egress-allow {}",
                refused.address
            ),
            (Why::NoAddress(cause), _) => format!("{to} has no address: {cause}"),
            (Why::Unreachable(cause), _) => format!("{to} could not be connected to: {cause}"),
            // Of the list and the number of connections only functions have bounds.
            (Why::NotListed { .. } | Why::TooMany { .. }, _) => format!("{to} was refused"),
        })
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialler")
    }
}
