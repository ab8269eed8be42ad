//! One app's process: it is handed a socket for each function and each connection, and ended when it does not let go of one.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::sealed::{Running, Sealed};
use crate::frame::message::{PROTOCOL, Ready};
use crate::frame::{Decoder, Encoder, Frame, Kind, message};
use crate::launcher::{Connection, Death, Launcher, Process};
use crate::logs::Lines;

/// Live instances of one app.
const INSTANCES: u32 = 1000;
/// Memory of the process: all its instances, and what they share.
const MEMORY_BYTES: u64 = 8 << 30;
/// How long it may take to be ready.
const START: Duration = Duration::from_secs(10);
/// How long it may hold on to a socket that the host has closed. Guests are interrupted every 10 ms.
const LET_GO: Duration = Duration::from_secs(2);
/// How long it may take to end by itself when nobody needs it any more.
pub(super) const END: Duration = Duration::from_secs(2);
/// How long it is kept without a function.
const IDLE: Duration = Duration::from_secs(60);
/// Sockets on their way.
const ORDERS: usize = 64;
/// Bytes of a line it writes to its standard error, which no guest can.
const LINE_BYTES: usize = 4096;

/// An app's process. Cheap to clone; it ends when it has no functions for a while.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    orders: mpsc::Sender<Order>,
    death: Death,
}

/// A new socket in the process: our end, and the hold of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub channel: OwnedFd,
    pub process: Process,
}

/// Payload of the first frame.
#[derive(Debug, Serialize)]
struct InitProcess<'a> {
    protocol: u32,
    instances: u32,
    /// Certificate authorities that its connections trust, DER in base64.
    authorities: &'a [String],
}

impl Worker {
    /// Starts one. `sealed` says how, but for its memory.
    pub(super) async fn start(
        mut sealed: Sealed,
        authorities: &[String],
        launcher: &Launcher,
        tasks: &TaskTracker,
    ) -> io::Result<Self> {
        sealed.memory_bytes = MEMORY_BYTES;
        let Running { process, channel, stderr } = sealed.start(launcher, tasks).await?;
        let channel = std::os::unix::net::UnixStream::from(channel);
        channel.set_nonblocking(true)?;
        let mut channel = UnixStream::from_std(channel)?;
        let ready = tokio::time::timeout(START, begin(&mut channel, authorities)).await;
        ready.unwrap_or_else(|_| {
            Err(io::Error::other(format!("it was not ready within {} s", START.as_secs())))
        })?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let death = process.death();
        let stderr = pipe::Receiver::from_owned_fd(stderr)?;
        let (closed, closing) = mpsc::unbounded_channel();
        let own = Own { process, channel, stderr, closed, functions: Arc::new(()), used: Instant::now() };
        tasks.spawn(own.run(inbox, closing));
        Ok(Self { orders, death })
    }

    /// Whether it can be given another function.
    pub(super) fn is_alive(&self) -> bool {
        !self.orders.is_closed() && !self.death.has_happened()
    }

    /// When it has ended. Whoever waits for it keeps it no longer.
    pub(super) fn into_death(self) -> Death {
        self.death
    }

