//! Answers of the platform API.

use std::time::Duration;

use bytes::Bytes;
use evoke_core::runtime::PlatformResponse;
use evoke_core::store::StoreError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::effects::TooLarge;

/// Marks an answer as the platform's own, so that it cannot be mistaken for a callee's.
pub(super) const PROBLEM: &str = "evoke-problem";

/// An error answer: problem details by RFC 9457.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, allow: None }
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub fn unknown_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("the platform API has no {path:?}"))
    }

    pub fn method(allow: &'static str) -> Self {
        let problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("allowed: {allow}"));
        Self { allow: Some(allow), ..problem }
    }

    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    pub const fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn into_response(self) -> PlatformResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: String,
            status: u16,
            detail: &'a str,
            code: &'a str,
        }
        let body = Body {
            r#type: format!("/problems/{}", self.code),
            title: self.code.replace('_', " "),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        };
        let mut response = json(self.status, &body);
        response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers.insert(PROBLEM, HeaderValue::from_static(self.code));
        if let Some(after) = self.retry_after {
            response.headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(allow) = self.allow {
            response.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<TooLarge> for Problem {
    fn from(error: TooLarge) -> Self {
        Self::too_large(error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string());
        problem.retry_after(Duration::from_secs(1))
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> PlatformResponse {
    let body = serde_json::to_vec(body).expect("answers are texts, numbers and JSON values");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    PlatformResponse { status, headers, body: Bytes::from(body) }
}
