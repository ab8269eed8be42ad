//! Header fields: checked, and as `[["name", "value"], …]`, where each character of a value is one byte.

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
pub static HOP_BY_HOP: [HeaderName; 6] = [
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
        let fields = self.0.iter().map(|(name, value)| (&*name.0, &*value.0));
        map_of(fields, bounds).map_err(|message| FrameError::Malformed { kind, message })
    }
}

/// Header fields of a function's answer, without those that belong to a connection. The error says which rule they break.
pub fn header_map(fields: &[(&str, &str)], bounds: HeaderBounds) -> Result<HeaderMap, String> {
    map_of(fields.iter().copied(), bounds)
}

fn map_of<'a>(
    fields: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    bounds: HeaderBounds,
) -> Result<HeaderMap, String> {
    let mut map = Fields::new(fields.len(), bounds)?;
    for (name, value) in fields {
        map.add(name.as_bytes(), value.len(), || from_latin1(value))?;
    }
    Ok(map.map())
}

/// Header fields that are being checked, whatever form they came in.
#[derive(Debug)]
pub(in crate::frame) struct Fields {
    map: HeaderMap,
    count: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Fields {
    /// So many, within these bounds. The errors say which rule is broken.
    pub fn new(count: usize, bounds: HeaderBounds) -> Result<Self, String> {
        let limit = bounds.fields;
        if count > limit {
            return Err(format!("{count} header fields are above the limit of {limit}"));
        }
        Ok(Self { map: HeaderMap::with_capacity(count), count, bytes: 0, bytes_max: bounds.bytes })
    }

    /// How many there are going to be.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One whose value has `value_bytes`; `value` is nothing where HTTP does not allow it. Those that belong to a connection are dropped.
    pub fn add(
        &mut self,
        name: &[u8],
        value_bytes: usize,
        value: impl FnOnce() -> Option<HeaderValue>,
    ) -> Result<(), String> {
        self.bytes += name.len() + value_bytes;
        if self.bytes > self.bytes_max {
            let (bytes, limit) = (self.bytes, self.bytes_max);
            return Err(format!("{bytes} bytes of header fields are above the limit of {limit}"));
        }
        let name = HeaderName::from_bytes(name).map_err(|_| {
            format!("{:?} is not the name of a header field", cut(&String::from_utf8_lossy(name)))
        })?;
        let value =
            value().ok_or_else(|| format!("header field {name} has a value that HTTP does not allow"))?;
        if !HOP_BY_HOP.contains(&name) {
            self.map.append(name, value);
        }
        Ok(())
    }

    /// All of them.
    pub fn map(self) -> HeaderMap {
        self.map
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