    /// A socket for one more function.
    pub(super) async fn open(&self) -> io::Result<Opened> {
        let gone = || io::Error::other("the app's process is gone");
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Open(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Hands over a connection that it asked for as `number`.
    pub(super) async fn lend(&self, number: u64, socket: OwnedFd) -> io::Result<()> {
        let gone = || io::Error::other("the app's process is gone");
        let (done, answered) = oneshot::channel();
        self.orders.send(Order::Lend { number, socket, done }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// The task behind a [`Worker`].
struct Own {
    process: Process,
    channel: UnixStream,
    stderr: pipe::Receiver,
    /// Where sockets go that were closed here.
    closed: mpsc::UnboundedSender<OwnedFd>,
    /// Held by each function besides us.
    functions: Arc<()>,
    used: Instant,
}

/// What the process is to be handed.
#[derive(Debug)]
enum Order {
    Open(oneshot::Sender<io::Result<Opened>>),
    Lend { number: u64, socket: OwnedFd, done: oneshot::Sender<io::Result<()>> },
}

impl Own {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>, mut closing: mpsc::UnboundedReceiver<OwnedFd>) {
        let mut letting_go = FuturesUnordered::new();
        let mut lines = Lines::new(LINE_BYTES);
        let mut buffer = [0; 4096];
        let mut beat = tokio::time::interval(IDLE / 4);
        let mut has_stderr = true;
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => {
                        self.used = Instant::now();
                        self.follow(order).await;
                    }
                    None => break,
                },
                Some(socket) = closing.recv() => letting_go.push(lets_go(socket)),
                Some(went) = letting_go.next() => if !went {
                    tracing::warn!(
                        pid = self.process.pid,
                        "an app's Wasm worker did not end a call within {} s, and is killed",
                        LET_GO.as_secs()
                    );
                    return;
                },
                _ = self.process.exited() => return,
                read = self.stderr.read(&mut buffer), if has_stderr => match read {
                    Ok(bytes) if bytes > 0 => lines.take(&buffer[..bytes], |line| {
                        tracing::warn!(pid = self.process.pid, line, "written by an app's Wasm worker");
                    }),
                    _ => has_stderr = false,
                },
                _ = beat.tick() => {
                    if Arc::strong_count(&self.functions) > 1 {
                        self.used = Instant::now();
                    } else if self.used.elapsed() >= IDLE {
                        break;
                    }
                }
            }
        }
        // Nobody can ask for anything any more.
        drop(inbox);
        self.end().await;
    }

    /// Closes its socket, which ends it: what a program does at its exit, it does. Who does not is killed.
    async fn end(self) {
        let Self { mut process, channel, .. } = self;
        drop(channel);
        let _ = tokio::time::timeout(END, process.exited()).await;
    }

    /// Whoever has given up drops the socket, which closes it.
    async fn follow(&mut self, order: Order) {
        match order {
            Order::Open(answer) => {
                let opened = self.open().await;
                let _ = answer.send(opened);
            }
            Order::Lend { number, socket, done } => {
                let mut encoder = Encoder::default();
                encoder.frame(Kind::Lend, 0, &number.to_le_bytes());
                let sent = self.send(encoder.unwritten(), &[socket.as_fd()]).await;
                let _ = done.send(sent);
            }
        }
    }

    async fn open(&mut self) -> io::Result<Opened> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let mut encoder = Encoder::default();
        encoder.frame(Kind::Open, 0, &[]);
        self.send(encoder.unwritten(), &[theirs.as_fd()]).await?;
        let connection = Connection {
            socket: ours.try_clone()?,
            closed: self.closed.clone(),
            is_closed: AtomicBool::new(false),
            hold: Arc::clone(&self.functions),
        };
        let process = Process::part(self.process.pid, connection, self.process.death());
        Ok(Opened { channel: ours, process })
    }

    /// A frame this small is taken by the kernel whole or not at all.
    async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            self.channel.writable().await?;
            let sent = self.channel.try_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
                    return Err(io::Error::other("more than one socket"));
                }
                Ok(sendmsg(&self.channel, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                Err(cause) => return Err(cause),
            }
        }
    }
}

/// Says hello, and waits for the answer.
async fn begin(channel: &mut UnixStream, authorities: &[String]) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let init = InitProcess { protocol: PROTOCOL, instances: INSTANCES, authorities };
    encoder.json(Kind::Init, 0, &init).map_err(io::Error::other)?;
    channel.write_all(encoder.unwritten()).await?;
    let mut decoder = Decoder::default();
    loop {
        if let Some(Frame { kind, payload, .. }) = decoder.take().map_err(io::Error::other)? {
            let ready: Ready = message::parse(kind, &payload).map_err(io::Error::other)?;
            return if kind == Kind::Ready && ready.protocol == PROTOCOL {
                Ok(())
            } else {
                Err(io::Error::other("it speaks another version of the protocol"))
            };
        }
        if channel.read_buf(decoder.space(4096)).await? == 0 {
            return Err(io::Error::other("it ended at once"));
        }
    }
}

/// Waits until the other side has closed its end as well; false when it does not.
async fn lets_go(socket: OwnedFd) -> bool {
    let reads_end = async {
        let mut socket = UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))?;
        let mut rest = [0; 4096];
        while socket.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // A socket that fails is closed too.
    tokio::time::timeout(LET_GO, reads_end).await.is_ok()
}
