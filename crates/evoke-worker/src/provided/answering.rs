//! An answer on its way from a process to whoever reads it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evoke_core::body::{Body, BodyError};
use evoke_core::runtime::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::{mpsc, oneshot};

use super::ask::{self, Chunk};
use super::reply::Reply;
use crate::function_url::{Prelude, Split};

/// Parts between this task and the reader.
const CHANNEL: usize = 4;

/// An answer that has begun and not ended.
#[derive(Debug)]
pub(super) struct Answering {
    pub form: Form,
    chunks: mpsc::Receiver<Chunk>,
    reply: oneshot::Sender<Reply>,
}

/// What becomes of what comes.
#[derive(Debug)]
pub(super) enum Form {
    /// It is understood when all of it is there.
    Whole(BytesMut),
    /// It is streamed, and its head is not whole.
    Prelude(Prelude),
    /// It is streamed, and its head has been reported.
    Stream(Stream),
}

impl Answering {
    pub(super) fn new(response: ask::Response, form: Form) -> Self {
        Self { form, chunks: response.chunks, reply: response.reply }
    }

    /// The next part; `None` when the connection broke off. Safe to drop and call again.
    pub(super) async fn chunk(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }

    /// Whether what came has been handed over, so that more may come.
    pub(super) fn wants_chunk(&self) -> bool {
        !matches!(&self.form, Form::Stream(stream) if stream.pending.is_some())
    }

    /// Tells the client what became of it.
    pub(super) fn end(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }

    /// Tells a reader that there will be no more.
    pub(super) fn abort(&mut self, why: &str) {
        if let Form::Stream(Stream { last_place, .. }) = &mut self.form
            && let Some(place) = last_place.take()
        {
            place.send(Err(BodyError::Aborted(why.to_owned())));
        }
    }
}

/// A body that is read while it comes.
#[derive(Debug)]
pub(super) struct Stream {
    /// `None` when nobody reads, or the reader has gone away: the rest is thrown away.
    reader: Option<Arc<mpsc::Sender<Result<Bytes, BodyError>>>>,
    /// Kept back for the news that the body ends early.
    last_place: Option<mpsc::OwnedPermit<Result<Bytes, BodyError>>>,
    pending: Option<Bytes>,
}

impl Stream {
    /// The body and its writing end.
    pub(super) fn open() -> (Self, Body) {
        let (reader, body) = mpsc::channel(CHANNEL + 1);
        let last_place = reader.clone().try_reserve_owned().ok();
        (Self { reader: Some(Arc::new(reader)), last_place, pending: None }, Body::Stream(body))
    }

    /// For a body that nobody wants.
    pub(super) fn nowhere() -> Self {
        Self { reader: None, last_place: None, pending: None }
    }

    /// Hands a part over, or keeps it until there is room: [`Answering::wants_chunk`] is false until then.
    pub(super) fn push(&mut self, bytes: Bytes) {
        let Some(reader) = &self.reader else { return };
        match reader.try_send(Ok(bytes)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Ok(bytes))) => self.pending = Some(bytes),
            Err(_) => (self.reader, self.last_place) = (None, None),
        }
    }

    /// Waits for room at the reader where something waits for it. Safe to drop and call again.
    pub(super) async fn room(&self) {
        match (&self.pending, &self.reader) {
            (Some(_), Some(reader)) => _ = reader.reserve().await,
            _ => std::future::pending().await,
        }
    }

    /// Hands over what waited for room.
    pub(super) fn hand_over(&mut self) {
        if let Some(bytes) = self.pending.take() {
            self.push(bytes);
        }
    }
}

/// The head of a streamed answer without a prelude.
pub(super) fn plain_head(content_type: Option<&str>) -> (StatusCode, HeaderMap) {
    let content_type = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    (StatusCode::OK, HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]))
}

/// Reports the head behind a prelude and opens the body.
pub(super) fn begin(split: Split, is_head_request: bool) -> (Stream, Response) {
    let Split { status, headers, rest } = split;
    let (mut stream, body) =
        if is_head_request { (Stream::nowhere(), Body::empty()) } else { Stream::open() };
    if !rest.is_empty() {
        stream.push(rest);
    }
    (stream, Response { status, headers: counted_here(headers, status, is_head_request), body })
}

/// Only where no body follows may a function say how long it would be. Elsewhere it is counted.
pub(super) fn counted_here(mut headers: HeaderMap, status: StatusCode, is_head_request: bool) -> HeaderMap {
    if !(is_head_request || status == StatusCode::NOT_MODIFIED) {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers
}
