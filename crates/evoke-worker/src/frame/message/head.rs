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

fn latin1(bytes: &[u8]) -> Cow<'_, str> {
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
const HOP_BY_HOP: [HeaderName; 6] = [
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
        let malformed = |message: String| FrameError::Malformed { kind, message };
        let (fields, limit) = (self.0.len(), bounds.fields);
        if fields > limit {
            return Err(malformed(format!("{fields} header fields are above the limit of {limit}")));
        }
        let bytes: usize = self.0.iter().map(|(name, value)| name.0.len() + value.0.len()).sum();
        if bytes > bounds.bytes {
            return Err(malformed(format!(
                "{bytes} bytes of header fields are above the limit of {}",
                bounds.bytes
            )));
        }
        let mut map = HeaderMap::with_capacity(fields);
        for (Text(name), Text(value)) in &self.0 {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| malformed(format!("{:?} is not the name of a header field", cut(name))))?;
            let value = from_latin1(value).ok_or_else(|| {
                malformed(format!("header field {name} has a value that HTTP does not allow"))
            })?;
            if !HOP_BY_HOP.contains(&name) {
                map.append(name, value);
            }
        }
        Ok(map)
    }
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
