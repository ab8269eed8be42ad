//! Header fields as `[["name", "value"], …]`, where each character of a value is one byte.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use crate::frame::{FrameError, Kind};

/// Header fields on their way to a worker.
#[derive(Debug, Clone, Copy)]
pub struct HeadersOut<'a>(pub &'a HeaderMap);

impl Serialize for HeadersOut<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0 {
            list.serialize_element(&(name.as_str(), latin1(value.as_bytes())))?;
        }
        list.end()
    }
}

/// A value as text: each byte is one character.
pub fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// Header fields as a worker gave them.
#[derive(Debug, Default, Deserialize)]
pub struct Headers<'a>(#[serde(borrow)] Vec<(Text<'a>, Text<'a>)>);

/// A string that is borrowed when it has no escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// How many header fields a worker may give, and how large.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBounds {
    /// Fields.
    pub fields: usize,
    /// Bytes of names and values.
    pub bytes: usize,
}

/// What is said about one connection only, never about the message; the host's listener says its own.
pub const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
];

impl Headers<'_> {
    /// Checks them, and drops those that belong to a connection.
    pub fn check(&self, kind: Kind, bounds: HeaderBounds) -> Result<HeaderMap, FrameError> {
        let fields: Vec<(&str, &str)> = self.0.iter().map(|(name, value)| (&*name.0, &*value.0)).collect();
        header_map(&fields, bounds).map_err(|message| FrameError::Malformed { kind, message })
    }
}

/// Header fields of a function's answer, without those that belong to a connection. The error says which rule they break.
pub fn header_map(fields: &[(&str, &str)], bounds: HeaderBounds) -> Result<HeaderMap, String> {
    let (count, limit) = (fields.len(), bounds.fields);
    if count > limit {
        return Err(format!("{count} header fields are above the limit of {limit}"));
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > bounds.bytes {
        return Err(format!("{bytes} bytes of header fields are above the limit of {}", bounds.bytes));
    }
    let mut map = HeaderMap::with_capacity(count);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{:?} is not the name of a header field", cut(name)))?;
        let value = from_latin1(value)
            .ok_or_else(|| format!("header field {name} has a value that HTTP does not allow"))?;
        if !HOP_BY_HOP.contains(&name) {
            map.append(name, value);
        }
    }
    Ok(map)
}

fn from_latin1(text: &str) -> Option<HeaderValue> {
    if text.is_ascii() {
        return HeaderValue::from_str(text).ok();
    }
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<_>>()?;
    HeaderValue::from_bytes(&bytes).ok()
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
