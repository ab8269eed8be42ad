//! A process that has loaded a function and is forked for each of its instances.
//!
//! It was started like an instance, and so is confined like one; what it forks inherits that. Loading is the function's
//! own code, so nothing it says is believed: who an instance is the kernel tells ([`hello`]), that it is dead its pidfd
//! tells, and what it leaves behind is found and killed from here ([`orphans`]). Only the exit status is its word.
//!
//! [`set`] decides which zygotes there are.

mod hello;
mod orphans;
mod set;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::record::LogStream;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rustix::process::{Pid, Signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::egress::Egress;
use crate::frame::message;
use crate::frame::{Frame, FrameError, Kind};
use crate::gauge::Counters;
use crate::instance::{Between, Parts, verdict};
use crate::launcher::{Ends, Exit, Obituary, Placed, Process, Stdio, WeakLauncher, connect};

use orphans::Strangers;
pub(crate) use orphans::{memory_of, program_of};
pub(crate) use set::{Source, Zygotes};

/// Forks that wait for their turn.
const ORDERS: usize = 64;
/// How long the answer to `REAP` may take; the process asked about is dead already.
const REAPED: Duration = Duration::from_secs(2);
/// Rounds of looking for what a dead instance left.
const ROUNDS: usize = 64;
/// Pause before another instance is forked ahead after one that failed or ended by itself.
const AHEAD_AGAIN: Duration = Duration::from_secs(1);
/// How long one is kept without instances that is larger than all of them may be together.
const OVERSIZED_IDLE: Duration = Duration::from_secs(1);

/// Forks instances. Cheap to clone; when the last clone is dropped the process ends with its last instance.
#[derive(Debug, Clone)]
pub(crate) struct Zygote {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

/// What is known of a zygote without asking it.
#[derive(Debug)]
struct Shared {
    /// Proportional set size when the function was loaded.
    bytes: u64,
    /// Instances that live, and those under way.
    instances: AtomicU32,
    /// It ended although nobody wanted it to.
    failed: AtomicBool,
    since: Instant,
    early: parking_lot::Mutex<Vec<(LogStream, String)>>,
    /// The network of all instances.
    egress: Option<Arc<parking_lot::Mutex<Egress>>>,
}

/// What instances of a zygote stand on.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Its folder for temporary files, as it sees it. Instances have theirs in it.
    pub tmp: PathBuf,
    /// Memory of one instance and all that it starts, in bytes.
    pub memory_bytes: u64,
    /// Holds instances to that.
    pub launcher: WeakLauncher,
}

/// A zygote to be.
#[derive(Debug)]
pub(crate) struct Setup {
    pub parts: Parts,
    pub ground: Ground,
    /// For people.
    pub function: String,
    /// What was written while loading.
    pub early: Vec<(LogStream, String)>,
    /// How long it is kept without instances, if it is no larger than `bytes_max`.
    pub idle: Duration,
    pub bytes_max: u64,
    /// How long a fork may take.
    pub fork_timeout: Duration,
    /// Whether one instance is kept that nobody has asked for yet.
    pub fork_ahead: bool,
}

/// A wish for an instance: where it is to be handed over, with our ends of what it is connected to.
type Order = oneshot::Sender<Result<(Process, Ends), ForkError>>;

/// An instance that nobody has asked for yet.
#[derive(Debug)]
struct Ahead {
    number: u32,
    process: Process,
    ends: Ends,
}

/// Why an instance could not be forked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForkError {
    /// The zygote is gone.
    #[error("the process that instances are forked from is gone")]
    Gone,
    /// Something about it, or about the process it made.
    #[error("{0}")]
    Failed(String),
}

impl Zygote {
    /// Takes charge of a process that has said it can be forked.
    pub(crate) fn start(setup: Setup, tasks: &TaskTracker) -> Self {
        let Setup { mut parts, ground, function, early, idle, bytes_max, fork_timeout, fork_ahead } = setup;
        let outer = parts.process.pid;
        // It has no children, or it would not have said that it can be forked.
        let program = orphans::program_of(outer);
        let shared = Arc::new(Shared {
            bytes: orphans::memory_of(program),
            instances: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            since: Instant::now(),
            early: parking_lot::Mutex::new(early),
            egress: parts.output.take_egress(),
        });
        let idle = if shared.bytes > bytes_max { idle.min(OVERSIZED_IDLE) } else { idle };
        tracing::debug!(function, pid = program, bytes = shared.bytes, "zygote ready");
        let (orders, inbox) = mpsc::channel(ORDERS);
        let own = Own {
            parts,
            ground,
            between: Between::new(function),
            idle,
            fork_timeout,
            fork_ahead,
            outer,
            program,
            shared: Arc::clone(&shared),
            last_number: 0,
            instances: HashMap::new(),
            deaths: FuturesUnordered::new(),
            ahead: None,
            ahead_at: Instant::now(),
            used: Instant::now(),
        };
        tasks.spawn(own.run(inbox));
        Self { orders, shared }
    }

