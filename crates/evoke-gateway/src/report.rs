//! Webhooks and beacons on the data listener: what comes in is bounded, checked by the engine, and durable before it is
//! answered. Senders that are refused learn no more than that; the log says why.

mod rates;

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use evoke_core::id::AppName;
use evoke_core::manifest::{Beacon, Webhook};
use evoke_engine::Arrival;
use evoke_engine::report::ReportError;
use http::header::{ALLOW, ORIGIN};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};

use crate::body::whole;
use crate::client::Client;
use crate::cors;
use crate::gateway::Shared;
use crate::problem::{Refusal, kind};
pub(crate) use rates::{Rates, network};

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const REQUEST_RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
const POST_OPTIONS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Where a report goes, by its place in the app's manifest.
pub(crate) enum Reported {
    Webhook { app: AppName, at: usize },
    Beacon { app: AppName, at: usize },
}

/// Answers a report, or the question whether one may be sent.
pub(crate) async fn answer(
    shared: &Shared,
    to: &Reported,
    request: Request<HttpBody>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    match to {
        Reported::Webhook { app, at } => {
            let webhook = shared.engine.webhook(app, *at).ok_or_else(|| gone(app))?;
            match parts.method {
                Method::OPTIONS => Ok(handshake(&webhook, &parts)),
                _ => receive(shared, app, *at, &webhook, parts, body).await,
            }
        }
        Reported::Beacon { app, at } => {
            let beacon = shared.engine.beacon(app, *at).ok_or_else(|| gone(app))?;
            match parts.method {
                Method::OPTIONS => preflight(&beacon, &parts),
                _ => take(shared, app, &beacon, parts, body).await,
            }
        }
    }
}

/// The webhook's report. `202`: the event is durable.
async fn receive(
    shared: &Shared,
    app: &AppName,
    at: usize,
    webhook: &Webhook,
    parts: Parts,
    body: HttpBody,
) -> Result<Response, Refusal> {
    let _held = shared.hold(&body, webhook.body_bytes)?;
    let body = whole(&parts.headers, body, shared.cap("webhook_bytes", webhook.body_bytes)).await?;
    match shared.engine.report(app, at, &parts.headers, body, arrival(shared, &parts)).await {
        Ok(_) => Ok(StatusCode::ACCEPTED.into_response()),
        Err(error) => {
            if let ReportError::Refused(_) | ReportError::Invalid(_) = error {
                let client = client(&parts);
                tracing::warn!(%app, path = webhook.path, client, %error, "a webhook report was refused");
            }
            Err(error.into())
        }
    }
}

/// The validation of the CloudEvents webhook specification, 4.1. A sender that may not send gets no answer that it could
/// take for a yes. A callback URL is not called: whoever may send is in the manifest.
fn handshake(webhook: &Webhook, parts: &Parts) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, POST_OPTIONS);
    let origin = parts.headers.get(REQUEST_ORIGIN);
    if let Some(origin) = origin.filter(|origin| origin.to_str().is_ok_and(|text| webhook.allows(text))) {
        let rate = parts.headers.get(REQUEST_RATE).cloned();
        response.headers_mut().insert(ALLOWED_ORIGIN, origin.clone());
        response.headers_mut().insert(ALLOWED_RATE, rate.unwrap_or_else(|| HeaderValue::from_static("*")));
    }
    response
}

/// The page's report. `204`: the event is durable.
async fn take(
    shared: &Shared,
    app: &AppName,
    beacon: &Beacon,
    parts: Parts,
    body: HttpBody,
) -> Result<Response, Refusal> {
    let origin = origin(beacon, &parts)?;
    let address = parts.extensions.get::<Client>().map(|client| client.address);
    shared.rates.admit(app, beacon, address.unwrap_or(IpAddr::from([0, 0, 0, 0])))?;
    let _held = shared.hold(&body, beacon.body_bytes)?;
    let body = whole(&parts.headers, body, shared.cap("beacon_bytes", beacon.body_bytes)).await?;
    let named = origin.as_ref().and_then(|origin| origin.to_str().ok());
    shared.engine.report_page(app, beacon, named, body, arrival(shared, &parts)).await?;
    Ok(readable(StatusCode::NO_CONTENT.into_response(), origin))
}

/// The question a browser asks before it sends `application/json` (<https://fetch.spec.whatwg.org/#cors-preflight-fetch>).
fn preflight(beacon: &Beacon, parts: &Parts) -> Result<Response, Refusal> {
    let origin = origin(beacon, parts)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, POST_OPTIONS);
    let age = Duration::from_secs(2 * 60 * 60);
    cors::promise(response.headers_mut(), Some("POST"), Some("content-type"), age);
    Ok(readable(response, origin))
}

/// The page's origin, if pages of it may send.
fn origin(beacon: &Beacon, parts: &Parts) -> Result<Option<HeaderValue>, Refusal> {
    let origin = parts.headers.get(ORIGIN);
    let named = origin.and_then(|origin| origin.to_str().ok());
    if beacon.allows(named) {
        return Ok(origin.cloned());
    }
    let detail = match named {
        Some(named) => format!("the beacon {} does not take reports of pages of {named}", beacon.path),
        None => format!("the beacon {} wants to know the page's origin", beacon.path),
    };
    Err(Refusal::new(kind::ORIGIN_REFUSED, detail))
}

/// With what lets the page see that it worked. Browsers send beacons with credentials, which are not looked at, and want
/// the origin by name then.
fn readable(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        cors::permit(response.headers_mut(), origin, true);
        cors::vary(response.headers_mut(), cors::BY_ORIGIN);
    }
    response
}

fn arrival(shared: &Shared, parts: &Parts) -> Arrival {
    shared.engine.arrival(&parts.headers, parts.extensions.get::<Client>().map(|client| client.peer))
}

fn client(parts: &Parts) -> String {
    parts.extensions.get::<Client>().map(|client| client.address.to_string()).unwrap_or_default()
}

fn gone(app: &AppName) -> Refusal {
    ReportError::NotFound(app.clone()).into()
}
