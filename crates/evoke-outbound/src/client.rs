//! The client: one pool of connections for all that is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::egress::Reach;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connect::{Connector, Dial};
use crate::trust::Trust;

/// Connections to one host that are kept for the next request, and how long.
const IDLE_PER_HOST: usize = 8;
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// Bytes of the head of an answer, which also bounds what is read ahead of its body.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Sends requests over HTTP/1.1, with TLS or without. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpsConnector<Connector>, Full<Bytes>>,
    places: Arc<Semaphore>,
}

/// Why there is no answer, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SendError(String);

/// An answer, and the place its request had among all.
pub(crate) struct Answer {
    pub response: Response<Incoming>,
    /// Held until the answer has been read.
    pub _place: OwnedSemaphorePermit,
}

impl Client {
    /// Connects through `dial`, and has `requests_max` requests under way at most.
    pub fn new(dial: Dial, trust: &Trust, requests_max: usize) -> Self {
        // What is signed does not go over the internet unencrypted.
        let connector = Connector { dial, plain: Reach::Opened };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector.with_tls(trust));
        Self { http, places: Arc::new(Semaphore::new(requests_max)) }
    }

    /// Sends a request and waits for the head of the answer: first for a place, then as long as that takes, so the caller
    /// bounds the time. A kept connection that turns out to be closed before anything was sent is replaced by a new one.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| SendError("the server is shutting down".to_owned()))?;
        let response = self.http.request(request).await.map_err(|error| SendError(words(&error)))?;
        Ok(Answer { response, _place: place })
    }
}

/// Bytes of an answer that is read whole.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// Sends a request and reads the whole answer, up to 1 MiB. The caller bounds the time.
    pub async fn fetch(&self, request: Request<Bytes>) -> Result<Response<Bytes>, SendError> {
        let Answer { response, _place } = self.send(request.map(Full::new)).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body =
            body.map_err(|error| SendError(format!("the answer broke off or is over 1 MiB: {error}")))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

/// The innermost cause says what happened; those around it only where.
pub(crate) fn words(error: &legacy::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    if cause.contains("invalid peer certificate") {
        let help = "an authority of your own is trusted with --ca-file";
        return format!("no secure connection: {cause}; {help}");
    }
    if error.is_connect() {
        cause
    } else {
        format!("the connection broke before there was an answer: {cause}")
    }
}
