//! The response's body on its way from the worker to whoever reads it.

use std::collections::VecDeque;

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use tokio::sync::mpsc;

use crate::frame::{Encoder, Frame, FrameError, Kind, WINDOW_BYTES};

/// Chunks between this task and the reader.
const CHANNEL: usize = 4;
/// Credit is given back in portions of at least so much, to spare frames.
const GRANT_BYTES: usize = WINDOW_BYTES / 4;

/// Where the answer to a request stands.
#[derive(Debug)]
pub(super) enum Download {
    /// The call is an event: there is no answer.
    Unwanted,
    /// The head has not come.
    Awaited,
    /// The body is under way.
    Open(Stream),
    /// All of it has come and was handed over.
    Complete,
    /// It ended early, and the reader was told.
    Aborted,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// `None` when the reader has gone away: the rest is thrown away.
    reader: Option<mpsc::Sender<Result<Bytes, BodyError>>>,
    /// Kept back for the news that the body ends early.
    last_place: Option<mpsc::OwnedPermit<Result<Bytes, BodyError>>>,
    pending: VecDeque<Bytes>,
    /// What the worker may still send.
    credit: usize,
    /// Read, but not yet given back as credit.
    read: usize,
    ended: bool,
}

impl Download {
    pub(super) fn awaited() -> Self {
        Self::Awaited
    }

    pub(super) fn unwanted() -> Self {
        Self::Unwanted
    }

    /// The head has come. `next` is the frame behind it, if one is there already; it is handed back when it is not the
    /// whole body.
    pub(super) fn begin(
        &mut self,
        call: u32,
        with_body: bool,
        next: Option<Frame>,
    ) -> Result<(Body, Option<Frame>), FrameError> {
        if !matches!(self, Self::Awaited) {
            let event = matches!(self, Self::Unwanted);
            let message = if event { "answers an event" } else { "is the second of this call" };
            return Err(FrameError::Unexpected { kind: Kind::Response, call, message });
        }
        if !with_body {
            *self = Self::Complete;
            return Ok((Body::empty(), next));
        }
        match next {
            Some(frame) if frame.kind == Kind::BodyEnd && frame.call == call => {
                *self = Self::Complete;
                Ok((Body::Full(frame.payload), None))
            }
            next => {
                let (reader, body) = mpsc::channel(CHANNEL + 1);
                let last_place = reader.clone().try_reserve_owned().ok();
                let pending = VecDeque::new();
                *self = Self::Open(Stream {
                    reader: Some(reader),
                    last_place,
                    pending,
                    credit: WINDOW_BYTES,
                    read: 0,
                    ended: false,
                });
                Ok((Body::Stream(body), next))
            }
        }
    }

    /// A part of the body has come; `last` says that nothing follows.
    pub(super) fn take(&mut self, frame: &Frame, last: bool) -> Result<(), FrameError> {
        let Frame { kind, call, payload } = frame;
        let unexpected = |message| FrameError::Unexpected { kind: *kind, call: *call, message };
        let Self::Open(stream) = self else {
            return Err(unexpected("comes without a RESPONSE that announces a body"));
        };
        if stream.ended {
            return Err(unexpected("comes after the end of the body"));
        }
        if payload.len() > stream.credit {
            return Err(unexpected("is larger than the credit it has"));
        }
        if payload.is_empty() && !last {
            return Err(unexpected("is empty"));
        }
        stream.credit -= payload.len();
        stream.ended = last;
        if !payload.is_empty() {
            stream.pending.push_back(payload.clone());
        }
        self.close_if_empty();
        Ok(())
    }

    /// Whether something waits for room at the reader.
    pub(super) fn has_pending(&self) -> bool {
        matches!(self, Self::Open(stream) if !stream.pending.is_empty())
    }

    /// Waits for room at the reader, or until it is gone. Safe to drop and call again.
    pub(super) async fn room(&self) {
        if let Self::Open(Stream { reader: Some(reader), .. }) = self {
            let _ = reader.reserve().await;
        }
    }

    /// Hands chunks over while there is room, and gives the worker credit for them.
    pub(super) fn hand_over(&mut self, call: u32, encoder: &mut Encoder) {
        let Self::Open(stream) = self else { return };
        while let Some(chunk) = stream.pending.pop_front() {
            let bytes = chunk.len();
            match stream.reader.as_ref().map(|reader| reader.try_send(Ok(chunk))) {
                Some(Err(mpsc::error::TrySendError::Full(Ok(chunk)))) => {
                    stream.pending.push_front(chunk);
                    break;
                }
                Some(Err(_)) => {
                    stream.reader = None;
                    stream.last_place = None;
                }
                Some(Ok(())) | None => {}
            }
            stream.read += bytes;
        }
        if stream.read >= GRANT_BYTES && !stream.ended {
            // At most one window.
            encoder.frame(Kind::Credit, call, &(stream.read as u32).to_le_bytes());
            stream.credit += stream.read;
            stream.read = 0;
        }
        self.close_if_empty();
    }

    /// Whether nothing that has come is still here. Says nothing about what has yet to come.
    pub(super) fn is_handed_over(&self) -> bool {
        !self.has_pending()
    }

    /// Whether the call may be done now.
    pub(super) fn check_done(&self, call: u32) -> Result<(), FrameError> {
        let message = match self {
            Self::Awaited => "comes before the RESPONSE",
            Self::Open(stream) if !stream.ended => "comes before the end of the body",
            _ => return Ok(()),
        };
        Err(FrameError::Unexpected { kind: Kind::Done, call, message })
    }

    /// Tells the reader of an unfinished body that there will be no more.
    pub(super) fn abort(&mut self, why: &str) {
        if let Self::Open(stream) = self
            && let Some(place) = stream.last_place.take()
        {
            place.send(Err(BodyError::Aborted(why.to_owned())));
        }
        if !matches!(self, Self::Complete | Self::Unwanted) {
            *self = Self::Aborted;
        }
    }

    /// Dropping the sender is what tells the reader that it has got all.
    fn close_if_empty(&mut self) {
        if matches!(self, Self::Open(stream) if stream.ended && stream.pending.is_empty()) {
            *self = Self::Complete;
        }
    }
}
