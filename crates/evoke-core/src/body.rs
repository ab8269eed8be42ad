//! A request or response body: whole in memory, or arriving in chunks through a bounded channel.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than allowed.
    #[error("body is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was passed.
        limit_bytes: u64,
    },
    /// A decorator gave it to what follows: the rest goes there.
    #[error("body was handed on to what is next")]
    HandedOn,
    /// Whoever sends it went away or failed.
    #[error("body ended early: {0}")]
    Aborted(String),
}

/// A body. Chunks are handed over as they come; a slow reader slows the writer down.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Full(Bytes),
    /// The rest arrives here; the channel closes at the end.
    Stream(Chunks),
    /// The same, and somebody wants to know when its reader leaves.
    Watched(Watched),
}

/// Chunks on their way; the channel closes at the end.
pub type Chunks = mpsc::Receiver<Result<Bytes, BodyError>>;

/// Chunks of which somebody takes the rest when they are dropped before their end.
pub struct Watched {
    chunks: Chunks,
    /// `None` once the end was reached.
    left: Option<Left>,
}

/// Takes the rest of a body whose reader has left.
type Left = Box<dyn FnOnce(Chunks) + Send + Sync>;

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// The next chunk, or `None` at the end. Waits for the sender of a streamed body.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// [`Body::chunk`] for who polls.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Stream(rest) => rest.poll_recv(cx),
            Self::Watched(rest) => {
                let chunk = ready!(rest.chunks.poll_recv(cx));
                if chunk.is_none() {
                    rest.left = None;
                }
                Poll::Ready(chunk)
            }
        }
    }

    /// Has `left` called with the rest if the reader leaves before the end, when the body still arrives.
    #[must_use]
    pub fn watched(self, left: impl FnOnce(Chunks) + Send + Sync + 'static) -> Self {
        match self {
            Self::Stream(chunks) => Self::Watched(Watched { chunks, left: Some(Box::new(left)) }),
            body => body,
        }
    }

    /// All bytes, or an error once they exceed `limit_bytes`. Waits for the end of a streamed body.
    pub async fn collect(mut self, limit_bytes: u64) -> Result<Bytes, BodyError> {
        let too_large = |len: usize| len as u64 > limit_bytes;
        if let Self::Full(bytes) = self {
            return if too_large(bytes.len()) { Err(BodyError::TooLarge { limit_bytes }) } else { Ok(bytes) };
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if too_large(all.len() + chunk.len()) {
                return Err(BodyError::TooLarge { limit_bytes });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(left) = self.left.take() else { return };
        // All of it may be here: who knows the length does not wait for the end.
        if !self.chunks.is_closed() {
            left(std::mem::replace(&mut self.chunks, mpsc::channel(1).1));
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("ended", &self.left.is_none()).finish_non_exhaustive()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}
