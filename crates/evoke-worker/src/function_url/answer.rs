//! What a function answered, as JSON, and what it means.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::frame::message::{HeaderBounds, header_map};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Padding may be left out, as the decoders of other languages have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A whole HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The members of an object with `statusCode`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    status_code: Value,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<Value>>,
    #[serde(default, borrow)]
    body: Option<Content<'a>>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(Value),
}

/// Whether JSON is an object with `statusCode`.
#[derive(Debug, Deserialize)]
struct Probe {
    #[serde(rename = "statusCode")]
    status_code: Option<serde::de::IgnoredAny>,
}

/// The answer to a request. The error is a sentence about what the function said.
pub(crate) fn answer(said: Bytes, bounds: HeaderBounds) -> Result<Answer, String> {
    if said.is_empty() {
        return Ok(Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: said });
    }
    let is_object = said.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let told =
        is_object && serde_json::from_slice::<Probe>(&said).is_ok_and(|probe| probe.status_code.is_some());
    if !told {
        serde_json::from_slice::<serde::de::IgnoredAny>(&said)
            .map_err(|cause| format!("the function answered with something that is no JSON: {cause}"))?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
        return Ok(Answer { status: StatusCode::OK, headers, body: said });
    }
    let told: Told<'_> = serde_json::from_slice(&said)
        .map_err(|cause| format!("the function answered with what is no response: {cause}"))?;
    let (status, mut headers) = head(
        &told.status_code,
        [told.headers, told.multi_value_headers],
        &told.cookies.unwrap_or_default(),
        bounds,
    )?;
    let body = match told.body {
        None => Bytes::new(),
        Some(Content::Text(text)) if told.is_base64_encoded == Some(true) => BASE64
            .decode(text.as_bytes())
            .map_err(|cause| format!("the function answered with a body that is no base64: {cause}"))?
            .into(),
        Some(Content::Text(text)) => text.into_owned().into(),
        Some(Content::Other(Value::Null)) => Bytes::new(),
        Some(Content::Other(value)) => value.to_string().into(),
    };
    if !body.is_empty() {
        headers.entry(header::CONTENT_TYPE).or_insert(JSON);
    }
    Ok(Answer { status, headers, body })
}

/// Status and header fields, of an answer or of the prelude of a streamed one. A field's value may be an array.
pub(super) fn head(
    status: &Value,
    fields: [Option<Map<String, Value>>; 2],
    cookies: &[Value],
    bounds: HeaderBounds,
) -> Result<(StatusCode, HeaderMap), String> {
    let number = match status {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    let status = number
        .filter(|number| (200..600).contains(number))
        .and_then(|number| StatusCode::from_u16(number).ok())
        .ok_or_else(|| format!("the handler returned statusCode {status}, which is not within 200 to 599"))?;
    let mut list: Vec<(String, String)> = Vec::new();
    for (name, value) in fields.into_iter().flatten().flatten() {
        match value {
            Value::Array(values) => list.extend(values.iter().map(|value| (name.clone(), text(value)))),
            Value::Null => {}
            value => list.push((name, text(&value))),
        }
    }
    list.extend(cookies.iter().map(|cookie| ("set-cookie".to_owned(), text(cookie))));
    let list: Vec<(&str, &str)> = list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Ok((status, header_map(&list, bounds)?))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The events in an answer to an event: nothing, or CloudEvents. The error is a sentence about what the function said.
pub(crate) fn events(said: &[u8]) -> Result<Vec<Value>, String> {
    if said.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let value = serde_json::from_slice(said).map_err(|cause| {
        format!("the function answered the event with something that is no JSON: {cause}")
    })?;
    let mut events = Vec::new();
    collect(value, &mut events)?;
    Ok(events)
}

fn collect(value: Value, events: &mut Vec<Value>) -> Result<(), String> {
    match value {
        Value::Null => Ok(()),
        Value::Array(values) => values.into_iter().try_for_each(|value| collect(value, events)),
        // The second: of a batch, which of its events are to be tried again.
        value if value["type"].is_string() || value["batchItemFailures"].is_array() => {
            events.push(value);
            Ok(())
        }
        // Handlers that serve requests as well often answer everything alike.
        value => match value["statusCode"].as_u64() {
            Some(..400) => Ok(()),
            Some(status) => Err(format!("the handler answered the event with status {status}")),
            None => Err(format!(
                "the handler returned {}: an event is answered with nothing, or with CloudEvents (objects with a \"type\")",
                describe(&value)
            )),
        },
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "an empty object".to_owned(),
        Value::Object(members) => {
            let names: Vec<&str> = members.keys().map(String::as_str).take(5).collect();
            format!("an object with {} in it", names.join(", "))
        }
        other => other.to_string().chars().take(100).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeaderBounds = HeaderBounds { fields: 16, bytes: 1024 };

    fn said(text: &str) -> Result<Answer, String> {
        answer(Bytes::copy_from_slice(text.as_bytes()), BOUNDS)
    }

    #[test]
    fn json_without_a_status_is_the_body() {
        let told = said(" {\"a\": 1}").unwrap();
        assert_eq!((told.status.as_u16(), &*told.body), (200, &b" {\"a\": 1}"[..]));
        assert_eq!(told.headers["content-type"], "application/json");
        let message = said("hello").unwrap_err();
        assert!(message.starts_with("the function answered with something that is no JSON: "), "{message}");
        assert!(said("").unwrap().body.is_empty());
    }

    #[test]
    fn answers_have_status_headers_cookies_and_a_body() {
        let told = said(
            r#"{"statusCode":"201","headers":{"X-A":1,"x-b":null},"multiValueHeaders":{"x-c":["1","2"]},"cookies":["a=1"],"body":"aGk","isBase64Encoded":true}"#,
        )
        .unwrap();
        assert_eq!((told.status.as_u16(), &*told.body), (201, &b"hi"[..]));
        let all: Vec<_> =
            told.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            all,
            [
                ("x-a", "1"),
                ("x-c", "1"),
                ("x-c", "2"),
                ("set-cookie", "a=1"),
                ("content-type", "application/json")
            ]
        );
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for (text, words) in [
            (r#"{"statusCode":99}"#, "statusCode 99, which is not within 200 to 599"),
            (r#"{"statusCode":200,"headers":{"a b":"c"}}"#, "\"a b\" is not the name of a header field"),
            (
                r#"{"statusCode":200,"headers":{"a":"x\ny"}}"#,
                "header field a has a value that HTTP does not allow",
            ),
            (r#"{"statusCode":200,"body":"*","isBase64Encoded":true}"#, "no base64"),
        ] {
            let message = said(text).unwrap_err();
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn events_are_answered_with_nothing_or_events() {
        assert!(events(b"").unwrap().is_empty());
        assert!(events(b"null").unwrap().is_empty());
        assert!(events(br#"{"statusCode":204}"#).unwrap().is_empty());
        assert_eq!(events(br#"[{"type":"a"},[null,{"type":"b"}]]"#).unwrap().len(), 2);
        assert_eq!(
            events(br#"{"statusCode":500}"#).unwrap_err(),
            "the handler answered the event with status 500"
        );
        assert!(
            events(br#"{"a":1}"#).unwrap_err().starts_with("the handler returned an object with a in it: ")
        );
        assert!(events(b"7").unwrap_err().starts_with("the handler returned 7: "));
    }
}
