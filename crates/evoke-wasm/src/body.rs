//! Bodies in both directions: frames under credit on one side, what guests read and write on the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use wasmtime_wasi_http::{Error, WasiBody};

use evoke_worker::frame::{CHUNK_BYTES, Kind, WINDOW_BYTES};

use crate::outbox::Outbox;
use crate::tie::Tie;

/// What the host sends of a request's body.
#[derive(Debug)]
pub(crate) enum Chunk {
    Part(Bytes),
    Last(Bytes),
    /// The rest will never come.
    Aborted,
}

/// A request's body.
pub(crate) enum Body {
    /// It came whole.
    Full(Bytes),
    /// Its parts come here. The host's credit bounds what waits.
    Chunks(mpsc::UnboundedReceiver<Chunk>),
}

impl Body {
    /// As the guest of `call` reads it.
    pub fn of_request(self, outbox: &Arc<Outbox>, call: u32) -> WasiBody {
        match self {
            Self::Full(bytes) if bytes.is_empty() => {
                Empty::new().map_err(|never| match never {}).boxed_unsync()
            }
            Self::Full(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Self::Chunks(chunks) => Incoming::new(chunks, Arc::clone(outbox), call).boxed_unsync(),
        }
    }
}

/// The request's body as the guest reads it while it comes. What it has read, the host may send again.
struct Incoming {
    chunks: mpsc::UnboundedReceiver<Chunk>,
    outbox: Arc<Outbox>,
    call: u32,
    /// Read, and not granted yet.
    read: usize,
    is_over: bool,
}

impl Incoming {
    fn new(chunks: mpsc::UnboundedReceiver<Chunk>, outbox: Arc<Outbox>, call: u32) -> Self {
        Self { chunks, outbox, call, read: 0, is_over: false }
    }

    fn grant(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read >= CHUNK_BYTES {
            let granted = u32::try_from(self.read).unwrap_or(u32::MAX);
            self.outbox.frame(Kind::Credit, self.call, &[&granted.to_le_bytes()]);
            self.read = 0;
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let Poll::Ready(chunk) = self.chunks.poll_recv(cx) else { return Poll::Pending };
        Poll::Ready(match chunk {
            Some(Chunk::Part(bytes)) => {
                self.grant(bytes.len());
                Some(Ok(Frame::data(bytes)))
            }
            Some(Chunk::Last(bytes)) => {
                self.is_over = true;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Some(Chunk::Aborted) | None => {
                self.is_over = true;
                Some(Err(Error::ConnectionTerminated))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Sends a response's body. The error is the guest's: it broke its body off. Where the guest `has_failed` the body has no end,
/// although for its reader it looks like one.
pub(crate) async fn send(
    mut body: WasiBody,
    tie: &Tie,
    outbox: &Outbox,
    has_failed: &AtomicBool,
) -> Result<(), Error> {
    let is_whole = || {
        if has_failed.load(Ordering::Relaxed) { Err(Error::HttpResponseIncomplete) } else { Ok(()) }
    };
    let mut next = body.frame().await;
    while let Some(frame) = next {
        // Trailers have no place in the protocol.
        let Ok(mut data) = frame?.into_data() else {
            next = body.frame().await;
            continue;
        };
        // Whether it is the last: known at once for most answers, which then end with it.
        let following = body.frame().now_or_never();
        let ends = matches!(following, Some(None)) && data.len() <= CHUNK_BYTES && is_whole().is_ok();
        if ends && tie.credit.try_acquire_many(data.len() as u32).map(SemaphorePermit::forget).is_ok() {
            outbox.frame(Kind::BodyEnd, tie.call, &[&data]);
            return Ok(());
        }
        while !data.is_empty() {
            let wanted = data.len().min(CHUNK_BYTES);
            let Ok(permit) = tie.credit.acquire().await else { return Ok(()) };
            let more = tie.credit.available_permits().min(wanted - 1);
            let more = u32::try_from(more).unwrap_or(0);
            let bytes = 1 + tie.credit.try_acquire_many(more).map_or(0, |more_permits| {
                more_permits.forget();
                more as usize
            });
            permit.forget();
            outbox.frame(Kind::Body, tie.call, &[&data.split_to(bytes)]);
        }
        next = match following {
            Some(following) => following,
            None => body.frame().await,
        };
    }
    is_whole()?;
    outbox.frame(Kind::BodyEnd, tie.call, &[]);
    Ok(())
}

/// Reads a whole body of at most `limit` bytes; `None` when it is larger.
pub(crate) async fn collect(body: WasiBody, limit: usize) -> Result<Option<Bytes>, Error> {
    let mut body = http_body_util::Limited::new(body, limit);
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(cause) => match cause.downcast::<Error>() {
                Ok(cause) => return Err(*cause),
                Err(_) => return Ok(None),
            },
        }
    }
    Ok(Some(whole.into()))
}

/// The credit a sender starts with.
pub(crate) fn window() -> Semaphore {
    Semaphore::new(WINDOW_BYTES)
}
