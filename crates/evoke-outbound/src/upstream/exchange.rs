//! One request and the head of its answer, tried again where that cannot do anything twice.

use std::error::Error as _;
use std::pin::pin;
use std::time::Duration;

use evoke_core::upstream::{Passing, Upstream, UpstreamError};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, Error};
use tokio::time::{Instant, sleep_until};

use super::connect::{Timed, TooLong};
use super::lent::{Lender, Lent};
use crate::client::words;
use crate::connect::Connector;

type Http = Client<Timed<HttpsConnector<Connector>>, Lent>;

/// Waits for the head as long as [`Upstream::timeout`] after the body last moved.
pub(super) async fn head(
    http: &Http,
    upstream: &Upstream,
    request: Request<Passing>,
) -> Result<Response<Incoming>, UpstreamError> {
    let (parts, body) = request.into_parts();
    let lender = Lender::new(body);
    let tries = async {
        let mut left = if is_idempotent(&parts.method) { upstream.retries } else { 0 };
        loop {
            let mut request = Request::new(lender.lend());
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = parts.uri.clone();
            *request.headers_mut() = parts.headers.clone();
            match http.request(request).await {
                Ok(response) => return Ok(response),
                Err(error) if left > 0 && !lender.is_taken() && is_of_connection(&error) => {
                    tracing::debug!(upstream = upstream.origin, %error, "a request is sent again");
                    left -= 1;
                }
                Err(error) => return Err(failure(&error, upstream.connect_timeout)),
            }
        }
    };
    let mut tries = pin!(tries);
    let limit = upstream.timeout;
    let begun = Instant::now();
    loop {
        let (moved, _) = lender.progress();
        tokio::select! {
            biased;
            done = &mut tries => return done,
            () = sleep_until(begun.max(moved) + limit) => {}
        }
        match lender.progress() {
            (now, _) if now > moved => {}
            (_, true) => return Err(UpstreamError::Stalled { limit }),
            (_, false) => return Err(UpstreamError::TimedOut { what: "no answer began", limit }),
        }
    }
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

/// Whether the connection could not be made, or ended before there was an answer; not that an answer was wrong or late.
fn is_of_connection(error: &Error) -> bool {
    if error.is_connect() {
        return !is_too_long(error);
    }
    let Some(cause) = error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>()) else {
        return false;
    };
    let of_socket = || cause.source().is_some_and(|cause| cause.is::<std::io::Error>());
    cause.is_incomplete_message() || cause.is_canceled() || cause.is_closed() || of_socket()
}

fn is_too_long(error: &Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = error.source();
    while let Some(inner) = cause {
        if inner.is::<TooLong>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn failure(error: &Error, connect_timeout: Duration) -> UpstreamError {
    if is_too_long(error) {
        UpstreamError::TimedOut { what: "no connection", limit: connect_timeout }
    } else if error.is_connect() {
        UpstreamError::Unreachable(words(error))
    } else {
        UpstreamError::Broken(words(error))
    }
}
