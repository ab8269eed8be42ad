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
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri, Version};

use crate::api::{PROBLEM_HEADER, RUN_HEADER};
use crate::body::{Answer, Pump, intake, whole};
use crate::client::Client;
use crate::gateway::{Peer, Shared};
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
    /// The path and query it sees.
    pub path_and_query: String,
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
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let mut from = shared.engine.arrival(&parts.headers, peer);
    if let Some(version) = callee.version {
        from.wish = Wish::Version(version);
    }
    let authority = authority(parts.version, &parts.uri, &parts.headers)?;
    let trigger =
        Trigger::Http { method: parts.method.as_str().to_owned(), path: parts.uri.path().to_owned() };
    let asynchronously = take_respond_async(&mut parts.headers);

    let cap = shared.cap(BODY_BYTES, shared.engine.limits().body_bytes);
    // What is stored, and what a key's fingerprint is made of, has to be whole.
    let (body, mut pump, _held) = if asynchronously.is_some() || key.is_some() {
        let held = shared.hold(&body, cap.bytes)?;
        (Body::Full(whole(&parts.headers, body, cap).await?), Pump::done(), Some(held))
    } else {
        let (body, pump) = intake(&parts.headers, body, cap).await?;
        (body, pump, None)
    };

    strip(&mut parts.headers);
    let client = parts.extensions.get::<Client>();
    let scheme = client.map_or("http", Client::scheme);
    let client = client.map(|client| client.address.to_string());
    let Callee { app, function, params, method, path_and_query, .. } = callee;
    let uri = format!("{scheme}://{authority}{path_and_query}");
    let request = runtime::Request { method, uri, headers: parts.headers, params, client, body };
    if let Some(RespondAsync { wait }) = asynchronously {
        let call = LaterCall { app, function, request, trigger, from, idempotency_key: key };
        return later::answer(shared, call, &parts.method, wait).await;
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

/// What the request was addressed to, for the URI the function sees.
pub(crate) fn authority(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<String, Refusal> {
    let refused = |what: &str| Refusal::new(kind::INVALID_REQUEST, format!("header Host {what}"));
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    // More than one is refused also where the target names the host (RFC 9112, 3.2).
    if hosts.next().is_some() {
        return Err(refused("is given more than once"));
    }
    let of_field = |host: &HeaderValue| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let named = match (uri.authority(), host) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => of_field(host),
        (None, None) if version < Version::HTTP_11 => return Ok("localhost".to_owned()),
        (None, None) => return Err(refused("is missing")),
    };
    let named = named.filter(is_host).ok_or_else(|| refused("is not a host name with an optional port"))?;
    Ok(named.as_str().to_owned())
}

/// Whether it is nothing but a host and a port: a user's name there is a way to look like another host (RFC 9110, 4.2.4).
fn is_host(authority: &Authority) -> bool {
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host()).map(|port| port.strip_prefix(':').unwrap_or(port));
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    !authority.host().is_empty() && !text.contains('@') && port.is_some_and(is_port)
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
            Body::Full(bytes) => {
                pump.linger().await;
                bytes.into()
            }
            Body::Stream(chunks) => {
                if let Some(length) = declared {
                    headers.insert(CONTENT_LENGTH, length.into());
                }
                Answer::body(chunks, pump)
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
