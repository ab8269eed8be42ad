//! The HTTP binding (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).
//!
//! `Content-Type` tells the three modes apart: `application/cloudevents-batch+json` is batched,
//! `application/cloudevents+json` structured, and anything else binary, where the attributes are `ce-` header fields
//! and the body is the data. Of the event formats only JSON is understood.

mod binary;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{Event, EventError, json, media};

pub use binary::encode_binary;

/// How events travel in an HTTP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One event: attributes in header fields, data as the body.
    Binary,
    /// One event as the body.
    Structured,
    /// Any number of events as the body.
    Batched,
}

/// The events of an HTTP message.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// How they came.
    pub mode: Mode,
    /// The events, in order; exactly one unless the mode is [`Mode::Batched`].
    pub events: Vec<Event>,
}

/// Reads the events of a request or response, at most `max_events`, and checks each. The body is not copied where
/// an event can keep it as it is.
pub fn decode(headers: &HeaderMap, body: Bytes, max_events: usize) -> Result<Incoming, EventError> {
    let content_type = content_type(headers)?;
    let mode = mode(content_type)?;
    let events = match mode {
        Mode::Binary => vec![binary::decode(headers, content_type, body)?],
        Mode::Structured => vec![json::parse(&body)?],
        Mode::Batched => json::parse_batch(&body, max_events)?,
    };
    Ok(Incoming { mode, events })
}

/// Header fields and body of a message in structured mode.
pub fn encode_structured(event: &Event) -> (HeaderMap, Bytes) {
    (only_content_type(json::MEDIA_TYPE), json::to_vec(event).into())
}

/// Header fields and body of a message in batched mode.
pub fn encode_batch(events: &[Event]) -> (HeaderMap, Bytes) {
    (only_content_type(json::BATCH_MEDIA_TYPE), json::batch_to_vec(events).into())
}

fn only_content_type(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, EventError> {
    match headers.get(CONTENT_TYPE).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(EventError::new("header content-type has characters outside printable ASCII")),
    }
}

fn mode(content_type: Option<&str>) -> Result<Mode, EventError> {
    const PREFIX: &str = "application/cloudevents";
    let Some(content_type) = content_type else { return Ok(Mode::Binary) };
    let (essence, _) = media::split(content_type);
    if !essence.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        return Ok(Mode::Binary);
    }
    if media::has_foreign_charset(content_type) {
        return Err(EventError::new(format!(
            "content type {content_type}: events in JSON format must be UTF-8"
        )));
    }
    if essence.eq_ignore_ascii_case(json::MEDIA_TYPE) {
        Ok(Mode::Structured)
    } else if essence.eq_ignore_ascii_case(json::BATCH_MEDIA_TYPE) {
        Ok(Mode::Batched)
    } else {
        let known = [json::MEDIA_TYPE, json::BATCH_MEDIA_TYPE].join(" and ");
        Err(EventError::new(format!("content type {essence} is not understood; {known} are")))
    }
}
