//! The request's body on its way to the worker, under the worker's credit.

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};

use crate::frame::{CHUNK_BYTES, Encoder, FrameError, Kind, REASON_BYTES, WINDOW_BYTES};
use crate::logs;

/// A request body and how much of it may be sent.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None` once its end has been sent.
    body: Option<Body>,
    /// Taken from the body, not sent yet for want of credit.
    chunk: Bytes,
    credit: usize,
    cut_short: Option<BodyError>,
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        let body = if matches!(&body, Body::Full(bytes) if bytes.is_empty()) { None } else { Some(body) };
        Self { body, chunk: Bytes::new(), credit: WINDOW_BYTES, cut_short: None }
    }

    /// Whether the end of the body has yet to be sent.
    pub(super) fn is_open(&self) -> bool {
        self.body.is_some()
    }

    /// Why the body ended before its end, if it did.
    pub(super) fn cut_short(&self) -> Option<String> {
        self.cut_short.as_ref().map(|cause| format!("request {cause}"))
    }

    /// Sends the body at once if it is in memory and has at most `bytes_max` bytes.
    pub(super) fn send_whole(&mut self, bytes_max: usize, call: u32, encoder: &mut Encoder) {
        if let Some(Body::Full(bytes)) = &self.body
            && bytes.len() <= bytes_max
        {
            encoder.frame(Kind::BodyEnd, call, bytes);
            self.body = None;
        }
    }

    pub(super) fn wants_chunk(&self) -> bool {
        self.is_open() && self.chunk.is_empty() && self.credit > 0
    }

    /// The next chunk of the body. Safe to drop and call again.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        match &mut self.body {
            Some(body) => body.chunk().await,
            None => std::future::pending().await,
        }
    }

    /// Sends what [`Upload::chunk`] gave.
    pub(super) fn take(&mut self, chunk: Option<Result<Bytes, BodyError>>, call: u32, encoder: &mut Encoder) {
        match chunk {
            Some(Ok(bytes)) => {
                self.chunk = bytes;
                self.send(call, encoder);
            }
            Some(Err(cause)) => {
                let reason = logs::clean(cause.to_string().as_bytes(), REASON_BYTES);
                encoder.frame(Kind::BodyAbort, call, reason.as_bytes());
                if cause != BodyError::HandedOn {
                    self.cut_short = Some(cause);
                }
                self.body = None;
            }
            None => {
                encoder.frame(Kind::BodyEnd, call, &[]);
                self.body = None;
            }
        }
    }

    /// The worker has read `bytes`.
    pub(super) fn grant(&mut self, bytes: usize, call: u32, encoder: &mut Encoder) -> Result<(), FrameError> {
        if bytes > WINDOW_BYTES - self.credit {
            return Err(FrameError::Unexpected {
                kind: Kind::Credit,
                call,
                message: "grants what was not spent",
            });
        }
        self.credit += bytes;
        self.send(call, encoder);
        Ok(())
    }

    fn send(&mut self, call: u32, encoder: &mut Encoder) {
        while !self.chunk.is_empty() && self.credit > 0 {
            let part = self.chunk.split_to(self.chunk.len().min(self.credit).min(CHUNK_BYTES));
            self.credit -= part.len();
            encoder.frame(Kind::Body, call, &part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_longer_than_its_frame_may_be_is_cut() {
        let (mut upload, mut encoder) =
            (Upload::new(Body::Full(Bytes::from_static(b"x"))), Encoder::default());
        upload.take(Some(Err(BodyError::Aborted("é".repeat(100_000)))), 1, &mut encoder);
        assert!(encoder.unwritten().len() <= crate::frame::HEADER_BYTES + REASON_BYTES);
        assert!(std::str::from_utf8(&encoder.unwritten()[crate::frame::HEADER_BYTES..]).is_ok());
    }
}
