//! How slow a client may be: so many bytes a second while it is waited for, counted over the time that was waited.
//!
//! Waiting for anybody else does not count: a body that the function does not read, an answer that an upstream is late with.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What a client has to keep up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second; 0 for none.
    pub bytes: u64,
    /// What is not counted at first.
    pub grace: Duration,
}

/// A client that did not keep up.
#[derive(Debug, thiserror::Error)]
#[error("the client moves fewer than {0} bytes a second")]
pub(crate) struct TooSlow(u64);

/// Counts what moved against the time that was waited for it.
struct Meter {
    pace: Pace,
    moved: u64,
    waited: Duration,
    since: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Meter {
    fn new(pace: Pace) -> Self {
        Self { pace, moved: 0, waited: Duration::ZERO, since: None }
    }

    /// Something moved.
    fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if let Some((since, _)) = self.since.take() {
            self.waited += since.elapsed();
        }
        // What was fast long ago is no excuse for ever.
        if self.waited > 2 * self.pace.grace && !self.is_behind(self.waited) {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Nothing moves. Ready when that is so for too long.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        if self.pace.bytes == 0 {
            return Poll::Pending;
        }
        if self.since.is_none() {
            // As long as what has moved is good for, but no credit for hours: what filled the buffers of a client that
            // does not read has moved too.
            let good = Duration::from_millis(self.moved.saturating_mul(1_000) / self.pace.bytes);
            let left = (self.pace.grace + good).saturating_sub(self.waited).min(2 * self.pace.grace);
            self.since = Some((Instant::now(), Box::pin(sleep(left))));
        }
        match &mut self.since {
            Some((_, sleep)) => sleep.as_mut().poll(cx).map(|()| TooSlow(self.pace.bytes)),
            None => Poll::Pending,
        }
    }

    fn is_behind(&self, waited: Duration) -> bool {
        let counted = waited.saturating_sub(self.pace.grace);
        (self.moved as u128) < u128::from(self.pace.bytes) * counted.as_millis() / 1_000
    }
}

/// A request's body that has to keep up. `slow` is set when it does not.
pub(crate) struct Kept<B> {
    body: B,
    meter: Meter,
    slow: Arc<AtomicBool>,
}

impl<B> Kept<B> {
    pub fn new(body: B, pace: Pace, slow: Arc<AtomicBool>) -> Self {
        Self { body, meter: Meter::new(pace), slow }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Kept<B>
where
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame {
                self.meter.moved(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let slow = ready!(self.meter.poll_wait(cx));
        self.slow.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(slow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose client has to read what it is sent.
pub(crate) struct Taken<S> {
    inner: S,
    meter: Meter,
}

impl<S> Taken<S> {
    pub fn new(inner: S, pace: Pace) -> Self {
        Self { inner, meter: Meter::new(pace) }
    }

    fn count(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(bytes)) => {
                self.meter.moved(bytes);
                wrote
            }
            Poll::Ready(_) => wrote,
            Poll::Pending => {
                self.meter.poll_wait(cx).map(|slow| Err(io::Error::new(io::ErrorKind::TimedOut, slow)))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.count(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
