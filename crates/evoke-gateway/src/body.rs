//! Bodies between HTTP and the engine: request bodies handed over as they come, within the limit; response bodies sent on
//! as they come.
//!
//! No task is spawned for it. A request body is moved by its [`Pump`], which is polled by whoever waits for the answer
//! and afterwards by the response body, so that dropping the connection drops all of it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use futures_util::future::BoxFuture;
use http::header::{EXPECT, HeaderMap};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};

use crate::problem::{Refusal, body_too_large, kind};

/// Chunks on their way from the connection to the function.
const CHUNKS: usize = 8;
/// A declared body up to this size is read whole before the call, so that a slow sender holds no instance.
pub(crate) const WHOLE_BYTES: u64 = 64 << 10;
/// A client that is refused while it sends gets so long, and so many bytes, to come to the end: closing the connection
/// under it would destroy the answer before it is read.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 16 << 20;

/// How much of a body is taken, and how soon a body that has to be whole must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cap {
    /// The limit's name in problems.
    pub name: &'static str,
    pub bytes: u64,
    pub within: Duration,
}

/// A request body as the engine takes it, and what moves it there.
pub(crate) async fn intake(headers: &HeaderMap, body: HttpBody, cap: Cap) -> Result<(Body, Pump), Refusal> {
    match body.size_hint().exact() {
        Some(0) => return Ok((Body::empty(), Pump::done())),
        Some(declared) if declared <= WHOLE_BYTES.min(cap.bytes) => {
            let bytes = whole(headers, body, cap).await?;
            return Ok((Body::Full(bytes), Pump::done()));
        }
        Some(declared) if declared > cap.bytes => return Err(refuse(headers, body, cap).await),
        _ => {}
    }
    let (to, chunks) = mpsc::channel(CHUNKS);
    Ok((Body::Stream(chunks), Pump::new(feed(body, cap.bytes, to))))
}

/// All bytes of a body.
pub(crate) async fn whole(headers: &HeaderMap, mut body: HttpBody, cap: Cap) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > cap.bytes {
        return Err(refuse(headers, body, cap).await);
    }
    let collected = timeout(cap.within, collect(&mut body, cap.bytes)).await;
    match collected {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BodyError::TooLarge { limit_bytes })) => {
            discard(body).await;
            Err(body_too_large(cap.name, limit_bytes))
        }
        Ok(Err(aborted)) => Err(aborted.into()),
        Err(_) => {
            let ms = cap.within.as_millis();
            let detail = format!("the request body was not there after {ms} ms");
            Err(Refusal::new(kind::REQUEST_TIMEOUT, detail).limit("body_timeout_ms", ms as u64))
        }
    }
}

async fn collect(body: &mut HttpBody, limit_bytes: u64) -> Result<Bytes, BodyError> {
    let mut all = bytes::BytesMut::new();
    while let Some(chunk) = next_chunk(body).await {
        let chunk = chunk?;
        if (all.len() + chunk.len()) as u64 > limit_bytes {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        // The usual small body is one chunk, and needs no copy.
        if all.is_empty() && body.is_end_stream() {
            return Ok(chunk);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// Refuses a body by its declared size, unread; a client that asked first (`Expect: 100-continue`) never sends it.
async fn refuse(headers: &HeaderMap, body: HttpBody, cap: Cap) -> Refusal {
    if !headers.contains_key(EXPECT) {
        discard(body).await;
    }
    body_too_large(cap.name, cap.bytes)
}

/// Reads on for a short while, so that the client gets to read its answer.
async fn discard(mut body: HttpBody) {
    let mut left = LINGER_BYTES;
    let rest = async {
        while let Some(Ok(chunk)) = next_chunk(&mut body).await {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                return;
            }
        }
    };
    // Whether it came to its end makes no difference to what follows.
    let _ = timeout(LINGER, rest).await;
}

async fn feed(
    mut body: HttpBody,
    limit_bytes: u64,
    to: mpsc::Sender<Result<Bytes, BodyError>>,
) -> Option<BodyError> {
    let mut taken = 0;
    let mut wanted = true;
    while let Some(chunk) = next_chunk(&mut body).await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                let _ = to.send(Err(error.clone())).await;
                return Some(error);
            }
        };
        taken += chunk.len() as u64;
        if taken > limit_bytes {
            let error = BodyError::TooLarge { limit_bytes };
            let _ = to.send(Err(error.clone())).await;
            drop(to);
            discard(body).await;
            return Some(error);
        }
        // A function that answers without reading everything is usual; the rest is read here for the client's sake.
        wanted = wanted && to.send(Ok(chunk)).await.is_ok();
    }
    None
}

