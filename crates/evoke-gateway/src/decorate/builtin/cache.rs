//! Answers that are kept and given again, as a shared cache by RFC 9111: as long as `Cache-Control` or `Expires` of the answer
//! say, and after that when what is next confirms them.
//!
//! What is kept is in memory, and of this deployment. Of many who ask at once for what is not there, one asks what is next, and
//! the others wait for its answer, unless the last answer was none to keep.

mod entry;
mod memory;
mod turn;

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::id::FunctionName;
use evoke_core::time::Timestamp;
use evoke_engine::experiment::Promotion;
use futures_util::{StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, RANGE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, request};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};

use super::super::Line;
use crate::problem::{Refusal, kind};
use entry::{Entry, Found, Keeping};
pub(crate) use memory::{Cached, Memory};
use turn::Asking;

/// How often one waits for others who ask for the same, before one asks by oneself.
const ROUNDS: usize = 3;
/// What is kept holds for this.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Behind {
    bytes: u64,
    version: u64,
    promotions: Vec<Promotion>,
}

/// What was not looked for.
const BYPASS: &str = "evoke; fwd=bypass";
/// How a request was answered (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Answers a request with what is kept, or with what is next.
pub(super) async fn answer<F>(
    line: &Line,
    (name, bytes): (&FunctionName, u64),
    request: Request<HttpBody>,
    next: impl FnOnce(Request<HttpBody>) -> F,
) -> Result<Response, Refusal>
where
    F: Future<Output = Result<Response, Refusal>>,
{
    let shared = &line.shared;
    let app = &line.route.app;
    let behind = Behind {
        bytes,
        version: shared.engine.app(app).map_or(0, |app| app.version),
        promotions: shared.engine.promotions(app),
    };
    let make = || Memory::new(bytes, shared.cached.clone());
    let memory = shared.caches.of(&shared.engine, (app, name), &behind, make);
    let key = entry::key(&request);
    // Of two versions each has its part of the requests: what one answers is not given to those who are the other's.
    let two_versions = shared.engine.has_canary(app).then_some(BYPASS);
    if let Some(reason) = passes(&request).or(two_versions) {
        let is_unsafe = !request.method().is_safe();
        let mut answer = next(request).await?;
        let status = answer.status();
        if is_unsafe && (status.is_success() || status.is_redirection()) {
            // RFC 9111, 4.4.
            memory.forget(&key);
        }
        tell(answer.headers_mut(), reason);
        return Ok(answer);
    }
    let asked = request.into_parts().0;
    let mut found = memory.find(&key, &asked, now(line));
    let mut turn = None;
    for _ in 0..ROUNDS {
        if matches!(found, Found::Fresh(..)) {
            break;
        }
        match memory.turns.take(&key).await {
            Asking::Mine(mine) => turn = Some(mine),
            Asking::All => {}
            Asking::Asked => {
                found = memory.find(&key, &asked, now(line));
                continue;
            }
        }
        break;
    }
    let (onward, former, reason) = match found {
        Found::Fresh(entry, age) => return Ok(entry.answer(&asked, age, now(line))),
        Found::Stale(entry, headers) => (headers, Some(entry), "evoke; fwd=stale"),
        Found::Other => (asked.headers.clone(), None, "evoke; fwd=vary-miss"),
        Found::Nothing => (asked.headers.clone(), None, "evoke; fwd=uri-miss"),
    };
    if has_directive(&asked.headers, "only-if-cached") {
        let detail = "only what is kept was asked for, and nothing is";
        return Err(Refusal::new(kind::NOT_CACHED, detail));
    }
    let answer = next(with_headers(&asked, onward)).await?;
    let kept = Asked { line, memory: &memory, key: &key, asked: &asked }.keep(answer, former).await;
    let is_kept = kept.is_kept;
    memory.turns.learn(&key, is_kept);
    drop(turn);
    let mut answer = kept.answer;
    tell(answer.headers_mut(), &format!("{reason}{}", if is_kept { "; stored" } else { "" }));
    Ok(answer)
}

