//! An HTTP request becomes a call of a function, now or later, and what comes of it an HTTP response. Shared by the routes
//! of the data listener and `invoke` of the control API.

pub(crate) mod later;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::body::{Body, BodyError};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::record::Trigger;
use evoke_core::runtime;
use evoke_engine::call::{Answered, CallRequest};
use evoke_engine::ingest::LaterCall;
use evoke_engine::next::Onward;
use evoke_engine::rollout::Wish;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode, Uri};

use crate::api::{PROBLEM_HEADER, RUN_HEADER};
use crate::body::{Answer, Pump, intake, whole};
use crate::client::Client;
use crate::gateway::Shared;
use crate::headers::{RespondAsync, idempotency_key, strip, take_respond_async};
use crate::problem::{BODY_BYTES, Failures, Refusal, kind};

const RUN: HeaderName = HeaderName::from_static(RUN_HEADER);
const REPLAYED: HeaderName = HeaderName::from_static("evoke-replayed");
/// Fields of answers that functions do not write.
const OURS: [HeaderName; 3] = [RUN, HeaderName::from_static(PROBLEM_HEADER), REPLAYED];

/// Which function a request is for, and how the function sees it.
#[derive(Debug)]
pub(crate) struct Callee {
    pub app: AppName,
    pub function: FunctionName,
    /// Which version of the app, where it must be that one.
    pub version: Option<u64>,
    /// Path parameters of the route.
    pub params: Vec<(String, String)>,
    /// The method it sees.
    pub method: Method,
    /// The path and query it sees, where they are others than those of the request.
    pub path_and_query: Option<PathAndQuery>,
}

/// Makes the call. Dropping the future or the response's body cancels the run.
pub(crate) async fn answer(
    shared: &Shared,
    callee: Callee,
    request: Request<HttpBody>,
    tell: Failures,
    after: Option<Onward>,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers)?;
    let client = parts.extensions.get::<Client>();
    let mut from = shared.engine.arrival(&parts.headers, client.map(|client| client.peer));
    if let Some(version) = callee.version {
        from.wish = Wish::Version(version);
    }
    let trigger =
        Trigger::Http { method: parts.method.as_str().to_owned(), path: parts.uri.path().to_owned() };
    let asynchronously = take_respond_async(&mut parts.headers);

    let cap = shared.cap(BODY_BYTES, shared.engine.limits().body_bytes);
    // What is stored, and what a key's fingerprint is made of, has to be whole.
    let (body, mut pump, _held) = if asynchronously.is_some() || key.is_some() {
        let held = shared.hold(&body, cap.bytes)?;
        (Body::Full(Box::pin(whole(&parts.headers, body, cap)).await?), Pump::done(), Some(held))
    } else {
        let (body, pump) = intake(&parts.headers, body, cap).await?;
        (body, pump, None)
    };

    let Callee { app, function, params, method, path_and_query, .. } = callee;
    let scheme = client.map_or("http", Client::scheme);
    let host = host(&parts.uri, &parts.headers);
    let path = path_and_query.as_ref().or(parts.uri.path_and_query());
    let path = path.map_or("/", PathAndQuery::as_str);
    let uri = [scheme, "://", host, path].concat();
    let client = client.map(|client| client.address.to_string());
    strip(&mut parts.headers);
    let request = runtime::Request { method, uri, headers: parts.headers, params, client, body };
    if let Some(RespondAsync { wait }) = asynchronously {
        let call = LaterCall { app, function, request, trigger, from, idempotency_key: key };
        return Box::pin(later::answer(shared, call, &parts.method, wait)).await;
    }
    let call = CallRequest { app, function, request, trigger, from, idempotency_key: key };
    match pump.during(Box::pin(shared.engine.call_along(call, after, None))).await? {
        Ok(answered) => respond(answered, &parts.method, pump).await,
        // What the function made of a body that broke off is a consequence; the cause is told.
        Err(error) => Err(match pump.error() {
            Some(error @ BodyError::TooLarge { .. }) => error.clone().into(),
            _ => Refusal::from_call(error, tell),
        }),
    }
}

/// What a request that was vetted is addressed to: `Host`, which only HTTP/1.0 may leave out.
pub(crate) fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> &'r str {
    let said = headers.get(HOST).and_then(|host| host.to_str().ok());
    said.or_else(|| uri.authority().map(Authority::as_str)).unwrap_or("localhost")
}

pub(crate) async fn respond(answered: Answered, asked: &Method, mut pump: Pump) -> Result<Response, Refusal> {
    let Answered { run, response, replayed } = answered;
    let runtime::Response { status, mut headers, body } = response;
    if status.is_informational() {
        let detail = format!("the function answered with status {status}, which is no final answer");
        return Err(Refusal::new(kind::PROTOCOL_VIOLATION, detail).run(&run));
    }
    strip(&mut headers);
    for name in OURS {
        headers.remove(name);
    }
    name_run(&mut headers, &run);
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    let declared = declared_length(&headers);
    headers.remove(CONTENT_LENGTH);

    let bodiless =
        asked == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let body = if bodiless {
        // Read to its end all the same: dropping it would cancel the run.
        let length = pump.during(read_to_end(body)).await.ok().flatten();
        if asked == Method::HEAD
            && let Some(length) = declared.or(length)
        {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        HttpBody::empty()
    } else {
        match body {
            Body::Full(bytes) if pump.is_done().await => bytes.into(),
            Body::Full(bytes) => Answer::early(bytes, pump),
            arriving => {
                if let Some(length) = declared {
                    headers.insert(CONTENT_LENGTH, length.into());
                }
                Answer::body(arriving, pump)
            }
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

pub(crate) fn name_run(headers: &mut HeaderMap, run: &RunId) {
    if let Ok(run) = HeaderValue::from_str(run.as_str()) {
        headers.insert(RUN, run);
    }
}

/// The length a function declared, if it is one.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(length), None) => length.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

/// How many bytes it had, when it came to its end.
async fn read_to_end(mut body: Body) -> Option<u64> {
    let mut length = 0;
    while let Some(chunk) = body.chunk().await {
        length += chunk.ok()?.len() as u64;
    }
    Some(length)
}
