//! `/v1/kv/{namespace}` and `/v1/kv/{namespace}/{key}`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use evoke_core::store::{Entry, Expect, ListQuery, Space, Value, ValueKind, Write};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::parameters;
use super::reply::{self, Problem};
use crate::attempt::Attempt;
use crate::effects::{Seen, holds};

const LIST_DEFAULT: usize = 100;
/// Entries asked of the store at once: with values of the largest size, so many are in memory.
const LIST_PART: usize = 64;

pub(super) async fn answer(
    attempt: &mut Attempt,
    request: &PlatformRequest,
    namespace: &str,
    key: Option<String>,
    query: Option<&str>,
) -> Result<PlatformResponse, Problem> {
    let limit = attempt.inner.limits.key_bytes;
    for (what, text) in [("namespace", Some(namespace)), ("key", key.as_deref())] {
        match text.map(str::len) {
            Some(0) => return Err(Problem::invalid(format!("the {what} is empty"))),
            Some(len) if len > limit => {
                return Err(Problem::too_large(format!("the {what} has {len} bytes, the limit is {limit}")));
            }
            _ => {}
        }
    }
    let space = Space::app(&attempt.target.app, namespace);
    match (&request.method, key) {
        (&Method::GET, Some(key)) => {
            parameters(query, &[])?;
            let entry = look_up(attempt, &space, &key).await?;
            entry
                .map(found)
                .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", format!("no key {key:?}")))
        }
        (&Method::PUT, Some(key)) => put(attempt, request, space, key, query).await,
        (&Method::DELETE, Some(key)) => {
            parameters(query, &[])?;
            delete(attempt, request, space, key).await
        }
        (&Method::GET, None) => list(attempt, space, query).await,
        (_, Some(_)) => Err(Problem::method("GET, PUT, DELETE")),
        (_, None) => Err(Problem::method("GET")),
    }
}

/// The key as the attempt sees it: its own write, or what the store has.
async fn look_up(attempt: &Attempt, space: &Space, key: &str) -> Result<Option<Entry>, Problem> {
    match attempt.effects.see(space, key) {
        Seen::Written(write, revision) => Ok(write.value.clone().map(|value| Entry {
            key: key.to_owned(),
            value,
            revision,
            expires_at: write.expires_at,
        })),
        Seen::Unknown => Ok(attempt.inner.store.get(space, key, attempt.inner.now()).await?),
    }
}

fn found(entry: Entry) -> PlatformResponse {
    let mut headers = HeaderMap::new();
    let content_type = match entry.value.kind {
        ValueKind::Json => "application/json",
        ValueKind::Bytes => "application/octet-stream",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("evoke-revision", HeaderValue::from(entry.revision));
    if let Some(at) = entry.expires_at
        && let Ok(at) = HeaderValue::try_from(at.to_rfc3339())
    {
        headers.insert("evoke-expires-at", at);
    }
    PlatformResponse { status: StatusCode::OK, headers, body: entry.value.bytes }
}

async fn put(
    attempt: &mut Attempt,
    request: &PlatformRequest,
    space: Space,
    key: String,
    query: Option<&str>,
) -> Result<PlatformResponse, Problem> {
    let limit = attempt.inner.limits.value_bytes;
    if request.body.len() as u64 > limit {
        let len = request.body.len();
        return Err(Problem::too_large(format!(
            "the value of {key:?} has {len} bytes, the limit is {limit}"
        )));
    }
    let mut expires_at = None;
    for (_, value) in parameters(query, &["ttl_ms"])? {
        let ms = value.parse::<u64>().ok().filter(|ms| (1..=1 << 46).contains(ms));
        let ms = ms.ok_or_else(|| {
            Problem::invalid(format!("ttl_ms {value:?} is not a number of milliseconds of at least 1"))
        })?;
        expires_at = Some(attempt.inner.now().after(Duration::from_millis(ms)));
    }
    let kind = value_kind(&request.headers)?;
    if kind == ValueKind::Json {
        serde_json::from_slice::<serde::de::IgnoredAny>(&request.body)
            .map_err(|error| Problem::invalid(format!("the value of {key:?} is not JSON: {error}")))?;
    }
    let value = Some(Value { kind, bytes: request.body.clone() });
    let revision =
        write(attempt, request, Write { space, key, value, expires_at, expect: Expect::Anything }).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "revision": revision })))
}

async fn delete(
    attempt: &mut Attempt,
    request: &PlatformRequest,
    space: Space,
    key: String,
) -> Result<PlatformResponse, Problem> {
    if look_up(attempt, &space, &key).await?.is_none() && if_revision(&request.headers)?.is_none() {
        return Ok(reply::json(StatusCode::OK, &json!({ "revision": 0, "deleted": false })));
    }
    let deletion = Write { space, key, value: None, expires_at: None, expect: Expect::Anything };
    let revision = write(attempt, request, deletion).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "revision": revision, "deleted": true })))
}

