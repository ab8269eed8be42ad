//! A request or response body: whole in memory, or arriving in chunks through a bounded channel.

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
    Stream(mpsc::Receiver<Result<Bytes, BodyError>>),
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// The next chunk, or `None` at the end. Waits for the sender of a streamed body.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Stream(rest) => rest.recv().await,
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