    /// Makes an instance out of it, which has said hello; or hands over the one that was made ahead.
    pub(crate) async fn fork(&self) -> Result<(Process, Ends), ForkError> {
        let (order, answered) = oneshot::channel();
        self.orders.send(order).await.map_err(|_| ForkError::Gone)?;
        answered.await.map_err(|_| ForkError::Gone)?
    }

    /// What was written while loading, for the first who asks.
    pub(crate) fn take_early(&self) -> Vec<(LogStream, String)> {
        std::mem::take(&mut self.shared.early.lock())
    }

    /// The network that its instances share, where they have one of their own.
    pub(crate) fn egress(&self) -> Option<Arc<parking_lot::Mutex<Egress>>> {
        self.shared.egress.clone()
    }

    fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    fn has_no_instances(&self) -> bool {
        self.shared.instances.load(Ordering::Relaxed) == 0
    }

    fn age(&self) -> Duration {
        self.shared.since.elapsed()
    }
}

/// The task behind a [`Zygote`].
struct Own {
    parts: Parts,
    ground: Ground,
    between: Between,
    idle: Duration,
    fork_timeout: Duration,
    fork_ahead: bool,
    /// The outermost process, and the one that forks; the same where there is no pid namespace.
    outer: i32,
    program: i32,
    shared: Arc<Shared>,
    last_number: u32,
    instances: HashMap<u32, Instance>,
    deaths: FuturesUnordered<BoxFuture<'static, u32>>,
    /// The next one to be asked for: to put a process into its control groups takes the kernel 10 ms and more, at times
    /// (on a machine that is otherwise idle even mostly), which nobody is to wait for.
    ahead: Option<Ahead>,
    /// When there may be one again.
    ahead_at: Instant,
    used: Instant,
}

#[derive(Debug)]
struct Instance {
    pid: Pid,
    /// The launcher's number for its limits; `None` without.
    place: Option<u64>,
    obituary: Obituary,
}

/// Why a zygote ends.
enum End {
    /// Nobody needs it.
    Idle,
    /// By itself.
    Died,
    /// It does not do what it should.
    Broken(String),
}

