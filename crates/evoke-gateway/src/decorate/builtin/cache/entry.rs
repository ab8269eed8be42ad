//! One answer that is kept: what it is for, how long it is fresh, and what a client gets of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body as HttpBody;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, request, response};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};

/// Bytes that an entry takes beside its text.
const OVERHEAD_BYTES: usize = 1_024;

/// An answer.
pub(super) struct Entry {
    policy: CachePolicy,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What there is for a request.
pub(super) enum Found {
    /// An answer, so old.
    Fresh(Arc<Entry>, Duration),
    /// An answer that what is next may confirm, and the request's header fields that ask for it.
    Stale(Arc<Entry>, HeaderMap),
    /// Only answers to requests with other header fields (`Vary`).
    Other,
    /// Nothing.
    Nothing,
}

/// What requests for the same have in common.
pub(super) fn key<B>(request: &Request<B>) -> String {
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = authority.or_else(|| request.headers().get(HOST).map(HeaderValue::as_bytes));
    let host = host.map(String::from_utf8_lossy).unwrap_or_default().to_ascii_lowercase();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    format!("{host} {path}")
}

/// That an answer may be kept, and for how long: what an entry is made of once its body is there.
pub(super) struct Keeping(CachePolicy);

impl Keeping {
    /// `None` of an answer that may not be kept, or for no time.
    pub fn of<B>(asked: &request::Parts, answer: &http::Response<B>, now: SystemTime) -> Option<Self> {
        let headers = answer.headers();
        let is_partial =
            answer.status() == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE);
        let is_for_one = headers.contains_key(SET_COOKIE)
            || headers.get_all(VARY).iter().any(|value| value.as_bytes().contains(&b'*'));
        if is_partial || is_for_one {
            return None;
        }
        let policy = CachePolicy::new_options(&seen(asked), answer, now, options());
        (policy.is_storable() && policy.time_to_live(now) > Duration::ZERO).then_some(Self(policy))
    }
}

impl Entry {
    /// An answer with its body.
    pub fn new(Keeping(policy): Keeping, answer: &response::Parts, body: Bytes) -> Self {
        Self::of(policy, answer.status, answer.headers.clone(), body)
    }

    fn of(policy: CachePolicy, status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Self {
        let of_one_answer: Vec<_> =
            headers.keys().filter(|name| name.as_str().starts_with("evoke-")).cloned().collect();
        for name in of_one_answer.iter().chain([&AGE]) {
            headers.remove(name);
        }
        Self { policy, status, headers, body }
    }

    /// Whether it answers a request, now or once it is confirmed.
    pub fn find(self: &Arc<Self>, asked: &request::Parts, now: SystemTime) -> Found {
        match self.policy.before_request(&seen(asked), now) {
            BeforeRequest::Fresh(_) => Found::Fresh(self.clone(), self.age(now)),
            BeforeRequest::Stale { matches: false, .. } => Found::Other,
            BeforeRequest::Stale { request, matches: true } => {
                let mut headers = asked.headers.clone();
                for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
                    if let Some(value) = request.headers.get(&name) {
                        headers.insert(name, value.clone());
                    }
                }
                Found::Stale(self.clone(), headers)
            }
        }
    }

    /// How old it is.
    pub fn age(&self, now: SystemTime) -> Duration {
        self.policy.age(now)
    }

    /// Whether it takes the place of another: both are for a request like this.
    pub fn replaces(&self, other: &Self, asked: &request::Parts, now: SystemTime) -> bool {
        let is_for = |entry: &Self| {
            !matches!(
                entry.policy.before_request(&seen(asked), now),
                BeforeRequest::Stale { matches: false, .. }
            )
        };
        is_for(self) && is_for(other)
    }

