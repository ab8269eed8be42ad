//! What a decorator asks of the platform: to go on, and the body of what it was answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use evoke_engine::TraceParent;
use evoke_engine::call::Answered;
use evoke_engine::next::{Next, Onward};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

use super::source::Source;
use super::{BODY, Line};
use crate::api::{PROBLEM_HEADER, RUN_HEADER};
use crate::call::name_run;
use crate::headers::strip;
use crate::problem::{Refusal, kind};

/// How often one call of a decorator may go on.
const CALLS_MAX: usize = 8;
/// Stands where a body was read to its end.
const END: HeaderName = HeaderName::from_static("evoke-end");
const INCOMING: &[u8] = b"incoming";

/// What follows one call of a decorator.
pub(super) struct Following {
    line: Arc<Line>,
    /// The place on the line of what is next.
    at: usize,
    /// The request as it came to the decorator.
    head: Parts,
    source: Arc<Source>,
    answers: Mutex<Answers>,
}

/// Answers that the decorator got, whose bodies are here.
#[derive(Default)]
struct Answers {
    calls: usize,
    held: BTreeMap<usize, Held>,
}

/// The body of an answer.
struct Held {
    /// Away while it is read from.
    body: Option<HttpBody>,
    is_read: bool,
    length: Option<HeaderValue>,
    problem: Option<HeaderValue>,
}

impl Following {
    pub fn new(line: Arc<Line>, at: usize, head: Parts, source: Arc<Source>) -> Self {
        Self { line, at, head, source, answers: Mutex::default() }
    }

    /// As the engine takes it.
    pub fn into_next(self: Arc<Self>) -> Next {
        Arc::new(move |request, from| {
            let this = self.clone();
            Box::pin(async move {
                let answer = match request.path.strip_prefix("/v1/next-body/") {
                    Some(number) => this.read(number).await,
                    None => this.go(request, from).await,
                };
                match answer {
                    Ok(answer) => answer,
                    Err(refusal) => told(refusal).await,
                }
            })
        })
    }