/// A request that was sent on.
struct Asked<'a> {
    line: &'a Line,
    memory: &'a Memory,
    key: &'a str,
    asked: &'a request::Parts,
}

struct Kept {
    answer: Response,
    is_kept: bool,
}

impl Asked<'_> {
    /// Keeps an answer if it may be kept. `former`: what it may confirm.
    async fn keep(self, answer: Response, former: Option<Arc<Entry>>) -> Kept {
        let now = now(self.line);
        if let Some(former) = former.filter(|_| answer.status() == StatusCode::NOT_MODIFIED)
            && let Some(entry) = former.confirmed(self.asked, &answer, now)
        {
            let confirmed = entry.answer(self.asked, entry.age(now), now);
            return Kept { answer: confirmed, is_kept: self.memory.put(self.key, entry, self.asked, now) };
        }
        let is_get = self.asked.method == Method::GET;
        let Some(keeping) = is_get.then(|| Keeping::of(self.asked, &answer, now)).flatten() else {
            return Kept { answer, is_kept: false };
        };
        let (parts, body) = answer.into_parts();
        let limit = self.memory.entry_bytes().min(self.line.shared.engine.limits().body_bytes);
        if body.size_hint().lower() > limit {
            return Kept { answer: Response::from_parts(parts, body), is_kept: false };
        }
        let Ok(_held) = self.line.shared.hold(&body, limit) else {
            return Kept { answer: Response::from_parts(parts, body), is_kept: false };
        };
        match collect(body, limit).await {
            Ok(bytes) => {
                let entry = Entry::new(keeping, &parts, bytes.clone());
                let is_kept = self.memory.put(self.key, entry, self.asked, now);
                Kept { answer: Response::from_parts(parts, bytes.into()), is_kept }
            }
            Err(rest) => Kept { answer: Response::from_parts(parts, rest), is_kept: false },
        }
    }
}

/// All of a body; or the body again, if it is larger, has trailers, or breaks off.
async fn collect(mut body: HttpBody, limit: u64) -> Result<bytes::Bytes, HttpBody> {
    let (mut frames, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let is_small_data = matches!(&frame, Ok(frame) if frame.data_ref().is_some_and(|data| {
            total += data.len() as u64;
            total <= limit
        }));
        frames.push(frame);
        if !is_small_data {
            let rest = BodyStream::new(body);
            return Err(HttpBody::new(StreamBody::new(stream::iter(frames).chain(rest))));
        }
    }
    let data =
        frames.into_iter().filter_map(|frame| frame.ok().and_then(|frame: Frame<_>| frame.into_data().ok()));
    Ok(data
        .fold(bytes::BytesMut::new(), |mut all, data: bytes::Bytes| {
            all.extend_from_slice(&data);
            all
        })
        .freeze())
}

/// Why a request has nothing to do with what is kept, as `Cache-Status` says it.
fn passes(request: &Request<HttpBody>) -> Option<&'static str> {
    let headers = request.headers();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Some("evoke; fwd=method");
    }
    let asks_for_more = headers.contains_key(RANGE) || headers.contains_key(UPGRADE);
    let has_body = !request.body().is_end_stream();
    (asks_for_more || has_body).then_some(BYPASS)
}

fn has_directive(headers: &HeaderMap, wanted: &str) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
}

fn with_headers(asked: &request::Parts, headers: HeaderMap) -> Request<HttpBody> {
    let mut parts = asked.clone();
    parts.headers = headers;
    parts.headers.remove(CONTENT_LENGTH);
    Request::from_parts(parts, HttpBody::empty())
}

fn tell(headers: &mut HeaderMap, status: &str) {
    if let Ok(value) = HeaderValue::from_str(status) {
        headers.append(CACHE_STATUS, value);
    }
}

fn now(line: &Line) -> SystemTime {
    SystemTime::UNIX_EPOCH + line.shared.engine.now().since(Timestamp(0))
}
