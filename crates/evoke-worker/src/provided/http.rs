//! The runtime API and the platform API as HTTP.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use evoke_core::runtime::PlatformRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::ask::{Ask, Chunk, Of, Response as Answer};
use super::error::GuestError;
use super::reply::Reply;
use crate::frame::PLATFORM_BYTES_IN_FLIGHT;
use crate::frame::message::HOP_BY_HOP;
use crate::instance::problem::{NOBODY, problem};

/// Version of the runtime API, the first segment of its paths.
const RUNTIME_API: &str = "/2018-06-01/runtime/";
/// The platform API (`docs/reference/platform-api.md`).
const PLATFORM_API: &str = "/v1/";
/// Says how an answer is sent.
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
/// Names the attempt, where `AWS_LAMBDA` clients echo it.
pub(super) const INVOCATION_ID: &str = "lambda-runtime-invocation-id";
/// Parts of an answer's body between the connection and the call.
const CHUNKS: usize = 2;
/// Bytes that a place for bodies held whole is counted in; all bodies together have [`PLATFORM_BYTES_IN_FLIGHT`].
const PLACE_BYTES: usize = 1 << 10;
/// Bytes of a posted error.
const ERROR_BYTES: u64 = 256 << 10;

/// What all connections of an instance share.
#[derive(Debug)]
pub(super) struct Shared {
    pub asks: mpsc::Sender<Ask>,
    pub headers_max: usize,
    /// Bytes of a request to the platform.
    platform_bytes: u64,
    /// Places for bodies held whole; those of further requests wait in their sockets.
    places: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(asks: mpsc::Sender<Ask>, headers_max: usize, platform_bytes: u64) -> Self {
        let places = Arc::new(Semaphore::new(PLATFORM_BYTES_IN_FLIGHT / PLACE_BYTES));
        Self { asks, headers_max, platform_bytes, places }
    }
}

/// Answers one request. Waits for the instance's driver, for `next` until there is something to do.
pub(super) async fn serve_request(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.starts_with(PLATFORM_API) {
        return Ok(ask_platform(request, &shared).await);
    }
    let operation: Vec<&str> =
        path.strip_prefix(RUNTIME_API).map(|rest| rest.split('/').collect()).unwrap_or_default();
    let response = match (request.method(), &operation[..]) {
        (&Method::GET, ["invocation", "next"]) => next(&shared).await,
        (&Method::POST, ["invocation", id, "response"]) => {
            let of = of(id, request.headers());
            respond(of, request, &shared).await.into_response()
        }
        (&Method::POST, ["invocation", id, "error"]) => {
            let of = of(id, request.headers());
            let posted = post_error(request, &shared, |error, reply| Ask::Error { of, error, reply });
            posted.await.into_response()
        }
        (&Method::POST, ["init", "error"]) => {
            let posted = post_error(request, &shared, |error, reply| Ask::InitError { error, reply });
            posted.await.into_response()
        }
        (method, _) => Reply::not_found(method, &path).into_response(),
    };
    Ok(response.map(Full::new))
}

fn of(id: &str, headers: &HeaderMap) -> Of {
    let invocation = headers.get(INVOCATION_ID).and_then(|id| id.to_str().ok());
    Of { request: id.to_owned(), invocation: invocation.map(str::to_owned) }
}

async fn next(shared: &Shared) -> Response<Bytes> {
    let (poll, invoked) = oneshot::channel();
    let asked = shared.asks.send(Ask::Next(poll)).await;
    match invoked.await {
        Ok(Ok(invocation)) if asked.is_ok() => {
            let mut response = Response::new(invocation.body);
            *response.headers_mut() = invocation.headers;
            response
        }
        Ok(Err(refused)) => refused.into_response(),
        _ => Reply::gone().into_response(),
    }
}

