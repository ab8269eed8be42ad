//! Members that a JSON object lacks. What it has stays as it was written, byte by byte.

use std::collections::BTreeSet;
use std::fmt;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::body::{Json, json};
use crate::gateway::{Held, Shared};
use crate::problem::{Refusal, kind};

/// The request with the members it lacked, and the place of its body in memory. One whose body is no object, or says that it
/// is no JSON, goes on as it came.
pub(super) async fn fill<'a>(
    shared: &'a Shared,
    members: &Map<String, Value>,
    request: Request<HttpBody>,
) -> Result<(Request<HttpBody>, Option<Held<'a>>), Refusal> {
    let Json { mut parts, bytes, held } = match json(shared, request).await? {
        Ok(read) => read,
        Err(untouched) => return Ok((untouched, None)),
    };
    let filled = filled(&bytes, members)
        .map_err(|error| Refusal::new(kind::INVALID_REQUEST, format!("the body is no JSON: {error}")))?;
    parts.headers.remove(CONTENT_LENGTH);
    Ok((Request::from_parts(parts, filled.unwrap_or(bytes).into()), Some(held)))
}

/// The text with what it lacks; `None` when that is nothing.
fn filled(text: &[u8], members: &Map<String, Value>) -> serde_json::Result<Option<Bytes>> {
    let trimmed = text.trim_ascii();
    if !trimmed.starts_with(b"{") {
        serde_json::from_slice::<IgnoredAny>(text)?;
        return Ok(None);
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    let names = parser.deserialize_map(Names)?;
    parser.end()?;
    let missing = members.iter().filter(|(name, _)| !names.contains(*name));
    let missing: Vec<String> =
        missing.map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let open = trimmed[..trimmed.len() - 1].trim_ascii_end();
    let comma: &[u8] = if names.is_empty() { b"" } else { b"," };
    Ok(Some([open, comma, missing.join(",").as_bytes(), b"}"].concat().into()))
}

/// The names of an object's members.
struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = BTreeSet<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            names.insert(name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(text: &str) -> String {
        let Value::Object(members) = json!({ "currency": "EUR", "n\"": [1] }) else { unreachable!() };
        let filled = filled(text.as_bytes(), &members).unwrap();
        filled.map_or_else(|| text.to_owned(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn missing_members_are_added_and_the_rest_stays_byte_by_byte() {
        assert_eq!(fill("{}"), r#"{"currency":"EUR","n\"":[1]}"#);
        assert_eq!(fill(" { } \n"), r#"{"currency":"EUR","n\"":[1]}"#);
        let exact = r#"{"id": 12345678901234567890123.10 , "currency" : null}"#;
        assert_eq!(fill(exact), format!("{},\"n\\\"\":[1]}}", exact.trim_end_matches('}')));
        assert_eq!(fill(r#"{"currency":1,"n\u0022":2}"#), r#"{"currency":1,"n\u0022":2}"#);
        assert_eq!(fill("[{}]"), "[{}]");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{}x", "{'a':1}", "nope", "{\"a\":1,}"] {
            assert!(filled(text.as_bytes(), &Map::new()).is_err(), "{text}");
        }
    }
}
