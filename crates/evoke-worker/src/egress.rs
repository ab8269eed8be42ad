//! The host's half of a function's network: what becomes of whatever it dials.
//!
//! In the function's namespace ([`crate::netns`]) every connection ends at a socket the host holds. Names get made-up
//! addresses (`dns`, `names`), so that a connection tells the host the name it was meant for. `proxy` asks the
//! manifest's list, looks the name up out here, checks each address at the moment it is connected to, and passes bytes.
//! What is refused is told in the function's own log, with the line to add (`refusal`).
//!
//! [`Egress`] is the hold of one namespace: dropping it ends its connections.

mod dial;
mod dns;
mod lend;
mod names;
mod proxy;
mod refusal;
mod refused;
mod resolver;

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evoke_core::egress::{AddressPolicy, AllowList, Destination};
use evoke_core::limits::Limits;
use evoke_core::origin::{Origins, Present};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::netns::Sockets;
use names::Names;
use refusal::{Refusal, Why};
use refused::Refusals;

pub use dial::Dialler;
pub(crate) use lend::Lender;
pub use resolver::Resolver;

/// Refusals on their way to the log. More at once are not told one by one.
const REFUSALS: usize = 64;
/// Destinations told about in one call; a function that tries more is told once that there were more.
const TOLD_MAX: usize = 50;

/// What all functions of a node share.
#[derive(Debug)]
pub(crate) struct Node {
    policy: AddressPolicy,
    resolver: Resolver,
    origins: Origins,
    /// Look-ups under way.
    lookups: Arc<Semaphore>,
    /// Connections of all functions.
    connections: Arc<Semaphore>,
    limits: Limits,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Node {
    pub(crate) fn new(
        policy: AddressPolicy,
        resolver: Resolver,
        origins: Origins,
        limits: Limits,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            policy,
            resolver,
            origins,
            lookups: Arc::new(Semaphore::new(limits.egress_lookups)),
            connections: Arc::new(Semaphore::new(limits.egress_connections_all)),
            limits,
            tasks,
            ended: CancellationToken::new(),
        })
    }

    /// Ends all connections, and with them every task of this module.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }
}

/// What the tasks of one namespace share.
#[derive(Debug)]
struct Namespace {
    node: Arc<Node>,
    allowed: AllowList,
    present: Arc<Present>,
    names: Mutex<Names>,
    connections: Arc<Semaphore>,
    refusals: mpsc::Sender<Refusal>,
    traffic: Traffic,
}

/// What went through, since the namespace was made.
#[derive(Debug, Default)]
struct Traffic {
    connections: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

/// The hold of one namespace. Dropping it closes its sockets and connections.
#[derive(Debug)]
pub(crate) struct Egress {
    namespace: Arc<Namespace>,
    function: String,
    arrived: mpsc::Receiver<Refusal>,
    unheard: Refusals,
    /// Told about since [`Egress::start_over`].
    told: HashSet<Destination>,
    _ends_with: DropGuard,
}

/// What calls have in common whose connections are used by all of them: they are in the name of whichever runs, and end with this.
#[derive(Debug)]
pub(crate) struct Common {
    present: Arc<Present>,
    ended: CancellationToken,
    _ends_with: DropGuard,
}

impl Common {
    pub(crate) fn new(node: &Node) -> Self {
        let ended = node.ended.child_token();
        Self { present: Arc::default(), _ends_with: ended.clone().drop_guard(), ended }
    }
}

impl Egress {
    /// Begins to serve the sockets of a namespace for `function`.
    pub(crate) fn serve(
        sockets: Sockets,
        function: String,
        allowed: AllowList,
        node: &Arc<Node>,
    ) -> io::Result<Self> {
        Self::begin(sockets, function, allowed, node, Arc::default())
    }

