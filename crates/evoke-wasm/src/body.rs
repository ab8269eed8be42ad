//! Bodies in both directions: frames under credit on one side, what guests read and write on the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, mpsc};
use wasmtime_wasi_http::{Error, WasiBody};

use evoke_worker::frame::{CHUNK_BYTES, Kind, WINDOW_BYTES};

use crate::outbox::Outbox;

/// What the host sends of a request's body.
#[derive(Debug)]
pub(crate) enum Chunk {
    Part(Bytes),
    Last(Bytes),
    /// The rest will never come.
    Aborted,
}

/// The request's body as the guest reads it. What it has read, the host may send again.
pub(crate) struct Incoming {
    chunks: mpsc::UnboundedReceiver<Chunk>,
    outbox: Arc<Outbox>,
    call: u32,
    /// Read, and not granted yet.
    read: usize,
    is_over: bool,
}

impl Incoming {
    /// The body of `call`. The host's credit bounds what waits in `chunks`.
    pub fn new(chunks: mpsc::UnboundedReceiver<Chunk>, outbox: Arc<Outbox>, call: u32) -> Self {
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

impl Body for Incoming {
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
    credit: &Semaphore,
    outbox: &Outbox,
    call: u32,
    has_failed: &AtomicBool,
) -> Result<(), Error> {
    while let Some(frame) = body.frame().await {
        // Trailers have no place in the protocol.
        let Ok(mut data) = frame?.into_data() else { continue };
        while !data.is_empty() {
            let wanted = data.len().min(CHUNK_BYTES);
            let Ok(permit) = credit.acquire().await else { return Ok(()) };
            let more = credit.available_permits().min(wanted - 1);
            let more = u32::try_from(more).unwrap_or(0);
            let bytes = 1 + credit.try_acquire_many(more).map_or(0, |more_permits| {
                more_permits.forget();
                more as usize
            });
            permit.forget();
            outbox.frame(Kind::Body, call, &[&data.split_to(bytes)]);
        }
    }
    if has_failed.load(Ordering::Relaxed) {
        return Err(Error::HttpResponseIncomplete);
    }
    outbox.frame(Kind::BodyEnd, call, &[]);
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
