//! The process: one socket of its own, over which it is handed a socket for each function it is to serve.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use evoke_worker::Socket;
use evoke_worker::frame::message::{self, PROTOCOL};
use evoke_worker::frame::{Decoder, Encoder, Kind};
use evoke_worker::make_room_for_open_files;

use crate::connection::{self, Process};
use crate::function::{Components, Worlds};
use crate::lent::Lent;
use crate::outgoing::Network;
use crate::threads::{TURNS, Threads};
use crate::ticker::Ticker;
use crate::tls::Tls;
use crate::wire::{InitProcess, Ready};

/// What executes components, for people.
pub(crate) const RUNTIME: &str = "wasmtime 48";

/// Files that it opens without a pause; the sandbox allows no more.
const OPEN_FILES: u64 = 1024;
/// Sockets in one message.
const SOCKETS: usize = 4;

/// The body of the process. Its socket is at `channel`. Returns when the host has closed that.
pub fn main(channel: OwnedFd) -> ExitCode {
    match run(channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(channel: OwnedFd) -> io::Result<()> {
    make_room_for_open_files(&channel, OPEN_FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(TURNS)
        .thread_name("evoke-wasm")
        .build()?;
    let served = runtime.block_on(async {
        let channel = StdUnixStream::from(channel);
        channel.set_nonblocking(true)?;
        serve(UnixStream::from_std(channel)?).await
    });
    // Nobody is left to hear of what is still running.
    runtime.shutdown_background();
    served
}

async fn serve(mut channel: UnixStream) -> io::Result<()> {
    let (mut inbox, mut process) = (Inbox::default(), None);
    let threads = Threads::start(Threads::usual())?;
    while inbox.receive(&channel).await? {
        while let Some(frame) = inbox.decoder.take().map_err(io::Error::other)? {
            match (frame.kind, &process) {
                (Kind::Init, None) => {
                    let init = message::parse(Kind::Init, &frame.payload).map_err(io::Error::other)?;
                    process = Some(Arc::new(start(&init).map_err(io::Error::other)?));
                    ready(&mut channel).await?;
                }
                (Kind::Open, Some(process)) => {
                    let socket = inbox.sockets.pop_front();
                    let socket = socket.ok_or_else(|| io::Error::other("OPEN without a socket"))?;
                    let process = Arc::clone(process);
                    threads.spawn(async move {
                        // Of what cannot be watched the host sees that it is closed.
                        if let Ok(socket) = Socket::new(socket) {
                            connection::serve(socket, process).await;
                        }
                    });
                }
                (Kind::Lend, Some(process)) => {
                    let number = frame.payload[..].try_into().map(u64::from_le_bytes);
                    let number = number.map_err(|_| io::Error::other("LEND without a number"))?;
                    let socket = inbox.sockets.pop_front();
                    let socket = socket.ok_or_else(|| io::Error::other("LEND without a socket"))?;
                    process.network.lent.take(number, socket);
                }
                (Kind::Stop, _) => return Ok(()),
                (other, _) => return Err(io::Error::other(format!("{other:?} frame at this moment"))),
            }
        }
    }
    Ok(())
}

fn start(init: &InitProcess) -> wasmtime::Result<Process> {
    let worlds = Worlds::new(init.instances)?;
    let ticker = Ticker::start(worlds.engines())?;
    let tls = Tls::new(&init.authorities);
    let network = Arc::new(Network { lent: Lent::default(), tls, tasks: TaskTracker::new() });
    Ok(Process { worlds, components: Components::default(), ticker, network, others: Handle::current() })
}

async fn ready(channel: &mut UnixStream) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let ready = Ready { protocol: PROTOCOL, runtime: RUNTIME, contract: "wasm" };
    encoder.json(Kind::Ready, 0, &ready).map_err(io::Error::other)?;
    channel.write_all(encoder.unwritten()).await
}

/// What has arrived: bytes, and the sockets that came with them.
#[derive(Default)]
struct Inbox {
    decoder: Decoder,
    sockets: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Waits for more. False when the other side has closed.
    async fn receive(&mut self, channel: &UnixStream) -> io::Result<bool> {
        loop {
            channel.readable().await?;
            let received = channel.try_io(Interest::READABLE, || {
                let mut bytes = [0; 4096];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let flags = RecvFlags::CMSG_CLOEXEC;
                let message = recvmsg(channel, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
                for part in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(sockets) = part {
                        self.sockets.extend(sockets);
                    }
                }
                self.decoder.space(message.bytes).extend_from_slice(&bytes[..message.bytes]);
                Ok(message.bytes)
            });
            match received {
                Ok(bytes) => return Ok(bytes > 0),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                Err(cause) => return Err(cause),
            }
        }
    }
}
