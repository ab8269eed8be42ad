//! A function's socket: its `INIT`, then its calls, as many at once as the host wants.
//!
//! One task reads, begins the calls and writes. What ends at once, as most calls do, ends in the same turn: calls that came together are
//! answered together, at the price of one wake-up. The others go on as tasks of their own: on the same thread as long as they take
//! little of its time, on others once they compute ([`Making`]). Calls of a function that has been seen to compute ([`Habit`]) begin
//! there, so that they do not wait for one another.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::coop;
use tokio::time::{Sleep, sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use evoke_core::usage::Usage;
use evoke_worker::Socket;
use evoke_worker::frame::compact::{Invocation, Invoked};
use evoke_worker::frame::message::{self, HeaderBounds, PROTOCOL};
use evoke_worker::frame::{Decoder, Encoder, Frame, Kind};

use crate::body::{Body, Chunk};
use crate::call::Call;
use crate::failure::Failure;
use crate::function::{Components, Function, Worlds};
use crate::instance::Instance;
use crate::kept::Kept;
use crate::making::{Habit, Making, Stop};
use crate::meter::Batch;
use crate::outbox::Outbox;
use crate::outgoing::Network;
use crate::pool::Pool;
use crate::process::RUNTIME;
use crate::ticker::Ticker;
use crate::tie::Tie;
use crate::wire::{Error, Init, Ready};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Calls that are answered together at most: while the host is busy with these answers, the next are made.
const TOGETHER: u32 = 4;
/// Of a request. The host has checked it against smaller ones.
const REQUEST_HEADERS: HeaderBounds = HeaderBounds { fields: 1024, bytes: 1 << 20 };

/// What all functions of the process share.
pub(crate) struct Process {
    pub worlds: Worlds,
    pub components: Components,
    pub ticker: Ticker,
    pub network: Arc<Network>,
    /// Where calls go on that keep a thread busy.
    pub others: Handle,
}

/// One function's side of the protocol.
struct Connection {
    process: Arc<Process>,
    socket: Socket,
    decoder: Decoder,
    function: Option<Arc<Function>>,
    common: Arc<Common>,
    kept: Arc<Kept>,
    /// On their way out of the outbox.
    leaving: Encoder,
    /// Calls that were not over at once.
    calls: HashMap<u32, Begun>,
    tasks: TaskTracker,
    habit: Arc<Habit>,
    /// While instances are kept.
    tidying: Option<Pin<Box<Sleep>>>,
}

/// What all calls of a connection share.
pub(crate) struct Common {
    pub outbox: Arc<Outbox>,
    /// Its connections to other servers.
    pub pool: Pool,
    pub network: Arc<Network>,
    /// Calls that have ended as tasks of their own, for the connection to forget.
    ended: Mutex<Vec<u32>>,
}

impl Common {
    /// Of a connection that writes what is in `outbox`.
    pub fn new(outbox: Arc<Outbox>, network: Arc<Network>) -> Self {
        Self { outbox, pool: Pool::default(), network, ended: Mutex::default() }
    }
}

/// A call that has begun, and is not over.
struct Begun {
    tie: Arc<Tie>,
    /// Where parts of its request's body go, if there are any to come.
    chunks: Option<mpsc::UnboundedSender<Chunk>>,
    _task: AbortOnDropHandle<()>,
}

/// Serves a function until the host closes its socket. Its calls end with it.
pub(crate) async fn serve(socket: Socket, process: Arc<Process>) {
    let network = Arc::clone(&process.network);
    let common = Common::new(Arc::default(), network);
    let mut connection = Connection {
        process,
        socket,
        decoder: Decoder::default(),
        function: None,
        common: Arc::new(common),
        kept: Arc::default(),
        leaving: Encoder::default(),
        calls: HashMap::new(),
        tasks: TaskTracker::new(),
        habit: Arc::default(),
        tidying: None,
    };
    // The host does not break its own rules; if it goes away the calls are of no use.
    let _ = poll_fn(|cx| connection.poll(cx)).await;
    connection.calls.clear();
    connection.let_go(connection.kept.all());
    connection.tasks.close();
    // The socket is closed when they have ended: so the host sees whether they do.
    connection.tasks.wait().await;
}

impl Connection {
    /// Until the host has closed its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.common.outbox.attend();
            let has_read = match self.poll_read(cx)? {
                Poll::Ready(false) => return Poll::Ready(Ok(())),
                Poll::Ready(true) => true,
                Poll::Pending => false,
            };
            if !self.calls.is_empty() {
                self.common.ended.lock().drain(..).for_each(|number| _ = self.calls.remove(&number));
            }
            if self.function.as_ref().is_some_and(|function| function.init.reuse) {
                self.tidy(cx);
            }
            // When it is pending, either all is written, or the socket says when there is room.
            let _ = self.poll_write(cx)?;
            if !has_read {
                return Poll::Pending;
            }
        }
    }

    /// Lets go of instances that nothing was wanted of for a while.
    fn tidy(&mut self, cx: &mut Context<'_>) {
        if self.tidying.is_none() && self.kept.is_empty() {
            return;
        }
        let tidying = self.tidying.get_or_insert_with(|| Box::pin(sleep(Kept::IDLE_MAX)));
        if tidying.as_mut().poll(cx).is_ready() {
            self.let_go(self.kept.idle());
            self.tidying = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Drops instances, which takes its time, on another thread.
    fn let_go(&self, instances: Vec<Instance>) {
        if !instances.is_empty() {
            self.tasks.spawn_on(async move { drop(instances) }, &self.process.others);
        }
    }

    /// Reads once, and takes what came. False at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let space = self.decoder.space(READ_BYTES);
        if ready!(self.socket.poll_read(cx, space))? == 0 {
            return Poll::Ready(Ok(false));
        }
        let mut next = self.decoder.take().map_err(io::Error::other)?;
        let mut begun = 0;
        let batch = Batch::begin();
        while let Some(frame) = next {
            match frame.kind {
                Kind::Stop => return Poll::Ready(Ok(false)),
                Kind::Invoke => begun += 1,
                // What was begun before pays for it itself, or nobody does.
                _ => batch.interrupt(),
            }
            let left = self.take(frame, cx).map_err(io::Error::other)?;
            if begun == TOGETHER {
                begun = 0;
                let _ = self.poll_write(cx)?;
                batch.interrupt();
            }
            next = match left {
                Some(left) => Some(left),
                None => self.decoder.take().map_err(io::Error::other)?,
            };
        }
        Poll::Ready(Ok(true))
    }

    /// Writes what there is. Never ready.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<std::convert::Infallible>> {
        loop {
            while !self.leaving.unwritten().is_empty() {
                let written = ready!(self.socket.poll_write(cx, self.leaving.unwritten()))?;
                self.leaving.advance(written);
                self.common.outbox.has_emptied();
            }
            if !self.common.outbox.take(&mut self.leaving, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Takes a frame, and perhaps those behind it; one that it took too many is handed back.
    fn take(&mut self, frame: Frame, cx: &mut Context<'_>) -> Result<Option<Frame>, String> {
        let Frame { kind, call, payload } = frame;
        match kind {
            Kind::Init => self.init(&payload)?,
            Kind::Invoke => return self.invoke(call, payload, cx),
            // Frames of calls that are over may still arrive.
            _ => {
                if let Some(begun) = self.calls.get(&call) {
                    begun.take(kind, payload)?;
                }
            }
        }
        Ok(None)
    }

    fn init(&mut self, payload: &[u8]) -> Result<(), String> {
        let init: Init = message::parse(Kind::Init, payload).map_err(|cause| cause.to_string())?;
        match Function::load(&self.process.components, &self.process.worlds, init) {
            Ok(function) => {
                let contract = function.contract().name();
                self.function = Some(Arc::new(function));
                self.common.outbox.json(
                    Kind::Ready,
                    0,
                    &Ready { protocol: PROTOCOL, runtime: RUNTIME, contract },
                )
            }
            Err(cause) => {
                let message = cause.to_string();
                let error =
                    Error { ty: "LoadError", message: &message, stack: None, code: None, usage: None };
                self.common.outbox.json(Kind::InitError, 0, &error)
            }
        }
    }

    /// Begins a call. Most are over at once, and are never among those that wait.
    fn invoke(&mut self, number: u32, payload: Bytes, cx: &mut Context<'_>) -> Result<Option<Frame>, String> {
        let Some(function) = &self.function else { return Err("a call before READY".to_owned()) };
        let Invoked { deadline_ms, marks, input } = match Invoked::read(payload, REQUEST_HEADERS) {
            Ok(invoked) => invoked,
            Err(cause) => {
                let failure = Failure::new("Error", format!("the request cannot be made: {cause}"));
                self.common.outbox.json(Kind::Error, number, &failure.payload(Usage::default()))?;
                return Ok(None);
            }
        };
        let (mut body, mut chunks, mut left) = (Body::Full(Bytes::new()), None, None);
        if matches!(input, Invocation::Request { body: true, .. }) {
            // A small body has come along as a whole: no need for a channel.
            match self.decoder.take().map_err(|cause| cause.to_string())? {
                Some(frame) if frame.kind == Kind::BodyEnd && frame.call == number => {
                    body = Body::Full(frame.payload);
                }
                next => {
                    let (to, from) = mpsc::unbounded_channel();
                    (body, chunks, left) = (Body::Chunks(from), Some(to), next);
                }
            }
        }
        let tie = Arc::new(Tie::new(number, &self.common, marks));
        let call = Call {
            function: Arc::clone(function),
            kept: Arc::clone(&self.kept),
            outbox: Arc::clone(&self.common.outbox),
            tie: Arc::clone(&tie),
            deadline_ms,
        };
        let (ticker, habit, common) =
            (self.process.ticker.clone(), Arc::clone(&self.habit), Arc::clone(&self.common));
        let outbox = Arc::clone(&self.common.outbox);
        let call =
            AssertUnwindSafe(call.run(input, body, ticker)).catch_unwind().map(move |ended| match ended {
                Ok(cpu_us) => habit.note(cpu_us),
                // The log has its words. Nobody else would tell the host.
                Err(_) => {
                    let failure = Failure::new("Error", "the program that runs components failed");
                    let _ = outbox.json(Kind::Error, number, &failure.payload(Usage::default()));
                }
            });
        let mut call = Making::new(call, Arc::clone(&self.habit));
        let mut is_here = self.habit.is_short();
        if is_here {
            // Each as if it were the only one: what one may do in a turn is not taken from those behind it.
            match pin!(coop::unconstrained(poll_fn(|cx| call.poll_here(cx)))).poll(cx) {
                Poll::Ready(Stop::Over) => return Ok(left),
                Poll::Ready(Stop::Computes) => is_here = false,
                Poll::Pending => {}
            }
        }
        let (tasks, others) = (self.tasks.clone(), self.process.others.clone());
        let ended = move || common.ended.lock().push(number);
        let task = if is_here {
            self.tasks.spawn(async move {
                call.go_on(tasks, others).await;
                ended();
            })
        } else {
            self.tasks.spawn_on(
                async move {
                    call.into_call().await;
                    ended();
                },
                &others,
            )
        };
        self.calls.insert(number, Begun { tie, chunks, _task: AbortOnDropHandle::new(task) });
        Ok(left)
    }
}

impl Begun {
    /// Takes a frame of its call.
    fn take(&self, kind: Kind, payload: Bytes) -> Result<(), String> {
        match kind {
            Kind::Body => self.chunk(Chunk::Part(payload)),
            Kind::BodyEnd => self.chunk(Chunk::Last(payload)),
            Kind::BodyAbort => self.chunk(Chunk::Aborted),
            Kind::Credit => {
                self.tie.credit.add_permits(message::credit(&payload).map_err(|cause| cause.to_string())?);
            }
            Kind::Cancel => self.tie.cancelled.notify_one(),
            Kind::Answer => self.tie.platform.answer(payload),
            Kind::Connected => {
                let (number, word) = message::numbered(kind, &payload).map_err(|cause| cause.to_string())?;
                self.tie.outgoing.connected(number, word);
            }
            other => return Err(format!("{other:?} frame from the host")),
        }
        Ok(())
    }

    fn chunk(&self, chunk: Chunk) {
        if let Some(chunks) = &self.chunks {
            // A guest that does not read any more does not need it.
            let _ = chunks.send(chunk);
        }
    }
}
