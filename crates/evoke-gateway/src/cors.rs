//! The header fields of cross-origin requests (<https://fetch.spec.whatwg.org/#http-cors-protocol>), for routes and beacons.
//! Who may is decided in [`evoke_core::cors`]. A page that may not gets no such field, and its browser does the rest.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use evoke_core::cors::Cors;
use evoke_engine::Engine;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, VARY,
};
use http::{Method, Request, StatusCode};

/// [`VARY`] of what depends on the page's origin.
pub(crate) const BY_ORIGIN: HeaderValue = HeaderValue::from_static("origin");
const BY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// What only this module says where a route has rules.
const OURS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The answer to a preflight, where the route it asks about has rules: nothing behind the route is asked.
pub(crate) fn preflight<B>(engine: &Engine, request: &Request<B>) -> Option<Response> {
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = request.headers().get(ORIGIN).filter(|_| request.method() == Method::OPTIONS)?;
    let method = wanted.to_str().ok()?;
    let route = engine.route(method, request.uri().path()).ok()?;
    let cors = route.cors?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(VARY, BY_PREFLIGHT);
    if !cors.allows_method(method, &route.methods) {
        return Some(response);
    }
    if let Some(origin) = named(&cors, Some(origin)) {
        let asked =
            request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok());
        let listed = cors.headers.join(", ");
        // By name, because `*` would leave out `Authorization`.
        let fields = if cors.headers.iter().any(|name| name == "*") { asked } else { Some(listed.as_str()) };
        permit(headers, origin, cors.credentials);
        promise(headers, Some(method), fields.filter(|fields| !fields.is_empty()), cors.max_age);
    }
    Some(response)
}

/// Lets the page of `origin` read an answer, or not; what was behind the route has no say in it.
pub(crate) fn apply(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    for name in OURS {
        headers.remove(name);
    }
    if !cors.is_for_all() {
        vary(headers, BY_ORIGIN);
    }
    let Some(origin) = named(cors, origin) else { return };
    permit(headers, origin, cors.credentials);
    if let Ok(exposed) = HeaderValue::from_str(&cors.expose.join(", "))
        && !cors.expose.is_empty()
    {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// The origin as the answer names it, if its pages may read it.
fn named(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin.filter(|origin| origin.to_str().is_ok_and(|text| cors.allows(text)))?;
    Some(if cors.is_for_all() { ANY } else { origin.clone() })
}

/// Lets pages of `origin` read an answer.
pub(crate) fn permit(headers: &mut HeaderMap, origin: HeaderValue, credentials: bool) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Says what pages may send, and for how long that is so.
pub(crate) fn promise(headers: &mut HeaderMap, method: Option<&str>, fields: Option<&str>, age: Duration) {
    let texts = [(ACCESS_CONTROL_ALLOW_METHODS, method), (ACCESS_CONTROL_ALLOW_HEADERS, fields)];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
}

/// Says what an answer depends on, beside what it already says.
pub(crate) fn vary(headers: &mut HeaderMap, by: HeaderValue) {
    let known = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).any(|name| {
        let name = name.trim();
        name == "*" || by.to_str().is_ok_and(|by| name.eq_ignore_ascii_case(by))
    });
    if !known {
        headers.append(VARY, by);
    }
}
