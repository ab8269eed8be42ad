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

    /// The head has come. `next` gives the frames that are there already: a body that they are the whole of is handed over as that,
    /// for one that goes on a reader is made. The frame behind it, if it is none of the body's, is handed back.
    pub(super) fn begin(
        &mut self,
        call: u32,
        with_body: bool,
        mut next: impl FnMut() -> Result<Option<Frame>, FrameError>,
    ) -> Result<(Body, Option<Frame>), FrameError> {
        if !matches!(self, Self::Awaited) {
            let event = matches!(self, Self::Unwanted);
            let message = if event { "answers an event" } else { "is the second of this call" };
            return Err(FrameError::Unexpected { kind: Kind::Response, call, message });
        }
        if !with_body {
            *self = Self::Complete;
            return Ok((Body::empty(), None));
        }
        let mut stream = Stream::new();
        let left = loop {
            match next()? {
                Some(frame) if frame.call == call && matches!(frame.kind, Kind::Body | Kind::BodyEnd) => {
                    stream.take(frame)?;
                }
                left => break left,
            }
            if stream.ended {
                *self = Self::Complete;
                return Ok((Body::Full(stream.whole()), None));
            }
        };
        let (reader, body) = mpsc::channel(CHANNEL + 1);
        stream.last_place = reader.clone().try_reserve_owned().ok();
        stream.reader = Some(reader);
        *self = Self::Open(stream);
        Ok((Body::Stream(body), left))
    }

    /// A part of the body has come.
    pub(super) fn take(&mut self, frame: Frame) -> Result<(), FrameError> {
        let Self::Open(stream) = self else {
            return Err(unexpected(&frame, "comes without a RESPONSE that announces a body"));
        };
        stream.take(frame)?;
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

impl Stream {
    fn new() -> Self {
        Self {
            reader: None,
            last_place: None,
            pending: VecDeque::new(),
            credit: WINDOW_BYTES,
            read: 0,
            ended: false,
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), FrameError> {
        if self.ended {
            return Err(unexpected(&frame, "comes after the end of the body"));
        }
        let (bytes, ends) = (frame.payload.len(), frame.kind == Kind::BodyEnd);
        if bytes > self.credit {
            return Err(unexpected(&frame, "is larger than the credit it has"));
        }
        if bytes == 0 && !ends {
            return Err(unexpected(&frame, "is empty"));
        }
        self.credit -= bytes;
        self.ended = ends;
        if bytes > 0 {
            self.pending.push_back(frame.payload);
        }
        Ok(())
    }

    /// All that has come, in one piece.
    fn whole(mut self) -> Bytes {
        match self.pending.len() {
            0 => Bytes::new(),
            1 => self.pending.remove(0).unwrap_or_default(),
            _ => Vec::from(self.pending).concat().into(),
        }
    }
}

fn unexpected(frame: &Frame, message: &'static str) -> FrameError {
    FrameError::Unexpected { kind: frame.kind, call: frame.call, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames<'a>(payloads: &'a [(Kind, &'static [u8])]) -> impl Iterator<Item = Frame> + 'a {
        payloads.iter().map(|(kind, payload)| Frame {
            kind: *kind,
            call: 1,
            payload: Bytes::from_static(payload),
        })
    }

    /// What becomes of a body of which these frames are there already.
    fn begun(payloads: &[(Kind, &'static [u8])]) -> Result<(Download, Body, Option<Frame>), FrameError> {
        let (mut download, mut there) = (Download::awaited(), frames(payloads));
        let (body, left) = download.begin(1, true, || Ok(there.next()))?;
        Ok((download, body, left))
    }

    #[test]
    fn a_body_that_is_there_already_is_handed_over_whole() {
        let whole: [&[(Kind, &'static [u8])]; 3] = [
            &[(Kind::BodyEnd, b"one two")],
            &[(Kind::Body, b"one two"), (Kind::BodyEnd, b"")],
            &[(Kind::Body, b"one "), (Kind::Body, b"t"), (Kind::BodyEnd, b"wo"), (Kind::Done, b"")],
        ];
        for frames in whole {
            let (download, body, left) = begun(frames).unwrap();
            assert!(matches!(download, Download::Complete) && left.is_none(), "{frames:?}");
            assert!(matches!(body, Body::Full(bytes) if bytes == "one two"), "{frames:?}");
        }
    }

    #[tokio::test]
    async fn of_one_that_goes_on_nothing_is_lost() {
        let there = [(Kind::Body, &b"one "[..]), (Kind::Body, b"two"), (Kind::Log, b"x")];
        let (mut download, body, left) = begun(&there).unwrap();
        assert_eq!(left.map(|frame| frame.kind), Some(Kind::Log));
        let Body::Stream(mut reader) = body else { panic!("{body:?} is no stream") };
        download.hand_over(1, &mut Encoder::default());
        frames(&[(Kind::BodyEnd, b" three")]).for_each(|frame| download.take(frame).unwrap());
        download.hand_over(1, &mut Encoder::default());
        let mut read = Vec::new();
        while let Some(chunk) = reader.recv().await {
            read.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(read, b"one two three");
    }

    #[test]
    fn what_is_there_already_has_the_same_bounds() {
        static LARGE: [u8; WINDOW_BYTES] = [0; WINDOW_BYTES];
        assert!(begun(&[(Kind::Body, &LARGE), (Kind::BodyEnd, b"")]).is_ok());
        let broken: [&[(Kind, &'static [u8])]; 2] =
            [&[(Kind::Body, &LARGE), (Kind::BodyEnd, b"x")], &[(Kind::Body, b""), (Kind::BodyEnd, b"x")]];
        for frames in broken {
            assert!(begun(frames).is_err(), "{} bytes", frames[0].1.len());
        }
    }
}
