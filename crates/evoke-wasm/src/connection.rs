//! A function's socket: its `INIT`, then its calls, as many at once as the host wants.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::component::Linker;

use evoke_worker::frame::message::{self, PROTOCOL};
use evoke_worker::frame::{Decoder, Frame, Kind};

use crate::body::Chunk;
use crate::call::{Call, Handle};
use crate::function::{Components, Function};
use crate::guest::Guest;
use crate::outbox::Outbox;
use crate::process::RUNTIME;
use crate::ticker::Ticker;
use crate::wire::{Error, Init, Ready};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// What all functions of the process share.
pub(crate) struct Process {
    pub linker: Linker<Guest>,
    pub components: Components,
    pub ticker: Ticker,
    pub tasks: TaskTracker,
}

/// One function's side of the protocol.
struct Connection {
    process: Arc<Process>,
    function: Option<Arc<Function>>,
    outbox: Arc<Outbox>,
    calls: HashMap<u32, Handle>,
    /// Ends all calls.
    end: CancellationToken,
}

/// Serves a function until the host closes its socket.
pub(crate) async fn serve(socket: UnixStream, process: Arc<Process>) {
    let (read, write) = socket.into_split();
    let (outbox, end) = (Arc::new(Outbox::default()), CancellationToken::new());
    let calls = HashMap::new();
    let mut connection =
        Connection { process, function: None, outbox: Arc::clone(&outbox), calls, end: end.clone() };
    let reading = async {
        // The host does not break its own rules; if it goes away the calls are of no use.
        let _ = connection.read(read).await;
        end.cancel();
    };
    let writing = outbox.write(write, end.clone());
    let (_, _) = tokio::join!(reading, writing);
}

impl Connection {
    async fn read(&mut self, mut socket: OwnedReadHalf) -> io::Result<()> {
        let mut decoder = Decoder::default();
        loop {
            if socket.read_buf(decoder.space(READ_BYTES)).await? == 0 {
                return Ok(());
            }
            while let Some(frame) = decoder.take().map_err(io::Error::other)? {
                if frame.kind == Kind::Stop {
                    return Ok(());
                }
                self.take(frame).map_err(io::Error::other)?;
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
            Kind::Answer => handle.platform.answer(payload),
            other => return Err(format!("{other:?} frame from the host")),
        }
        Ok(())
    }

    fn init(&mut self, payload: &[u8]) -> Result<(), String> {
        let init: Init = message::parse(Kind::Init, payload).map_err(|cause| cause.to_string())?;
        match Function::load(&self.process.components, &self.process.linker, init) {
            Ok(function) => {
                let contract = function.contract().name();
                self.function = Some(Arc::new(function));
                self.outbox.json(Kind::Ready, 0, &Ready { protocol: PROTOCOL, runtime: RUNTIME, contract })
            }
            Err(cause) => {
                let message = cause.to_string();
                let error = Error { ty: "LoadError", message: &message, stack: None, code: None };
                self.outbox.json(Kind::InitError, 0, &error)
            }
        }
    }

    fn invoke(&mut self, number: u32, payload: Bytes) -> Result<(), String> {
        let Some(function) = &self.function else { return Err("a call before READY".to_owned()) };
        self.calls.retain(|_, handle| !handle.chunks.is_closed());
        let (call, handle) = Call::new(number, Arc::clone(function), Arc::clone(&self.outbox), &self.end);
        self.calls.insert(number, handle);
        self.process.tasks.spawn(call.run(payload, self.process.ticker.clone()));
        Ok(())
    }
}