/// Hands an answer over as it comes.
async fn respond(of: Of, request: Request<Incoming>, shared: &Shared) -> Reply {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_streaming = text(RESPONSE_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("streaming"));
    let content_type = text(header::CONTENT_TYPE.as_str()).map(str::to_owned);
    let (chunks, taken) = mpsc::channel(CHUNKS);
    let (reply, mut replied) = oneshot::channel();
    let answer = Answer { of, is_streaming, content_type, chunks: taken, reply };
    if shared.asks.send(Ask::Response(answer)).await.is_err() {
        return Reply::gone();
    }
    // A refusal comes before the end of the body.
    tokio::select! {
        biased;
        reply = &mut replied => return reply.unwrap_or_else(|_| Reply::gone()),
        () = pass_on(request.into_body(), chunks) => {}
    }
    replied.await.unwrap_or_else(|_| Reply::gone())
}

async fn pass_on(mut body: Incoming, chunks: mpsc::Sender<Chunk>) {
    let mut error = None;
    while let Some(frame) = body.frame().await {
        // A connection that breaks off ends without an end.
        let Ok(frame) = frame else { return };
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                if chunks.send(Chunk::Data(data)).await.is_err() {
                    return;
                }
            }
            Err(other) => {
                error = other.trailers_ref().and_then(GuestError::in_trailers).or(error);
            }
        }
    }
    let _ = chunks.send(Chunk::End(error)).await;
}

async fn post_error(
    request: Request<Incoming>,
    shared: &Shared,
    ask: impl FnOnce(GuestError, oneshot::Sender<Reply>) -> Ask,
) -> Reply {
    let (head, body) = request.into_parts();
    let body = match whole(body, ERROR_BYTES, shared).await {
        Ok((body, _place)) => body,
        Err(refused) => return refused,
    };
    let (reply, replied) = oneshot::channel();
    if shared.asks.send(ask(GuestError::parse(&body, &head.headers), reply)).await.is_err() {
        return Reply::gone();
    }
    replied.await.unwrap_or_else(|_| Reply::gone())
}

async fn ask_platform(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    let (body, _place) = match whole(body, shared.platform_bytes, shared).await {
        Ok(whole) => whole,
        Err(Reply::Refused { status, message, .. }) => {
            let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "invalid_request" };
            let refused = problem(status, code, &message);
            return into_http(refused.status, refused.headers, refused.body);
        }
        Err(Reply::Accepted) => unreachable!("no body was refused by accepting it"),
    };
    drop_connection_fields(&mut head.headers);
    head.headers.remove(header::HOST);
    let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let request = PlatformRequest { method: head.method, path, headers: head.headers, body };
    let (answer, answered) = oneshot::channel();
    let asked = shared.asks.send(Ask::Platform { request, answer }).await;
    let answer = match answered.await {
        Ok(answer) if asked.is_ok() => answer,
        _ => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", NOBODY),
    };
    let mut headers = answer.headers;
    drop_connection_fields(&mut headers);
    into_http(answer.status, headers, answer.body)
}

/// Without what is about the connection or counted anew.
fn drop_connection_fields(headers: &mut HeaderMap) {
    HOP_BY_HOP.iter().for_each(|name| _ = headers.remove(name));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
}

fn into_http(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// All of a body, with the places it takes up. Waits for them first.
async fn whole(
    body: Incoming,
    limit_bytes: u64,
    shared: &Shared,
) -> Result<(Bytes, OwnedSemaphorePermit), Reply> {
    let bytes = body.size_hint().exact().unwrap_or(limit_bytes);
    if bytes > limit_bytes {
        return Err(Reply::too_large(limit_bytes));
    }
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let places = bytes as usize / PLACE_BYTES + 1;
    let places = places.min(PLATFORM_BYTES_IN_FLIGHT / PLACE_BYTES) as u32;
    let place = Arc::clone(&shared.places).acquire_many_owned(places).await.map_err(|_| Reply::gone())?;
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok((collected.to_bytes(), place)),
        Err(cause) if cause.is::<LengthLimitError>() => Err(Reply::too_large(limit_bytes)),
        Err(cause) => Err(Reply::Refused {
            status: StatusCode::BAD_REQUEST,
            ty: "InvalidRequest",
            message: format!("the body broke off: {cause}"),
        }),
    }
}
