//! A body on its way through, of which a copy is kept as long as it is not too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;

/// What was kept of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it, without trailers.
    Whole(Bytes),
    /// It is longer than is kept.
    TooLong,
    /// It did not come to its end.
    CutOff,
}

/// Passes a body on and keeps it.
pub(super) struct Tee {
    body: HttpBody,
    kept: BytesMut,
    limit_bytes: u64,
    /// Until it is known what came of it.
    to: Option<oneshot::Sender<Kept>>,
}

impl Tee {
    /// The body, and what will have been kept of it.
    pub fn keep_of(body: HttpBody, limit_bytes: u64) -> (HttpBody, oneshot::Receiver<Kept>) {
        let (to, kept) = oneshot::channel();
        let mut tee = Self { body, kept: BytesMut::new(), limit_bytes, to: Some(to) };
        if tee.body.size_hint().lower() > limit_bytes {
            tee.tell(Kept::TooLong);
        } else if tee.body.is_end_stream() {
            tee.tell(Kept::Whole(Bytes::new()));
        }
        match tee.to {
            Some(_) => (HttpBody::new(tee), kept),
            None => (std::mem::take(&mut tee.body), kept),
        }
    }

    fn tell(&mut self, kept: Kept) {
        if let Some(to) = self.to.take() {
            // Whoever wanted it may be gone.
            let _ = to.send(kept);
        }
    }

    fn keep(&mut self, frame: Option<&Frame<Bytes>>) {
        if self.to.is_none() {
            return;
        }
        if let Some(data) = frame.and_then(Frame::data_ref) {
            if (self.kept.len() + data.len()) as u64 > self.limit_bytes {
                self.kept = BytesMut::new();
                return self.tell(Kept::TooLong);
            }
            self.kept.extend_from_slice(data);
        }
        // Whoever reads need not ask again after the last frame.
        if frame.is_none_or(Frame::is_trailers) || self.body.is_end_stream() {
            let kept = std::mem::take(&mut self.kept).freeze();
            self.tell(Kept::Whole(kept));
        }
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.keep(Some(frame)),
            None => self.keep(None),
            Some(Err(_)) => self.tell(Kept::CutOff),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.tell(Kept::CutOff);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    fn chunks(parts: &'static [&'static str]) -> HttpBody {
        HttpBody::from_stream(stream::iter(
            parts.iter().map(|part| Ok::<_, std::io::Error>(Bytes::from(*part))),
        ))
    }

    #[tokio::test]
    async fn a_body_passes_unchanged_and_is_kept_when_it_is_short_enough() {
        let (body, kept) = Tee::keep_of(chunks(&["one ", "two"]), 7);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one two");
        assert_eq!(kept.await.unwrap(), Kept::Whole("one two".into()));
        let (body, kept) = Tee::keep_of(HttpBody::empty(), 0);
        assert!(body.is_end_stream());
        assert_eq!(kept.await.unwrap(), Kept::Whole(Bytes::new()));
    }

    #[tokio::test]
    async fn one_that_is_too_long_passes_and_is_not_kept() {
        let (body, kept) = Tee::keep_of(chunks(&["one ", "two"]), 6);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one two");
        assert_eq!(kept.await.unwrap(), Kept::TooLong);
        // At once when that is known.
        let (_body, kept) = Tee::keep_of("one two".into(), 6);
        assert_eq!(kept.await.unwrap(), Kept::TooLong);
    }

    #[tokio::test]
    async fn one_that_nobody_reads_to_its_end_is_no_copy() {
        let (mut body, kept) = Tee::keep_of(chunks(&["one ", "two"]), 7);
        body.frame().await;
        drop(body);
        assert_eq!(kept.await.unwrap(), Kept::CutOff);
    }

    #[tokio::test]
    async fn a_reader_that_stops_after_the_last_byte_has_read_all() {
        let (mut body, kept) = Tee::keep_of("one".into(), 7);
        body.frame().await;
        assert_eq!(kept.await.unwrap(), Kept::Whole("one".into()));
    }
}