async fn next_chunk(body: &mut HttpBody) -> Option<Result<Bytes, BodyError>> {
    loop {
        match body.frame().await? {
            Ok(frame) => match frame.into_data() {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Some(Ok(chunk)),
                // Trailers: no function contract has a place for them.
                Err(_) => {}
            },
            Err(_) => return Some(Err(BodyError::Aborted("the client stopped sending".to_owned()))),
        }
    }
}

/// Moves a request body for as long as it is polled.
pub(crate) struct Pump {
    moving: Option<BoxFuture<'static, Option<BodyError>>>,
    error: Option<BodyError>,
}

impl Pump {
    pub fn new(moving: impl Future<Output = Option<BodyError>> + Send + 'static) -> Self {
        Self { moving: Some(Box::pin(moving)), error: None }
    }

    /// With nothing to move.
    pub fn done() -> Self {
        Self { moving: None, error: None }
    }

    /// Waits for `work` while the body moves; not when the body turns out to be too large first.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, BodyError> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            // What the body brings may be what the work waits for, and the other way round: each wakes this task.
            let _ = self.poll(cx);
            match (work.as_mut().poll(cx), &self.error) {
                (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
                (Poll::Pending, Some(error @ BodyError::TooLarge { .. })) => Poll::Ready(Err(error.clone())),
                (Poll::Pending, _) => Poll::Pending,
            }
        })
        .await
    }

    /// Why the body came to no good end, as far as is known.
    pub fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    /// Whether there is nothing left to move, as far as can be told without waiting.
    pub async fn is_done(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.poll(cx).is_ready())).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(moving) = &mut self.moving {
            self.error = ready!(moving.as_mut().poll(cx));
            self.moving = None;
        }
        Poll::Ready(())
    }
}

/// A response body that arrives while the rest of the request body still leaves. Dropping it drops both.
pub(crate) struct Answer {
    body: Body,
    pump: Pump,
    /// Its end waits until the request has come to its own, or this long.
    end: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    /// From what the engine gave.
    pub fn body(body: Body, pump: Pump) -> HttpBody {
        HttpBody::new(Self { body, pump, end: None })
    }

    /// One that is there before its request is: its client gets it at once, and a short while to come to the end of what it sends, so
    /// that the connection can be used for the next.
    pub fn early(body: Bytes, pump: Pump) -> HttpBody {
        HttpBody::new(Self { body: Body::Full(body), pump, end: Some(Box::pin(sleep(LINGER))) })
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let sends = self.pump.poll(cx).is_pending();
        let chunk = ready!(self.body.poll_chunk(cx));
        if let (None, true, Some(end)) = (&chunk, sends, &mut self.end) {
            ready!(end.as_mut().poll(cx));
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data).map_err(io::Error::other)))
    }
}

/// An answer's body, and what lives as long as it is being sent.
pub(crate) struct Held<T> {
    body: HttpBody,
    _held: T,
}

impl<T: Send + Unpin + 'static> Held<T> {
    /// Keeps `held` until the answer is sent, if that can take time; one that is there whole leaves as soon as the client reads.
    pub fn until_sent(response: axum::response::Response, held: T) -> axum::response::Response {
        if response.body().size_hint().exact().is_some_and(|bytes| bytes <= WHOLE_BYTES) {
            return response;
        }
        response.map(|body| HttpBody::new(Self { body, _held: held }))
    }
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