    /// As it is after an answer said that it has not changed (RFC 9111, 4.3.4).
    pub fn confirmed<B>(
        &self,
        asked: &request::Parts,
        answer: &http::Response<B>,
        now: SystemTime,
    ) -> Option<Self> {
        let mut told = http::Response::new(());
        *told.status_mut() = answer.status();
        *told.headers_mut() = answer.headers().clone();
        // Only what is kept was asked about: then the answer is about that, also when it does not repeat what it is.
        if !is_conditional(asked) {
            for name in [ETAG, LAST_MODIFIED] {
                if let Some(value) = self.headers.get(&name) {
                    told.headers_mut().insert(name, value.clone());
                }
            }
        }
        let AfterResponse::NotModified(policy, _) = self.policy.after_response(&seen(asked), &told, now)
        else {
            return None;
        };
        let mut headers = self.headers.clone();
        for name in answer.headers().keys().filter(|name| **name != CONTENT_LENGTH && **name != CONTENT_TYPE)
        {
            headers.remove(name);
            for value in answer.headers().get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Some(Self::of(policy, self.status, headers, self.body.clone()))
    }

    /// What a client gets: the answer, or that it has it already (RFC 9110, 13.2.2).
    pub fn answer(&self, asked: &request::Parts, age: Duration, now: SystemTime) -> Response {
        let mut headers = self.headers.clone();
        headers.insert(AGE, age.as_secs().into());
        let ttl = self.policy.time_to_live(now).as_secs();
        super::tell(&mut headers, &format!("evoke; hit; ttl={ttl}"));
        let body = if self.client_has_it(asked) {
            for name in [CONTENT_LENGTH, CONTENT_TYPE] {
                headers.remove(name);
            }
            None
        } else {
            Some(if asked.method == Method::HEAD {
                headers.insert(CONTENT_LENGTH, self.body.len().into());
                HttpBody::empty()
            } else {
                self.body.clone().into()
            })
        };
        let mut response = Response::new(HttpBody::empty());
        *response.status_mut() = if body.is_some() { self.status } else { StatusCode::NOT_MODIFIED };
        *response.headers_mut() = headers;
        *response.body_mut() = body.unwrap_or_else(HttpBody::empty);
        response
    }

    fn client_has_it(&self, asked: &request::Parts) -> bool {
        if self.status != StatusCode::OK {
            return false;
        }
        if asked.headers.contains_key(IF_NONE_MATCH) {
            let own = self.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(weak);
            let asked = asked.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
            let mut tags = asked.flat_map(|value| value.split(',')).map(str::trim);
            return tags.any(|tag| tag == "*" || own.is_some_and(|own| own == weak(tag)));
        }
        let date = |headers: &HeaderMap, name| {
            let text = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())?;
            httpdate::parse_http_date(text).ok()
        };
        let since = date(&asked.headers, IF_MODIFIED_SINCE);
        since.zip(date(&self.headers, LAST_MODIFIED)).is_some_and(|(since, changed)| changed <= since)
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        // The policy has the header fields once more, and those of the request.
        self.body.len() + 3 * fields + OVERHEAD_BYTES
    }
}

fn weak(tag: &str) -> &str {
    tag.trim_start_matches("W/")
}

fn is_conditional(asked: &request::Parts) -> bool {
    asked.headers.contains_key(IF_NONE_MATCH) || asked.headers.contains_key(IF_MODIFIED_SINCE)
}

/// A request as it is compared: HEAD as GET, and whatever the version of HTTP, its host in its field.
fn seen(asked: &request::Parts) -> request::Parts {
    let mut seen = asked.clone();
    seen.method = Method::GET;
    if let Some(authority) = asked.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        seen.headers.insert(HOST, host);
    }
    let path = asked.uri.path_and_query().cloned();
    seen.uri = path.map(Uri::from).unwrap_or_default();
    seen
}

/// A cache that many share, and that makes up no freshness that nobody declared.
fn options() -> CacheOptions {
    CacheOptions {
        shared: true,
        cache_heuristic: 0.0,
        immutable_min_time_to_live: Duration::ZERO,
        ignore_cargo_cult: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_its_host_and_its_path_whatever_the_version_of_http() {
        let old = Request::get("/a?b=1").header(HOST, "Shop.example").body(()).unwrap();
        let new = Request::get("https://shop.example/a?b=1").body(()).unwrap();
        assert_eq!(key(&old), "shop.example /a?b=1");
        assert_eq!(key(&old), key(&new));
        let other = Request::get("/a?b=1").header(HOST, "other.example").body(()).unwrap();
        assert_ne!(key(&old), key(&other));
    }
}
