//! The host's handle on the launcher: one task owns the socket, keeps the launcher running and tells who died.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::process::{Obituary, Process};
use super::wire::{self, Ask, Exit, Notice, Spawn};
use crate::gauge::{Counters, Reading};
use crate::sandbox::Machine;

/// Spawn requests on their way to the launcher.
const ORDERS: usize = 64;
/// How long the launcher may take to report for duty.
const READY: Duration = Duration::from_secs(10);
/// Pause before a launcher that died is started again; doubles up to [`RESTART_MAX`] while it keeps dying.
const RESTART: Duration = Duration::from_millis(20);
const RESTART_MAX: Duration = Duration::from_secs(5);

/// Starts processes. Cheap to clone; the launcher ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    orders: mpsc::Sender<Order>,
    machine: Arc<Machine>,
}

/// What a process is connected to.
#[derive(Debug)]
pub(crate) struct Stdio {
    /// At descriptor 3.
    pub channel: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Where the sockets of its own network come out, if it is to have one.
    pub network: Option<OwnedFd>,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// The program, its folder or its environment cannot be used.
    #[error("{0}")]
    Refused(String),
    /// The launcher is gone.
    #[error("the worker launcher is not running")]
    Unavailable,
}

/// A [`Launcher`] that does not keep it running.
#[derive(Debug, Clone)]
pub(crate) struct WeakLauncher {
    orders: mpsc::WeakSender<Order>,
}

#[derive(Debug)]
enum Order {
    Spawn { spawn: Box<Spawn>, stdio: Stdio, answer: oneshot::Sender<Result<Process, SpawnError>> },
    Place { pid: i32, memory_bytes: u64, answer: oneshot::Sender<Result<Option<Placed>, SpawnError>> },
    Leave { id: u64, answer: oneshot::Sender<(bool, Reading)> },
}

/// A process that another has forked, in groups of its own.
#[derive(Debug)]
pub(crate) struct Placed {
    /// For [`WeakLauncher::leave`].
    pub id: u64,
    /// What is used in the groups.
    pub counters: Counters,
}

impl Launcher {
    /// Runs `command` (program, arguments) as launcher and waits until it listens.
    pub(crate) async fn start(command: Vec<OsString>, tasks: &TaskTracker) -> io::Result<Self> {
        let (running, machine) = Running::start(&command).await?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        tasks.spawn(own(command, running, inbox));
        Ok(Self { orders, machine: Arc::new(machine) })
    }

    /// What processes can be confined with here.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Starts a process. A program that cannot be run is told by its exit. `spawn.id` is set here.
    pub(crate) async fn spawn(&self, spawn: Spawn, stdio: Stdio) -> Result<Process, SpawnError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Spawn { spawn: Box::new(spawn), stdio, answer };
        self.orders.send(order).await.map_err(|_| SpawnError::Unavailable)?;
        answered.await.map_err(|_| SpawnError::Unavailable)?
    }
}

impl Launcher {
    /// For somebody who must not keep it running.
    pub(crate) fn downgrade(&self) -> WeakLauncher {
        WeakLauncher { orders: self.orders.downgrade() }
    }
}

impl WeakLauncher {
    /// Limits a process that another has forked: it and all that it starts. `None` where nothing can be limited.
    pub(crate) async fn place(&self, pid: Pid, memory_bytes: u64) -> Result<Option<Placed>, SpawnError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Place { pid: pid.as_raw_nonzero().get(), memory_bytes, answer };
        self.send(order).await?;
        answered.await.map_err(|_| SpawnError::Unavailable)?
    }

    /// Such a process is dead. Whether the kernel has killed something in it for want of memory, and what it used.
    pub(crate) async fn leave(&self, id: u64) -> (bool, Reading) {
        let (answer, answered) = oneshot::channel();
        match self.send(Order::Leave { id, answer }).await {
            Ok(()) => answered.await.unwrap_or_default(),
            Err(_) => Default::default(),
        }
    }

    async fn send(&self, order: Order) -> Result<(), SpawnError> {
        let orders = self.orders.upgrade().ok_or(SpawnError::Unavailable)?;
        orders.send(order).await.map_err(|_| SpawnError::Unavailable)
    }
}

/// The task behind a [`Launcher`].
async fn own(command: Vec<OsString>, mut running: Running, mut inbox: mpsc::Receiver<Order>) {
    let mut pause = RESTART;
    loop {
        match running.serve(&mut inbox).await {
            Served::NoMoreOrders => break,
            Served::LauncherDied => {
                tracing::error!("the worker launcher died, and all instances with it; starting it again")
            }
        }
        running.bury().await;
        running = loop {
            tokio::time::sleep(pause).await;
            match Running::start(&command).await {
                Ok((started, _)) => break started,
                Err(cause) => tracing::error!(%cause, "the worker launcher could not be started again"),
            }
            pause = (pause * 2).min(RESTART_MAX);
        };
    }
    running.bury().await;
}

enum Served {
    NoMoreOrders,
    LauncherDied,
}

/// One life of the launcher.
#[derive(Debug)]
struct Running {
    child: Child,
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    last_id: u64,
    asked: HashMap<u64, oneshot::Sender<Result<Process, SpawnError>>>,
    placing: HashMap<u64, oneshot::Sender<Result<Option<Placed>, SpawnError>>>,
    leaving: HashMap<u64, oneshot::Sender<(bool, Reading)>>,
    alive: HashMap<u64, Obituary>,
}