/// Adds a write under the request's condition, which must hold for what the attempt sees now and, in the store, at the
/// commit.
async fn write(attempt: &mut Attempt, request: &PlatformRequest, mut write: Write) -> Result<u64, Problem> {
    if let Some(expect) = if_revision(&request.headers)? {
        let expect = match expect {
            Expect::Revision(revision) => Expect::Revision(attempt.effects.resolve(revision)),
            other => other,
        };
        let seen = look_up(attempt, &write.space, &write.key).await?.map(|entry| entry.revision);
        if !holds(expect, seen) {
            let is = seen.map_or("absent".to_owned(), |revision| format!("at revision {revision}"));
            let wanted = match expect {
                Expect::Revision(revision) => format!("at revision {revision}"),
                Expect::Absent | Expect::Anything => "absent".to_owned(),
            };
            let detail = format!("key {:?} is {is}, not {wanted}", write.key);
            attempt.conflict = Some(detail.clone());
            return Err(Problem::new(StatusCode::CONFLICT, "state_conflict", detail));
        }
        write.expect = expect;
    }
    Ok(attempt.effects.write(write, &attempt.inner.limits)?)
}

async fn list(attempt: &Attempt, space: Space, query: Option<&str>) -> Result<PlatformResponse, Problem> {
    let (mut prefix, mut after, mut limit, mut values) = (String::new(), None, LIST_DEFAULT, false);
    let page = attempt.inner.limits.page;
    for (name, value) in parameters(query, &["prefix", "after", "limit", "values"])? {
        match name.as_str() {
            "prefix" => prefix = value,
            "after" => after = Some(value),
            "values" => values = value == "true",
            _ => {
                let number = value.parse().ok().filter(|number| (1..=page).contains(number));
                limit = number.ok_or_else(|| {
                    Problem::invalid(format!("limit {value:?} is not a number from 1 to {page}"))
                })?;
            }
        }
    }
    let bytes_max = attempt.inner.limits.body_bytes;
    let (mut shown, mut bytes, mut last, mut more) = (Vec::new(), 0, None, false);
    // One more than asked for tells whether more follow.
    let mut part = (limit + 1).min(LIST_PART);
    'parts: loop {
        let wanted =
            ListQuery { space: space.clone(), prefix: prefix.clone(), after: after.clone(), limit: part };
        let stored = attempt.inner.store.list(&wanted, attempt.inner.now()).await?;
        let end = (stored.len() == part).then(|| stored.last().map(|entry| entry.key.clone())).flatten();
        for entry in attempt.effects.overlay(&space, stored, &prefix, after.as_deref(), end.as_deref()) {
            let value_bytes = if values { entry.value.bytes.len() * 4 / 3 } else { 0 };
            bytes += (entry.key.len() + value_bytes) as u64;
            if shown.len() == limit || (bytes > bytes_max && !shown.is_empty()) {
                more = true;
                break 'parts;
            }
            last = Some(entry.key.clone());
            shown.push(show(entry, values));
        }
        // What the attempt deleted is not shown; there may be anything behind it.
        let Some(end) = end else { break };
        after = Some(end);
        part = LIST_PART;
    }
    let mut body = json!({ "entries": shown });
    if more && let Some(last) = last {
        body["next"] = last.into();
    }
    Ok(reply::json(StatusCode::OK, &body))
}

fn show(entry: Entry, with_value: bool) -> serde_json::Value {
    let mut shown = json!({ "key": entry.key, "revision": entry.revision });
    if with_value {
        match entry.value.kind {
            ValueKind::Json => {
                shown["value"] = serde_json::from_slice(&entry.value.bytes).unwrap_or_default()
            }
            ValueKind::Bytes => shown["bytes"] = STANDARD.encode(&entry.value.bytes).into(),
        }
    }
    shown
}

fn value_kind(headers: &HeaderMap) -> Result<ValueKind, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(ValueKind::Bytes) };
    let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(ValueKind::Json),
        "application/octet-stream" => Ok(ValueKind::Bytes),
        other => Err(Problem::invalid(format!(
            "content type {other:?} is neither application/json nor application/octet-stream"
        ))),
    }
}

fn if_revision(headers: &HeaderMap) -> Result<Option<Expect>, Problem> {
    let Some(value) = headers.get("if-revision") else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse::<u64>().ok()) {
        Some(0) => Ok(Some(Expect::Absent)),
        Some(revision) => Ok(Some(Expect::Revision(revision))),
        None => Err(Problem::invalid("if-revision is not a whole number")),
    }
}
