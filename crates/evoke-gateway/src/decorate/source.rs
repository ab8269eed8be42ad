//! The body of a request that a decorator may read, or hand on as it is.
//!
//! What the decorator is given is kept as well, until that is more than could be on its way to it unread: up to there the body
//! can still be handed on from its beginning.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::Body as HttpBody;
use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::body::{Cap, Pump, WHOLE_BYTES, whole};
use crate::problem::Refusal;

/// What is kept of a body that streams. More than fits in the window of a worker's call (256 KiB) with what is on its way there,
/// so that a body of which nothing was read can always be handed on.
const KEPT_BYTES: usize = 512 << 10;
/// What is given at once.
const PIECE_BYTES: usize = 64 << 10;

/// A request's body while its decorator runs.
pub(super) struct Source(Mutex<State>);

enum State {
    /// It was there before the decorator was called: it can be handed on as often as wished.
    Whole(Bytes),
    Streaming(Box<Streaming>),
    HandedOn,
}

struct Streaming {
    rest: HttpBody,
    /// The rest of a larger chunk.
    pending: Bytes,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    trailers: Option<HeaderMap>,
    /// Whoever waits for the next piece.
    waits: Option<Waker>,
}

impl Source {
    /// The body for the decorator, what moves it there, and itself. A small one is waited for.
    pub async fn new(
        headers: &HeaderMap,
        body: HttpBody,
        cap: Cap,
    ) -> Result<(Arc<Self>, Body, Pump), Refusal> {
        if body.size_hint().exact().is_some_and(|bytes| bytes <= WHOLE_BYTES.min(cap.bytes)) {
            let bytes = whole(headers, body, cap).await?;
            let source = Self(Mutex::new(State::Whole(bytes.clone())));
            return Ok((Arc::new(source), Body::Full(bytes), Pump::done()));
        }
        let streaming = Streaming {
            rest: body,
            pending: Bytes::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            trailers: None,
            waits: None,
        };
        let source = Arc::new(Self(Mutex::new(State::Streaming(Box::new(streaming)))));
        // One place: what waits here counts as unread.
        let (to, pieces) = mpsc::channel(1);
        let pump = Pump::new(source.clone().feed(cap.bytes, to));
        Ok((source, Body::Stream(pieces), pump))
    }

    /// The body from its beginning, or `None` when that is gone.
    pub fn hand_on(&self) -> Option<HttpBody> {
        let mut state = self.0.lock();
        if let State::Whole(bytes) = &*state {
            return Some(bytes.clone().into());
        }
        if matches!(&*state, State::Streaming(streaming) if streaming.kept_bytes > KEPT_BYTES) {
            return None;
        }
        let State::Streaming(streaming) = std::mem::replace(&mut *state, State::HandedOn) else {
            return None;
        };
        let Streaming { rest, pending, mut kept, trailers, waits, .. } = *streaming;
        drop(state);
        if let Some(waits) = waits {
            waits.wake();
        }
        if !pending.is_empty() {
            kept.push_back(pending);
        }
        Some(HttpBody::new(HandedOn { before: kept, rest, trailers }))
    }

    /// Moves the body to the decorator, for as long as it is polled and the body is not handed on.
    async fn feed(
        self: Arc<Self>,
        limit_bytes: u64,
        to: mpsc::Sender<Result<Bytes, BodyError>>,
    ) -> Option<BodyError> {
        let mut given = 0;
        let mut wanted = true;
        loop {
            let error = match poll_fn(|cx| self.poll_piece(cx)).await {
                Piece::Data(piece) => {
                    given += piece.len() as u64;
                    if !wanted || given <= limit_bytes {
                        // A decorator that answers without reading everything is usual; the rest is read for the client's sake.
                        wanted = wanted && to.send(Ok(piece)).await.is_ok();
                        continue;
                    }
                    BodyError::TooLarge { limit_bytes }
                }
                Piece::End => return None,
                Piece::HandedOn => {
                    let _ = to.send(Err(BodyError::HandedOn)).await;
                    return None;
                }
                Piece::Aborted => BodyError::Aborted("the client stopped sending".to_owned()),
            };
            let _ = to.send(Err(error.clone())).await;
            return Some(error);
        }
    }

    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Piece> {
        let mut state = self.0.lock();
        // A whole body was given as a whole.
        let State::Streaming(streaming) = &mut *state else { return Poll::Ready(Piece::HandedOn) };
        while streaming.pending.is_empty() {
            match Pin::new(&mut streaming.rest).poll_frame(cx) {
                Poll::Pending => {
                    streaming.waits = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(None) => return Poll::Ready(Piece::End),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Piece::Aborted),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => streaming.pending = data,
                    Err(frame) => streaming.trailers = frame.into_trailers().ok(),
                },
            }
        }
        let piece = streaming.pending.split_to(streaming.pending.len().min(PIECE_BYTES));
        streaming.keep(&piece);
        Poll::Ready(Piece::Data(piece))
    }
}

enum Piece {
    Data(Bytes),
    End,
    Aborted,
    HandedOn,
}

impl Streaming {
    /// Remembers what is given to the decorator, until it must have read some of it.
    fn keep(&mut self, piece: &Bytes) {
        self.kept_bytes += piece.len();
        if self.kept_bytes > KEPT_BYTES {
            self.kept = VecDeque::new();
        } else {
            self.kept.push_back(piece.clone());
        }
    }
}

/// A body that is handed on: what the decorator was given, and the rest.
struct HandedOn {
    before: VecDeque<Bytes>,
    rest: HttpBody,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for HandedOn {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(piece) = self.before.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Ready(None) => {
                Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.before.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let before = self.before.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + before);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + before);
        }
        hint
    }
}
