//! The body of an answer: it may pause, but not for long, and the whole has an end if the route says so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an upstream sends, with the place its request has.
pub(super) struct Answer {
    body: Incoming,
    idle: Duration,
    end: Option<Instant>,
    /// Runs only while the upstream is waited for: a client that reads slowly is not the upstream's fault.
    waiting: Option<Pin<Box<Sleep>>>,
    _place: Arc<OwnedSemaphorePermit>,
}

/// Why an answer was cut.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's answer paused or went on for too long")]
struct Cut;

impl Answer {
    pub fn new(
        body: Incoming,
        idle: Duration,
        end: Option<Instant>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        Self { body, idle, end, waiting: None, _place: place }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return Poll::Ready(Some(Err(Cut.into())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let until = Instant::now() + self.idle;
        let until = self.end.map_or(until, |end| until.min(end));
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(until)));
        waiting.as_mut().poll(cx).map(|()| Some(Err(Cut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