impl Running {
    async fn start(command: &[OsString]) -> io::Result<(Self, Machine)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let (program, args) =
            command.split_first().ok_or_else(|| io::Error::other("the launcher's command is empty"))?;
        let child =
            Command::new(program).args(args).stdin(theirs).stdout(std::process::Stdio::null()).spawn()?;
        let mut running = Self {
            child,
            socket: crate::sys::watch(ours)?,
            buffer: vec![0; wire::MESSAGE_BYTES_MAX],
            last_id: 0,
            asked: HashMap::new(),
            placing: HashMap::new(),
            leaving: HashMap::new(),
            alive: HashMap::new(),
        };
        match tokio::time::timeout(READY, receive(&running.socket, &mut running.buffer)).await {
            Ok(Ok(Some((Notice::Ready { machine }, _)))) => Ok((running, machine)),
            Ok(Ok(_)) => Err(io::Error::other("it ended at once, or is no launcher")),
            Ok(Err(cause)) => Err(cause),
            Err(_) => Err(io::Error::other(format!("it did not report within {} s", READY.as_secs()))),
        }
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<Order>) -> Served {
        loop {
            tokio::select! {
                notice = receive(&self.socket, &mut self.buffer) => match notice {
                    Ok(Some((notice, fds))) => self.take(notice, fds),
                    Ok(None) => return Served::LauncherDied,
                    Err(cause) => {
                        tracing::error!(%cause, "the worker launcher cannot be understood");
                        return Served::LauncherDied;
                    }
                },
                order = inbox.recv() => match order {
                    Some(order) => self.pass_on(order).await,
                    None => return Served::NoMoreOrders,
                },
            }
        }
    }

    async fn pass_on(&mut self, order: Order) {
        self.last_id += 1;
        let id = self.last_id;
        match order {
            Order::Spawn { mut spawn, stdio, answer } => {
                spawn.id = id;
                let Stdio { channel, stdout, stderr, network } = &stdio;
                let mut fds = vec![channel.as_fd(), stdout.as_fd(), stderr.as_fd()];
                fds.extend(network.as_ref().map(AsFd::as_fd));
                match send(&self.socket, &Ask::Spawn(spawn), &fds).await {
                    Ok(()) => _ = self.asked.insert(id, answer),
                    // Nobody may be waiting for the answer any more.
                    Err(cause) => _ = answer.send(Err(SpawnError::Refused(cause.to_string()))),
                }
            }
            Order::Place { pid, memory_bytes, answer } => {
                match send(&self.socket, &Ask::Place { id, pid, memory_bytes }, &[]).await {
                    Ok(()) => _ = self.placing.insert(id, answer),
                    Err(cause) => _ = answer.send(Err(SpawnError::Refused(cause.to_string()))),
                }
            }
            Order::Leave { id, answer } => {
                if send(&self.socket, &Ask::Leave { id }, &[]).await.is_ok() {
                    self.leaving.insert(id, answer);
                }
            }
        }
    }

    fn take(&mut self, notice: Notice, fds: Vec<OwnedFd>) {
        match notice {
            Notice::Ready { .. } => {}
            Notice::Refused { id, cause } => {
                if let Some(answer) = self.asked.remove(&id) {
                    let _ = answer.send(Err(SpawnError::Refused(cause)));
                } else if let Some(answer) = self.placing.remove(&id) {
                    let _ = answer.send(Err(SpawnError::Refused(cause)));
                }
            }
            Notice::Spawned { id, pid, counters } => {
                let mut fds = fds.into_iter();
                let (Some(answer), Some(pidfd)) = (self.asked.remove(&id), fds.next()) else { return };
                let (process, obituary) = Process::whole(pid, pidfd, Counters::received(counters, fds));
                self.alive.insert(id, obituary);
                // If whoever asked has given up, the process dies with the answer.
                let _ = answer.send(Ok(process));
            }
            Notice::Placed { id, counters } => {
                if let Some(answer) = self.placing.remove(&id) {
                    let counters = counters.map(|sent| Counters::received(sent, fds.into_iter()));
                    let _ = answer.send(Ok(counters.map(|counters| Placed { id, counters })));
                }
            }
            Notice::Left { id, out_of_memory, last } => {
                if let Some(answer) = self.leaving.remove(&id) {
                    let _ = answer.send((out_of_memory, last));
                }
            }
            Notice::Exited { id, exit, last } => {
                if let Some(obituary) = self.alive.remove(&id) {
                    obituary.publish(exit, last);
                }
            }
        }
    }

    /// Closes the socket, which ends a launcher that still lives, and waits for it.
    async fn bury(self) {
        drop(self.socket);
        let mut child = self.child;
        if let Err(cause) = child.wait().await {
            tracing::error!(%cause, "the worker launcher cannot be waited for");
        }
        for obituary in self.alive.into_values() {
            obituary.publish(Exit::Unseen, Reading::default());
        }
    }
}

async fn receive(socket: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<Option<(Notice, Vec<OwnedFd>)>> {
    loop {
        let mut ready = socket.readable().await?;
        if let Ok(received) = ready.try_io(|socket| wire::receive(socket.as_fd(), buffer)) {
            return received;
        }
    }
}

async fn send(socket: &AsyncFd<OwnedFd>, ask: &Ask, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        if let Ok(sent) = ready.try_io(|socket| wire::send(socket.as_fd(), ask, fds)) {
            return sent;
        }
    }
}