    /// The decorator's response, with the body it names.
    pub fn hand_out(
        &self,
        named: &HeaderValue,
        answered: Answered,
        is_bare: bool,
    ) -> Result<Response, Refusal> {
        let Answered { run, response, .. } = answered;
        let broken = |what: &str| {
            let detail = format!("the decorator answered with evoke-body {named:?}, but {what}");
            Refusal::new(kind::PROTOCOL_VIOLATION, detail).run(&run)
        };
        if !is_bare {
            return Err(broken("it sent a body of its own"));
        }
        let number = named.to_str().ok().and_then(|text| text.parse().ok());
        let held = number.and_then(|number: usize| self.answers.lock().held.remove(&number));
        let Some(Held { body, is_read, length, problem }) = held else {
            return Err(broken("it was not given that body"));
        };
        let Some(body) = body.filter(|_| !is_read) else { return Err(broken("it has read from it")) };
        let status = response.status;
        if status.is_informational() {
            return Err(broken("with a status that is no final answer"));
        }
        let mut headers = response.headers;
        strip(&mut headers);
        for (name, value) in [(PROBLEM_HEADER, problem), (CONTENT_LENGTH.as_str(), length)] {
            headers.remove(name);
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        name_run(&mut headers, &run);
        let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        if bodiless {
            headers.remove(CONTENT_LENGTH);
        }
        let mut handed = Response::new(if bodiless { HttpBody::empty() } else { body });
        *handed.status_mut() = status;
        *handed.headers_mut() = headers;
        Ok(handed)
    }

    /// Goes on, and gives the head of the answer.
    async fn go(&self, request: PlatformRequest, from: Onward) -> Result<PlatformResponse, Refusal> {
        let number = {
            let mut answers = self.answers.lock();
            answers.calls += 1;
            answers.calls
        };
        if number > CALLS_MAX {
            let detail = format!("a decorator may go on {CALLS_MAX} times in one call, and this one has");
            return Err(Refusal::new(kind::NEXT_REFUSED, detail).limit("next_calls", CALLS_MAX as u64));
        }
        let request = self.request(request, &from)?;
        let is_head = request.method() == Method::HEAD;
        let answer = self.line.clone().go(self.at, request, Some(from)).await;
        let (mut parts, body) = answer.unwrap_or_else(Refusal::into_response).into_parts();
        strip(&mut parts.headers);
        parts.headers.remove(REFUSED);
        if !is_head && !body.is_end_stream() {
            let held = Held {
                body: Some(body),
                is_read: false,
                length: parts.headers.get(CONTENT_LENGTH).cloned(),
                problem: parts.headers.get(PROBLEM_HEADER).cloned(),
            };
            parts.headers.insert(BODY, HeaderValue::from(number));
            self.answers.lock().held.insert(number, held);
        } else {
            parts.headers.remove(BODY);
        }
        Ok(PlatformResponse { status: parts.status, headers: parts.headers, body: Bytes::new() })
    }

    /// The request as what is next gets it.
    fn request(&self, asked: PlatformRequest, from: &Onward) -> Result<Request<HttpBody>, Refusal> {
        let PlatformRequest { method, path, mut headers, body } = asked;
        let uri = target(&self.head.uri, path.strip_prefix("/v1/next").unwrap_or(&path))?;
        strip(&mut headers);
        let named = headers.remove(BODY);
        let body = match named {
            None => HttpBody::from(body),
            Some(named) if named.as_bytes() != INCOMING || !body.is_empty() => {
                let detail = "evoke-body of a request to /v1/next is \"incoming\", without a body, or is left out";
                return Err(Refusal::new(kind::INVALID_REQUEST, detail));
            }
            Some(_) => self.source.hand_on().ok_or_else(|| {
                let detail = "the request's body was handed on before, or so much of it read that its beginning is gone; \
                    send what was read along";
                Refusal::new(kind::NEXT_REFUSED, detail)
            })?,
        };
        headers.remove(CONTENT_LENGTH);
        headers.remove(HOST);
        if let Some(host) = self.head.headers.get(HOST) {
            headers.insert(HOST, host.clone());
        }
        if let Ok(traceparent) = HeaderValue::from_str(&from.traceparent()) {
            headers.insert(TraceParent::NAME, traceparent);
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = self.head.version;
        *request.headers_mut() = headers;
        *request.extensions_mut() = self.head.extensions.clone();
        Ok(request)
    }

    /// The next part of the body of an answer; none, and `evoke-end`, at its end.
    async fn read(&self, number: &str) -> Result<PlatformResponse, Refusal> {
        let number = number.parse().unwrap_or_default();
        let taken = self.answers.lock().held.get_mut(&number).and_then(|held| {
            held.is_read = true;
            held.body.take()
        });
        let Some(mut body) = taken else {
            let detail = "there is no such body, or another request is reading from it";
            return Err(Refusal::new(kind::NEXT_REFUSED, detail));
        };
        let data = loop {
            match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => break data,
                    // Trailers go with a body that is handed out, not with one that is read.
                    Err(_) => {}
                },
                None => break Bytes::new(),
                Some(Err(error)) => {
                    let detail = format!("the body of what is next broke off: {error}");
                    return Err(Refusal::new(kind::UPSTREAM_FAILED, detail));
                }
            }
        };
        let mut headers = HeaderMap::new();
        if data.is_empty() {
            headers.insert(END, HeaderValue::from_static("true"));
        }
        if let Some(held) = self.answers.lock().held.get_mut(&number) {
            held.body = Some(body);
        }
        Ok(PlatformResponse { status: StatusCode::OK, headers, body: data })
    }
}

/// The target of the request: `rest` of the path that was asked for, or what the decorator got.
fn target(came: &Uri, rest: &str) -> Result<Uri, Refusal> {
    let target = match rest.as_bytes().first() {
        None => came.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        Some(b'?') => format!("{}{rest}", came.path()),
        Some(_) => rest.to_owned(),
    };
    target.parse().ok().filter(|_| target.starts_with('/')).ok_or_else(|| {
        Refusal::new(kind::INVALID_REQUEST, format!("{target:?} is no path that a request can have"))
    })
}

/// A refusal of the request to go on, for the decorator.
async fn told(refusal: Refusal) -> PlatformResponse {
    let (parts, body) = refusal.into_response().into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut headers = parts.headers;
    headers.remove(RUN_HEADER);
    // Tells it from an answer of what is next.
    headers.insert(REFUSED, HeaderValue::from_static("true"));
    PlatformResponse { status: parts.status, headers, body }
}

/// Marks an answer that is about the request to go on itself.
const REFUSED: HeaderName = HeaderName::from_static("evoke-refused");
