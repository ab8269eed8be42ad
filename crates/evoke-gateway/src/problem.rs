//! Errors as HTTP: the one place where a failure becomes a status, a code and a sentence (RFC 9457).
//!
//! [`kind`] is the table of all there are; `from_engine` says which of them each error of the engine is. A 5xx of the
//! store names its code and nothing of its cause: that is in the server's own log.

mod from_engine;
pub(crate) mod kind;

use std::fmt::Write as _;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evoke_core::id::RunId;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::api::{EndedBy, Limit, PROBLEM_HEADER, Problem, ProblemItem, RUN_HEADER};
pub(crate) use from_engine::{BODY_BYTES, Failures, body_too_large, draining};
use kind::Kind;

/// The media type of problem details.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that is a problem. Small, so that it can be the `Err` of anything.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    problem: Problem,
    headers: HeaderMap,
}

impl Refusal {
    /// A problem of this kind; `detail` says what happened, in one sentence.
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        let problem = Problem {
            r#type: format!("/problems/{}", kind.code),
            title: kind.title.to_owned(),
            status: kind.status.as_u16(),
            detail: detail.into(),
            code: kind.code.to_owned(),
            retry: kind.retry,
            retry_after_ms: None,
            ended_by: kind.ended_by,
            after_ms: None,
            limit: None,
            run: None,
            errors: Vec::new(),
        };
        Self(Box::new(Inner { problem, headers: HeaderMap::new() }))
    }

    /// The problem alone, for where it is no answer of its own.
    pub fn into_problem(self) -> Problem {
        self.0.problem
    }

    /// Its status.
    pub fn status(&self) -> http::StatusCode {
        http::StatusCode::from_u16(self.0.problem.status).expect("kinds have valid statuses")
    }

    /// Names the limit that was reached.
    pub fn limit(mut self, name: &str, value: u64) -> Self {
        self.0.problem.limit = Some(Limit { name: name.to_owned(), value });
        self
    }

    /// Names the run it was.
    pub fn run(mut self, run: &RunId) -> Self {
        self.0.problem.run = Some(run.clone());
        self
    }

    /// Says how long it ran.
    pub fn after(mut self, after: Duration) -> Self {
        self.0.problem.after_ms = Some(whole_ms(after));
        self
    }

    /// Says when to try again at the earliest.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.0.problem.retry_after_ms = Some(whole_ms(pause));
        self
    }

    /// Lists what is wrong.
    pub fn errors(mut self, errors: Vec<ProblemItem>) -> Self {
        self.0.problem.errors = errors;
        self
    }

    /// Adds a header field.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Adds `Allow`.
    pub fn allow(self, methods: &[String]) -> Self {
        match HeaderValue::from_str(&methods.join(", ")) {
            Ok(value) => self.header(ALLOW, value),
            Err(_) => self,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let Inner { problem, headers } = *self.0;
        let body = serde_json::to_vec(&problem).expect("a problem has only string keys");
        let mut response = Response::new(Bytes::from(body).into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Ok(code) = HeaderValue::from_str(&problem.code) {
            fields.insert(PROBLEM_HEADER, code);
        }
        if let Some(run) = problem.run.as_ref().and_then(|run| HeaderValue::from_str(run.as_str()).ok()) {
            fields.insert(RUN_HEADER, run);
        }
        if let Some(pause_ms) = problem.retry_after_ms {
            fields.insert(RETRY_AFTER, HeaderValue::from(pause_ms.div_ceil(1_000).max(1)));
        }
        response
    }
}

/// The table of all problems in Markdown, as `docs/reference/http-errors.md` has it.
pub fn table() -> String {
    let mut table = "| status | `code` | ended by | retry | meaning |\n|---|---|---|---|---|\n".to_owned();
    for kind in kind::ALL {
        let ended_by = kind.ended_by.map_or("", EndedBy::as_str);
        let (status, retry) = (kind.status.as_u16(), if kind.retry { "yes" } else { "" });
        // Writing to a string does not fail.
        let _ = writeln!(table, "| {status} | `{}` | {ended_by} | {retry} | {} |", kind.code, kind.about);
    }
    table
}

/// In milliseconds.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
