//! Answers of the platform that are given without asking it.

use bytes::Bytes;
use evoke_core::runtime::PlatformResponse;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Why there is no answer of the platform's own.
pub(crate) const NOBODY: &str = "the attempt is over, nobody answers any more";

/// A refusal as the platform has them (`docs/reference/platform-api.md`).
pub(crate) fn problem(status: StatusCode, code: &'static str, detail: &str) -> PlatformResponse {
    let body = serde_json::json!({
        "type": format!("/problems/{code}"),
        "title": code.replace('_', " "),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert("evoke-problem", HeaderValue::from_static(code));
    PlatformResponse { status, headers, body: Bytes::from(body.to_string()) }
}
