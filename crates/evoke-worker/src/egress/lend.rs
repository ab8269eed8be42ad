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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evoke_core::egress::{AddressPolicy, AllowList};
    use evoke_core::limits::Limits;
    use evoke_core::origin::Origins;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::egress::{Common, Egress, Node, Resolver};

    /// How long what must come is waited for.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A server of this machine, and what functions need to reach it.
    struct Net {
        listener: TcpListener,
        node: Arc<Node>,
        origins: Origins,
        tasks: TaskTracker,
    }

    impl Net {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let policy = AddressPolicy { opened: vec!["127.0.0.1/32".parse().unwrap()] };
            let (origins, tasks) = (Origins::default(), TaskTracker::new());
            let table = Resolver::Table([].into());
            let node = Node::new(policy, table, origins.clone(), Limits::default(), tasks.clone());
            Self { listener, node, origins, tasks }
        }

        fn at(&self) -> String {
            self.listener.local_addr().unwrap().to_string()
        }

        /// What a lane of a component has.
        fn lane(&self, common: &Common) -> (Egress, Lender) {
            let allowed = AllowList::from_iter([self.at().parse().unwrap()]);
            Egress::without_network("sample".to_owned(), allowed, &self.node, common).unwrap()
        }

        /// A connection that `lender` makes: the function's end, and the server's.
        async fn connected(&self, lender: &Lender) -> (UnixStream, TcpStream) {
            let socket = StdUnixStream::from(lender.connect(&self.at()).await.unwrap());
            socket.set_nonblocking(true).unwrap();
            (UnixStream::from_std(socket).unwrap(), self.listener.accept().await.unwrap().0)
        }

        /// Waits until no connection is left.
        async fn silent(&self) {
            self.tasks.close();
            tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("connections end");
        }
    }

    /// Whether a word comes through, there and back.
    async fn passes((here, there): &mut (UnixStream, TcpStream)) -> bool {
        let mut word = [0; 4];
        let passed = async {
            here.write_all(b"ping").await?;
            there.read_exact(&mut word).await?;
            there.write_all(b"pong").await?;
            here.read_exact(&mut word).await
        };
        passed.await.is_ok() && word == *b"pong"
    }

    #[tokio::test]
    async fn a_connection_outlives_the_lane_that_asked_for_it_and_ends_with_what_all_lanes_have_in_common() {
        let net = Net::new().await;
        let common = Common::new(&net.node);
        let first = net.lane(&common);
        let mut connection = net.connected(&first.1).await;
        let from = connection.1.peer_addr().unwrap();
        let running = first.0.present().enter("aa");
        assert!(passes(&mut connection).await);
        drop((first, running));
        let second = net.lane(&common);
        assert!(passes(&mut connection).await);
        let running = second.0.present().enter("bb");
        assert_eq!(net.origins.spans(from).unwrap(), ["bb"], "what comes over it is in the name of who runs");

        drop((second, running, common));
        net.silent().await;
        assert!(!passes(&mut connection).await);
        assert_eq!(net.origins.spans(from), None);
    }

    #[tokio::test]
    async fn the_connections_of_others_stay_when_those_of_a_trunk_end_and_all_end_with_the_node() {
        let net = Net::new().await;
        let commons = [Common::new(&net.node), Common::new(&net.node)];
        let lanes = commons.each_ref().map(|common| net.lane(common));
        let [mut one, mut other] = [net.connected(&lanes[0].1).await, net.connected(&lanes[1].1).await];
        let [common, _its] = commons;
        drop(common);
        // Both ends: nothing is left to write to.
        let ends = async {
            assert_eq!(one.0.read(&mut [0]).await.unwrap(), 0);
            assert!(matches!(one.1.read(&mut [0]).await, Ok(0) | Err(_)));
        };
        tokio::time::timeout(PATIENCE, ends).await.expect("it ends with its trunk");
        assert!(passes(&mut other).await);
        net.node.end();
        net.silent().await;
        assert!(!passes(&mut other).await);
    }
}
