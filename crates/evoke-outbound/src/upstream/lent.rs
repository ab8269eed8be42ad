//! The body of a request, lent to a connection: as long as nothing of it was taken it can be had back for another try.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use evoke_core::upstream::Passing;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Who has the body when nobody sends it. Clones are the same.
#[derive(Clone)]
pub(super) struct Lender(Arc<Mutex<Sending>>);

struct Sending {
    body: Passing,
    taken: bool,
    /// When it last gave something, or that there was no more.
    moved: Instant,
    /// Whether it was asked for more and had none yet.
    starved: bool,
}

/// The body, as a connection sends it.
pub(super) struct Lent(Lender);

impl Lender {
    pub fn new(body: Passing) -> Self {
        Self(Arc::new(Mutex::new(Sending { body, taken: false, moved: Instant::now(), starved: false })))
    }

    /// For one more try.
    pub fn lend(&self) -> Lent {
        Lent(self.clone())
    }

    /// Whether some of it is gone.
    pub fn is_taken(&self) -> bool {
        self.0.lock().taken
    }

    /// When it last moved, and whether the client is what it waits for.
    pub fn progress(&self) -> (Instant, bool) {
        let sending = self.0.lock();
        (sending.moved, sending.starved)
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut sending = self.0.0.lock();
        sending.starved = true;
        let frame = ready!(Pin::new(&mut sending.body).poll_frame(cx));
        sending.starved = false;
        sending.taken |= frame.is_some();
        sending.moved = Instant::now();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.0.lock().body.size_hint()
    }
}
