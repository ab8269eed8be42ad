//! Parts of a request, or a problem that says which part is wrong.

use axum::extract::{FromRequestParts, Path, Query};
use evoke_core::time::Timestamp;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::api::PAGE_DEFAULT;
use crate::problem::{Refusal, kind};

/// The segments of the path.
pub(crate) struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => {
                Err(invalid(format!("path: {}", without(&rejection.body_text(), "Invalid URL: "))))
            }
        }
    }
}

/// The query; unknown parameters are refused if `T` refuses them.
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let reason = rejection.body_text();
                Err(invalid(format!("query: {}", without(&reason, "Failed to deserialize query string: "))))
            }
        }
    }
}

fn without<'a>(text: &'a str, prefix: &str) -> &'a str {
    text.strip_prefix(prefix).unwrap_or(text)
}

/// A JSON body that is there whole.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    match media_type(headers).as_deref() {
        Some("application/json") => {}
        other => return Err(unsupported(other, "application/json")),
    }
    serde_json::from_slice(body).map_err(|error| invalid(format!("body: {error}")))
}

/// The media type of the body, lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The body is of another type than the path takes.
pub(crate) fn unsupported(found: Option<&str>, wanted: &str) -> Refusal {
    let found = found.unwrap_or("missing");
    Refusal::new(kind::UNSUPPORTED_MEDIA_TYPE, format!("content type is {found}; this path takes {wanted}"))
}

/// A malformed part of the request.
pub(crate) fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(kind::INVALID_REQUEST, detail)
}

/// Entries of a page: what was asked for, within the bound.
pub(crate) fn limit(asked: Option<usize>, least: usize, most: usize) -> Result<usize, Refusal> {
    let limit = asked.unwrap_or_else(|| PAGE_DEFAULT.min(most));
    if limit < least || limit > most {
        let detail = format!("query parameter limit: {limit} is not between {least} and {most}");
        return Err(invalid(detail).limit("page", most as u64));
    }
    Ok(limit)
}

/// A page of what was fetched, which is one more than the page holds when there is more; and the cursor for the next.
pub(crate) fn page<T>(
    mut fetched: Vec<T>,
    limit: usize,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let more = fetched.len() > limit;
    fetched.truncate(limit);
    let next = if more { fetched.last().map(cursor) } else { None };
    (fetched, next)
}

/// A time of the query.
pub(crate) fn time(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Refusal> {
    let read = |text: String| {
        let wrong = || invalid(format!("query parameter {name}: {text:?} is not a time of RFC 3339"));
        Timestamp::parse_rfc3339(&text).ok_or_else(wrong)
    };
    text.map(read).transpose()
}

/// A cursor that is a position.
pub(crate) fn position(name: &str, cursor: Option<&str>) -> Result<Option<u64>, Refusal> {
    let read = |text: &str| {
        text.parse()
            .map_err(|_| invalid(format!("query parameter {name}: {text:?} is not a cursor this API gave")))
    };
    cursor.map(read).transpose()
}

/// Whether the caller asks for server-sent events.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|range| range.trim().starts_with("text/event-stream"))
}
