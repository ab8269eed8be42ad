//! A function's socket: its `INIT`, then its calls, as many at once as the host wants.
//!
//! One task reads, runs the calls and writes: a call of an idle function costs one wake-up, and its answer leaves in the poll that
//! made it. A guest that computes gives up its turn at each tick of the clock, and then the socket is looked at.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWrite as _;
use tokio::net::UnixStream;
use tokio_util::io::poll_read_buf;
use tokio_util::task::TaskTracker;

use evoke_worker::frame::message::{self, PROTOCOL};
use evoke_worker::frame::{Decoder, Encoder, Frame, Kind};

use crate::body::Chunk;
use crate::call::{Call, Handle};
use crate::function::{Components, Function, Worlds};
use crate::guest::WaysOut;
use crate::instance::Kept;
use crate::outbox::Outbox;
use crate::outgoing::{Network, Outgoing};
use crate::platform::Platform;
use crate::pool::Pool;
use crate::process::RUNTIME;
use crate::ticker::Ticker;
use crate::wire::{Error, Init, Ready};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// What all functions of the process share.
pub(crate) struct Process {
    pub worlds: Worlds,
    pub components: Components,
    pub ticker: Ticker,
    pub network: Arc<Network>,
    pub tasks: TaskTracker,
}

/// One function's side of the protocol.
struct Connection {
    process: Arc<Process>,
    socket: UnixStream,
    decoder: Decoder,
    function: Option<Arc<Function>>,
    kept: Arc<Kept>,
    pool: Arc<Pool>,
    outbox: Arc<Outbox>,
    /// On their way out of the outbox.
    leaving: Encoder,
    calls: HashMap<u32, Handle>,
    running: FuturesUnordered<Running>,
}

/// A call; its number when it is over.
type Running = Pin<Box<dyn Future<Output = u32> + Send>>;

/// Serves a function until the host closes its socket. Its calls end with it.
pub(crate) async fn serve(socket: UnixStream, process: Arc<Process>) {
    let mut connection = Connection {
        process,
        socket,
        decoder: Decoder::default(),
        function: None,
        kept: Arc::default(),
        pool: Arc::default(),
        outbox: Arc::default(),
        leaving: Encoder::default(),
        calls: HashMap::new(),
        running: FuturesUnordered::new(),
    };
    // The host does not break its own rules; if it goes away the calls are of no use.
    let _ = poll_fn(|cx| connection.poll(cx)).await;
}

impl Connection {
    /// Until the host has closed its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.outbox.attend();
            let has_read = match self.poll_read(cx)? {
                Poll::Ready(false) => return Poll::Ready(Ok(())),
                Poll::Ready(true) => true,
                Poll::Pending => false,
            };
            while let Poll::Ready(Some(number)) = self.running.poll_next_unpin(cx) {
                self.calls.remove(&number);
            }
            // When it is pending, either all is written, or the socket says when there is room.
            let _ = self.poll_write(cx)?;
            if !has_read {
                return Poll::Pending;
            }
        }
    }

    /// Reads once, and takes what came. False at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let space = self.decoder.space(READ_BYTES);
        if ready!(poll_read_buf(Pin::new(&mut self.socket), cx, space))? == 0 {
            return Poll::Ready(Ok(false));
        }
        while let Some(frame) = self.decoder.take().map_err(io::Error::other)? {
            if frame.kind == Kind::Stop {
                return Poll::Ready(Ok(false));
            }
            self.take(frame).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(true))
    }

    /// Writes what there is. Never ready.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<std::convert::Infallible>> {
        loop {
            while !self.leaving.unwritten().is_empty() {
                let socket = Pin::new(&mut self.socket);
                let written = ready!(socket.poll_write(cx, self.leaving.unwritten()))?;
                self.leaving.advance(written);
                self.outbox.has_emptied();
            }
            if !self.outbox.take(&mut self.leaving, cx) {
                return Poll::Pending;
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), String> {
        let Frame { kind, call, payload } = frame;
        match kind {
            Kind::Init => return self.init(&payload),
            Kind::Invoke => return self.invoke(call, payload),
            _ => {}
        }
        // Frames of calls that are over may still arrive.
        let Some(handle) = self.calls.get(&call) else { return Ok(()) };
        match kind {
            Kind::Body => drop(handle.chunks.send(Chunk::Part(payload))),
            Kind::BodyEnd => drop(handle.chunks.send(Chunk::Last(payload))),
            Kind::BodyAbort => drop(handle.chunks.send(Chunk::Aborted)),
            Kind::Credit => {
                handle.credit.add_permits(message::credit(&payload).map_err(|cause| cause.to_string())?);
            }
            Kind::Cancel => handle.cancel.cancel(),
            Kind::Answer => handle.ways_out.platform.answer(payload),
            Kind::Connected => {
                let (number, word) = message::numbered(kind, &payload).map_err(|cause| cause.to_string())?;
                handle.ways_out.outgoing.connected(number, word);
            }
            other => return Err(format!("{other:?} frame from the host")),
        }
        Ok(())
    }

    fn init(&mut self, payload: &[u8]) -> Result<(), String> {
        let init: Init = message::parse(Kind::Init, payload).map_err(|cause| cause.to_string())?;
        match Function::load(&self.process.components, &self.process.worlds, init) {
            Ok(function) => {
                let contract = function.contract().name();
                self.function = Some(Arc::new(function));
                self.outbox.json(Kind::Ready, 0, &Ready { protocol: PROTOCOL, runtime: RUNTIME, contract })
            }
            Err(cause) => {
                let message = cause.to_string();
                let error =
                    Error { ty: "LoadError", message: &message, stack: None, code: None, usage: None };
                self.outbox.json(Kind::InitError, 0, &error)
            }
        }
    }

    fn invoke(&mut self, number: u32, payload: Bytes) -> Result<(), String> {
        let Some(function) = &self.function else { return Err("a call before READY".to_owned()) };
        let (outbox, pool) = (Arc::clone(&self.outbox), Arc::clone(&self.pool));
        let platform = Arc::new(Platform::new(number, Arc::clone(&outbox)));
        let network = Arc::clone(&self.process.network);
        let outgoing = Arc::new(Outgoing::new(number, network, Arc::clone(&outbox), pool));
        let ways_out = WaysOut { platform, outgoing };
        let (call, handle) =
            Call::new(number, Arc::clone(function), Arc::clone(&self.kept), outbox, ways_out);
        self.calls.insert(number, handle);
        let ticker = self.process.ticker.clone();
        self.running.push(Box::pin(async move {
            call.run(payload, ticker).await;
            number
        }));
        Ok(())
    }
}
