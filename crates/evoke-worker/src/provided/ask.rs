//! What a process asks for, and where the answer goes.

use bytes::Bytes;
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use http::HeaderMap;
use tokio::sync::{mpsc, oneshot};

use super::error::GuestError;
use super::reply::Reply;

/// One request, as far as it has to be answered by whoever drives the instance.
#[derive(Debug)]
pub(super) enum Ask {
    /// `GET invocation/next`. Nobody waits any more when the connection is closed.
    Next(Poll),
    /// `POST invocation/{id}/response`.
    Response(Response),
    /// `POST invocation/{id}/error`.
    Error { of: Of, error: GuestError, reply: oneshot::Sender<Reply> },
    /// `POST init/error`.
    InitError { error: GuestError, reply: oneshot::Sender<Reply> },
    /// Something of the platform API.
    Platform { request: PlatformRequest, answer: oneshot::Sender<PlatformResponse> },
    /// Nothing is asked; the function's log is to have this line.
    Tell(String),
}

/// Somebody who waits for the next invocation.
pub(super) type Poll = oneshot::Sender<Result<Invocation, Reply>>;

/// The answer to `next`.
#[derive(Debug)]
pub(super) struct Invocation {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What an answer says it belongs to.
#[derive(Debug)]
pub(super) struct Of {
    /// The id in the path.
    pub request: String,
    /// `Lambda-Runtime-Invocation-Id`, from clients that know it: also tells attempts apart.
    pub invocation: Option<String>,
}

/// An answer whose body is still on its way.
#[derive(Debug)]
pub(super) struct Response {
    pub of: Of,
    /// In the response mode `streaming`.
    pub is_streaming: bool,
    pub content_type: Option<String>,
    /// Closed without an [`Chunk::End`] when the connection breaks off.
    pub chunks: mpsc::Receiver<Chunk>,
    pub reply: oneshot::Sender<Reply>,
}

/// A part of an answer's body.
#[derive(Debug)]
pub(super) enum Chunk {
    Data(Bytes),
    /// All has come; the trailers may say that the function failed on the way.
    End(Option<GuestError>),
}
