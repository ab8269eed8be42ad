//! The listener without TLS: it sends to https, and tells ACME servers what they ask (RFC 8555, 8.3).

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, StatusCode};

use super::certificates::Certificates;
use crate::problem::{Refusal, kind};
use crate::vet::authority;

const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// Answers one request. `port`: where https is.
pub(crate) fn answer(
    request: &Request<HttpBody>,
    port: u16,
    certificates: Option<&Certificates>,
) -> Response {
    if let Some(token) = request.uri().path().strip_prefix(WELL_KNOWN)
        && let Some(answer) = certificates.and_then(|certificates| certificates.answer_of(token))
    {
        let kind = HeaderValue::from_static("application/octet-stream");
        return ([(CONTENT_TYPE, kind)], answer).into_response();
    }
    location(request, port).unwrap_or_else(Refusal::into_response)
}

fn location(request: &Request<HttpBody>, port: u16) -> Result<Response, Refusal> {
    let asked_for = authority(request.version(), request.uri(), request.headers())?;
    let asked_for = asked_for.as_str();
    let host = match asked_for.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => asked_for,
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = HeaderValue::from_str(&format!("https://{host}{port}{path}")).map_err(|_| {
        Refusal::new(kind::INVALID_REQUEST, "the request's target cannot stand in a header field")
    })?;
    // 308: a form that was sent is sent again, not asked for.
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