impl Own {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let end = match self.serve(&mut inbox).await {
            // At the end of the server it dies with the launcher, at times before its last instance is buried.
            End::Died if inbox.is_closed() => End::Idle,
            end => end,
        };
        self.shared.failed.store(!matches!(end, End::Idle), Ordering::Relaxed);
        drop(inbox);
        match &end {
            End::Idle => {}
            End::Died => {
                tracing::warn!(
                    function = self.between.function(),
                    "the process that instances are forked from died"
                )
            }
            End::Broken(cause) => {
                tracing::warn!(
                    function = self.between.function(),
                    cause,
                    "the process that instances are forked from failed"
                )
            }
        }
        // Its instances have lost whoever could tell how they end.
        self.parts.process.kill();
        for instance in self.instances.values() {
            orphans::kill(instance.pid, self.program);
        }
        let ended = self.parts.process.exited().await;
        let exit = match end {
            End::Idle => Exit::Unseen,
            End::Died => Exit::With(verdict::of_parent(&ended)),
            End::Broken(cause) => Exit::With(format!("failed: {cause}")),
        };
        for (_, instance) in self.instances.drain() {
            // Nobody else would give back what limited it.
            let (_, last) = match instance.place {
                Some(place) => self.ground.launcher.leave(place).await,
                None => Default::default(),
            };
            instance.obituary.publish(exit.clone(), last);
        }
        self.shared.instances.store(0, Ordering::Relaxed);
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<Order>) -> End {
        let mut wanted = true;
        loop {
            if !wanted && self.in_use() == 0 {
                return End::Idle;
            }
            let (idle_at, in_use) = (self.used + self.idle, self.in_use());
            let may_fork_ahead = self.fork_ahead && wanted && self.ahead.is_none() && inbox.is_empty();
            let ahead_at = self.ahead_at;
            let Parts { process, link, output, .. } = &mut self.parts;
            let step = tokio::select! {
                Some(number) = self.deaths.next() => self.bury(number).await,
                order = inbox.recv(), if wanted => match order {
                    Some(order) => self.serve_one(order).await,
                    None => {
                        wanted = false;
                        Ok(())
                    }
                },
                _ = process.exited() => return End::Died,
                read = link.read(), if !link.is_closed() => self.listen(read),
                () = output.read(|stream, line| self.between.line(stream, &line)) => Ok(()),
                () = tokio::time::sleep_until(idle_at), if in_use == 0 => return End::Idle,
                () = tokio::time::sleep_until(ahead_at), if may_fork_ahead => self.fork_ahead().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// It has nothing to say by itself but log lines, of hooks that run at a fork.
    fn listen(&mut self, read: io::Result<()>) -> Result<(), End> {
        read.map_err(|cause| End::Broken(cause.to_string()))?;
        while let Some(frame) = self.frame()? {
            if frame.kind != Kind::Exited {
                return Err(unexpected(&frame));
            }
        }
        Ok(())
    }

    /// The next frame that is no log line.
    fn frame(&mut self) -> Result<Option<Frame>, End> {
        let broken = |cause: FrameError| End::Broken(cause.to_string());
        while let Some(frame) = self.parts.link.frame().map_err(broken)? {
            if frame.kind != Kind::Log {
                return Ok(Some(frame));
            }
            let (stream, line) = message::log(&frame.payload).map_err(broken)?;
            self.between.line(stream, &line);
        }
        Ok(None)
    }

    /// Instances that somebody has asked for.
    fn in_use(&self) -> usize {
        self.instances.len() - usize::from(self.ahead.is_some())
    }

    fn count(&self) {
        self.shared.instances.store(self.in_use() as u32, Ordering::Relaxed);
    }

    async fn serve_one(&mut self, order: Order) -> Result<(), End> {
        self.used = Instant::now();
        if order.is_closed() {
            return Ok(());
        }
        let made = match self.ahead.take().filter(|ahead| !ahead.process.has_exited()) {
            Some(ahead) => Ok(ahead),
            None => match self.fork().await {
                Err(End::Broken(cause)) => {
                    let _ = order.send(Err(ForkError::Failed(cause.clone())));
                    return Err(End::Broken(cause));
                }
                made => made?,
            },
        };
        self.count();
        // If whoever asked has given up, the process dies with the answer.
        let _ = order.send(made.map(|made| (made.process, made.ends)));
        Ok(())
    }

    async fn fork_ahead(&mut self) -> Result<(), End> {
        match self.fork().await? {
            Ok(ahead) => self.ahead = Some(ahead),
            Err(cause) => {
                tracing::debug!(function = self.between.function(), %cause, "no instance could be forked ahead");
                self.ahead_at = Instant::now() + AHEAD_AGAIN;
            }
        }
        self.count();
        Ok(())
    }

    /// The inner error is that of one fork, which is no reason to do without the zygote.
    async fn fork(&mut self) -> Result<Result<Ahead, ForkError>, End> {
        let (Ends { channel, stdout, stderr }, stdio) = match connect() {
            Ok(connected) => connected,
            Err(cause) => return Ok(Err(ForkError::Failed(format!("it cannot be connected: {cause}")))),
        };
        self.last_number += 1;
        let number = self.last_number;
        let time = self.fork_timeout;
        let forked = tokio::time::timeout(time, self.request(number, channel, stdio)).await;
        let hello = forked.unwrap_or_else(|_| {
            Err(End::Broken(format!("it did not fork within {} ms", time.as_millis())))
        })?;
        let placed = match hello {
            Ok((pid, pidfd, channel)) => {
                match self.ground.launcher.place(pid, self.ground.memory_bytes).await {
                    Ok(place) => Ok((pid, pidfd, channel, place)),
                    Err(cause) => {
                        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                        Err(format!("its memory cannot be limited: {cause}"))
                    }
                }
            }
            Err(cause) => Err(cause.to_string()),
        };
        let (pid, pidfd, channel, place) = match placed {
            Ok(placed) => placed,
            Err(cause) => {
                // Whatever it was, it is dead after that.
                self.reap_in_time(number).await?;
                return Ok(Err(ForkError::Failed(cause)));
            }
        };
        let watched = pidfd.try_clone().and_then(crate::sys::watch);
        let watched =
            watched.map_err(|cause| End::Broken(format!("an instance cannot be watched: {cause}")))?;
        self.deaths.push(Box::pin(async move {
            // It becomes readable once, when the process is dead; no error is known but that of a closed poller.
            let _ = watched.readable().await;
            number
        }));
        let (place, counters) = match place {
            Some(Placed { id, counters }) => (Some(id), counters),
            None => (None, Counters::default()),
        };
        let (process, obituary) = Process::whole(pid.as_raw_nonzero().get(), pidfd, counters);
        self.instances.insert(number, Instance { pid, place, obituary });
        Ok(Ok(Ahead { number, process, ends: Ends { channel, stdout, stderr } }))
    }

    /// The inner error is that of one fork, which is no reason to do without the zygote.
    async fn request(
        &mut self,
        number: u32,
        channel: OwnedFd,
        stdio: Stdio,
    ) -> Result<io::Result<(Pid, OwnedFd, OwnedFd)>, End> {
        let broken = |cause: io::Error| End::Broken(cause.to_string());
        let hello = hello::Awaited::new(channel).map_err(broken)?;
        let scratch = self.ground.tmp.join(number.to_string());
        let Parts { process, link, .. } = &mut self.parts;
        link.encoder.frame(Kind::Fork, number, scratch.to_string_lossy().as_bytes());
        let fds = [stdio.channel.as_fd(), stdio.stdout.as_fd(), stdio.stderr.as_fd()];
        link.flush_with(&fds).await.map_err(broken)?;
        // When the process dies before its hello, nobody else may hold its end.
        drop(stdio);
        tokio::select! {
            hello = hello.received(self.program) => Ok(hello),
            _ = process.exited() => Err(End::Died),
        }
    }

    /// An instance is dead, and nobody has collected it yet.
    async fn bury(&mut self, number: u32) -> Result<(), End> {
        let Some(instance) = self.instances.remove(&number) else { return Ok(()) };
        let was_ahead = self.ahead.take_if(|ahead| ahead.number == number).is_some();
        // While its leader is a zombie the group's number belongs to nobody else.
        let _ = rustix::process::kill_process_group(instance.pid, Signal::KILL);
        let reaped = match self.reap_in_time(number).await {
            Ok(exit) => exit,
            Err(end) => {
                // It ends together with the zygote, which then says why.
                self.instances.insert(number, instance);
                return Err(end);
            }
        };
        if was_ahead {
            self.ahead_at = Instant::now() + AHEAD_AGAIN;
        } else {
            self.used = Instant::now();
        }
        self.count();
        let known: Vec<i32> =
            self.instances.values().map(|instance| instance.pid.as_raw_nonzero().get()).collect();
        let mut left = Strangers::kill(self.outer, self.program, &known);
        let (ran_out, last) = match instance.place {
            Some(place) => self.ground.launcher.leave(place).await,
            None => Default::default(),
        };
        let exit = match reaped {
            Exit::Signal(libc::SIGKILL) if ran_out => Exit::OutOfMemory,
            exit => exit,
        };
        instance.obituary.publish(exit, last);
        // Each round makes the next generation visible.
        for _ in 0..ROUNDS {
            if left.none() || !left.gone().await {
                break;
            }
            // Number 0: only what is nobody's.
            self.reap_in_time(0).await?;
            left = Strangers::kill(self.outer, self.program, &known);
        }
        Ok(())
    }

    async fn reap_in_time(&mut self, number: u32) -> Result<Exit, End> {
        let reaped = tokio::time::timeout(REAPED, self.reap(number)).await;
        reaped
            .unwrap_or_else(|_| Err(End::Broken(format!("it did not answer within {} s", REAPED.as_secs()))))
    }

    async fn reap(&mut self, number: u32) -> Result<Exit, End> {
        self.parts.link.encoder.frame(Kind::Reap, number, &[]);
        loop {
            while let Some(frame) = self.frame()? {
                match frame.kind {
                    Kind::Exited if frame.call == number => {
                        return Ok(match message::exited(&frame.payload) {
                            Some(status @ 0..) => Exit::Code(status),
                            Some(signal) => Exit::Signal(signal.saturating_neg()),
                            None => Exit::Unseen,
                        });
                    }
                    Kind::Exited => {}
                    _ => return Err(unexpected(&frame)),
                }
            }
            let Parts { process, link, .. } = &mut self.parts;
            tokio::select! {
                turn = link.turn(true), if !link.is_closed() => turn.map_err(|cause| End::Broken(cause.to_string()))?,
                _ = process.exited() => return Err(End::Died),
            }
        }
    }
}

fn unexpected(frame: &Frame) -> End {
    let message = "comes from a zygote";
    End::Broken(FrameError::Unexpected { kind: frame.kind, call: frame.call, message }.to_string())
}
