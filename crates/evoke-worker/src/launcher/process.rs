//! A process that runs a function, or a connection to one that runs several, as its user sees it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::Shutdown;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};

use super::Exit;
use crate::gauge::{Counters, Gauge, Reading};

/// A process somebody started. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: i32,
    held: Held,
    exit: Death,
    gauge: Arc<Gauge>,
    /// Somebody else drops it.
    shared: bool,
}

#[derive(Debug)]
enum Held {
    /// By its pidfd.
    Whole(Arc<OwnedFd>),
    /// By a socket of ours in it.
    Connection(Arc<Connection>),
}

/// A socket in a process that others use as well. To end it is to close it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// A copy of the socket, until it is closed: whoever takes it sees to it that the other side closes its end too.
    pub socket: OwnedFd,
    pub closed: mpsc::UnboundedSender<OwnedFd>,
    pub is_closed: AtomicBool,
    /// Counts who uses the process.
    #[expect(dead_code, reason = "counted, not read")]
    pub hold: Arc<()>,
}

/// Where it is told how a process has ended.
#[derive(Debug)]
pub(crate) struct Obituary {
    died: watch::Sender<Option<Exit>>,
    gauge: Arc<Gauge>,
}

impl Obituary {
    /// It has ended like this, having used so much.
    pub(crate) fn publish(&self, exit: Exit, last: Reading) {
        self.gauge.over(last);
        self.died.send_if_modified(|known| known.is_none().then(|| *known = Some(exit)).is_some());
    }
}

/// Tells how a process ended, once it has.
#[derive(Debug, Clone)]
pub(crate) struct Death(watch::Receiver<Option<Exit>>);

impl Process {
    /// One that was started for its user; how it ends is told through the other.
    pub(crate) fn whole(pid: i32, pidfd: OwnedFd, counters: Counters) -> (Self, Obituary) {
        let (died, exit) = watch::channel(None);
        let gauge = Arc::new(Gauge::new(pid, counters));
        let obituary = Obituary { died, gauge: Arc::clone(&gauge) };
        (Self { pid, held: Held::Whole(Arc::new(pidfd)), exit: Death(exit), gauge, shared: false }, obituary)
    }

    /// A part of one that others use as well, and that ends with it.
    pub(crate) fn part(pid: i32, connection: Connection, exit: Death) -> Self {
        let (held, gauge) = (Held::Connection(Arc::new(connection)), Arc::new(Gauge::none()));
        Self { pid, held, exit, gauge, shared: false }
    }

    /// Sends SIGKILL, and the launcher sees to everything below it; or closes the connection.
    pub(crate) fn kill(&self) {
        match &self.held {
            Held::Whole(pidfd) => _ = rustix::process::pidfd_send_signal(&**pidfd, Signal::KILL),
            Held::Connection(connection) => {
                let Connection { socket, closed, is_closed, .. } = &**connection;
                if is_closed.swap(true, Ordering::Relaxed) {
                    return;
                }
                let _ = rustix::net::shutdown(socket, Shutdown::Write);
                if let Ok(socket) = socket.try_clone() {
                    // Without anybody to take it the process is gone.
                    let _ = closed.send(socket);
                }
            }
        }
    }

    /// Waits until it is dead. Safe to drop and call again.
    pub(crate) async fn exited(&mut self) -> Exit {
        if self.is_closed() { Exit::Unseen } else { self.exit.seen().await }
    }

    /// Whether it is known to be dead.
    pub(crate) fn has_exited(&self) -> bool {
        self.is_closed() || self.exit.0.borrow().is_some()
    }

    /// For somebody else who may have to end it. Dropping that does nothing.
    pub(crate) fn share(&self) -> Self {
        let held = match &self.held {
            Held::Whole(pidfd) => Held::Whole(Arc::clone(pidfd)),
            Held::Connection(connection) => Held::Connection(Arc::clone(connection)),
        };
        Self { pid: self.pid, held, exit: self.exit.clone(), gauge: Arc::clone(&self.gauge), shared: true }
    }

    /// What it uses.
    pub(crate) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// For somebody else who wants to know.
    pub(crate) fn death(&self) -> Death {
        self.exit.clone()
    }

    /// Whether it is a process of its own, which may be asked to end before it is killed.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.held, Held::Whole(_))
    }

    fn is_closed(&self) -> bool {
        matches!(&self.held, Held::Connection(connection) if connection.is_closed.load(Ordering::Relaxed))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.shared {
            self.kill();
        }
    }
}

impl Death {
    /// Waits until it has happened. Safe to drop and call again.
    pub(crate) async fn seen(&mut self) -> Exit {
        match self.0.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(Exit::Unseen),
            Err(_) => Exit::Unseen,
        }
    }

    /// Whether it has.
    pub(crate) fn has_happened(&self) -> bool {
        self.0.borrow().is_some()
    }
}