    fn begin(
        sockets: Sockets,
        function: String,
        allowed: AllowList,
        node: &Arc<Node>,
        present: Arc<Present>,
    ) -> io::Result<Self> {
        let (refusals, arrived) = mpsc::channel(REFUSALS);
        let namespace = Arc::new(Namespace {
            node: Arc::clone(node),
            allowed,
            present,
            names: Mutex::new(Names::new(node.limits.egress_names)),
            connections: Arc::new(Semaphore::new(node.limits.egress_connections)),
            refusals,
            traffic: Traffic::default(),
        });
        let unheard = Refusals::new(sockets.refused_v4, sockets.refused_v6)?;
        let ended = node.ended.child_token();
        for socket in sockets.dns {
            let socket = dns::socket(socket)?;
            let serve = dns::serve(socket, Arc::clone(&namespace));
            node.tasks.spawn(ended.clone().run_until_cancelled_owned(serve));
        }
        for listener in sockets.listeners {
            let listener = proxy::listener(listener)?;
            let serve = proxy::serve(listener, Arc::clone(&namespace), ended.clone());
            node.tasks.spawn(ended.clone().run_until_cancelled_owned(serve));
        }
        let _ends_with = ended.drop_guard();
        Ok(Self { namespace, function, arrived, unheard, told: HashSet::new(), _ends_with })
    }

    /// For `function`, whose process has no network at all and asks for connections one by one, which it keeps for other calls in `common`.
    pub(crate) fn without_network(
        function: String,
        allowed: AllowList,
        node: &Arc<Node>,
        common: &Common,
    ) -> io::Result<(Self, Lender)> {
        let present = Arc::clone(&common.present);
        let egress = Self::begin(Sockets::default(), function, allowed, node, present)?;
        let lender = Lender::new(Arc::clone(&egress.namespace), common.ended.clone());
        Ok((egress, lender))
    }

    /// The calls that run in the namespace.
    pub(crate) fn present(&self) -> Arc<Present> {
        Arc::clone(&self.namespace.present)
    }

    /// Forgets what was told: each call hears for itself what it was refused.
    pub(crate) fn start_over(&mut self) {
        self.told.clear();
    }

    /// Waits until something was refused; the line that tells it, unless it was told before. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let refusal = tokio::select! {
            Some(refusal) = self.arrived.recv() => refusal,
            unheard = self.unheard.next() => self.not_listed(unheard?),
        };
        self.tell(refusal)
    }

    /// Where the kernel says what it refused.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.unheard.sockets()
    }

    /// Whether nothing is to be told, as far as is known without asking the kernel.
    pub(crate) fn has_heard_nothing(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Tells what was refused until now, without waiting for more. What the kernel refused before a function saw it fail is
    /// among it: it comes to us first.
    pub(crate) fn drain(&mut self, mut line: impl FnMut(String)) {
        for _ in 0..REFUSALS {
            let refusal = match self.arrived.try_recv() {
                Ok(refusal) => refusal,
                Err(_) => match self.unheard.next_now() {
                    Some(to) => self.not_listed(to),
                    None => return,
                },
            };
            if let Some(text) = self.tell(refusal) {
                line(text);
            }
        }
    }

    fn not_listed(&self, to: std::net::SocketAddr) -> Refusal {
        self.namespace.not_listed(self.namespace.meant(to))
    }

    fn tell(&mut self, refusal: Refusal) -> Option<String> {
        if self.told.len() > TOLD_MAX || !self.told.insert(refusal.destination.clone()) {
            return None;
        }
        if self.told.len() > TOLD_MAX {
            return Some(format!(
                "egress to more than {TOLD_MAX} destinations was refused; the others are not listed"
            ));
        }
        Some(refusal.sentence(&self.function))
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        let Traffic { connections, sent_bytes, received_bytes } = &self.namespace.traffic;
        if connections.load(Ordering::Relaxed) > 0 {
            tracing::debug!(function = %self.function, ?connections, ?sent_bytes, ?received_bytes, "egress of an instance");
        }
    }
}
