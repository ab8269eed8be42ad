//! The head of a streamed answer: JSON with status and header fields, eight NUL bytes, then the body.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::head;
use crate::frame::message::HeaderBounds;

/// The type of a streamed answer that begins with a prelude.
const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
const DELIMITER: [u8; 8] = [0; 8];
/// JSON takes so much more than the header fields in it.
const BYTES_PER_HEADER_BYTE: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default = "ok")]
    status_code: Value,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<Value>>,
}

fn ok() -> Value {
    200.into()
}

/// A prelude on its way in.
#[derive(Debug)]
pub(crate) struct Prelude {
    read: BytesMut,
    bounds: HeaderBounds,
}

/// A prelude, and the begin of the body behind it.
#[derive(Debug)]
pub(crate) struct Split {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub rest: Bytes,
}

impl Prelude {
    /// Whether an answer of this type begins with one.
    pub(crate) fn is_announced(content_type: &str) -> bool {
        content_type.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(WITH_PRELUDE))
    }

    pub(crate) fn new(bounds: HeaderBounds) -> Self {
        Self { read: BytesMut::new(), bounds }
    }

    /// Takes a part of the answer; `None` while the prelude is not whole. The error is a sentence.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Result<Option<Split>, String> {
        // The delimiter may lie across two parts.
        let seen = self.read.len().saturating_sub(DELIMITER.len() - 1);
        self.read.extend_from_slice(chunk);
        let found = self.read[seen..].windows(DELIMITER.len()).position(|part| part == DELIMITER);
        let Some(at) = found.map(|at| seen + at) else {
            let limit = self.bounds.bytes * BYTES_PER_HEADER_BYTE;
            if self.read.len() > limit {
                return Err(format!(
                    "the prelude of the streamed answer is longer than the limit of {limit} bytes"
                ));
            }
            return Ok(None);
        };
        let mut read = std::mem::take(&mut self.read);
        let rest = read.split_off(at + DELIMITER.len()).freeze();
        read.truncate(at);
        let no_object = |cause| format!("the prelude of the streamed answer is no JSON object: {cause}");
        // An array would do for a struct, if it was asked for at once.
        let members: Map<String, Value> = serde_json::from_slice(&read).map_err(no_object)?;
        let told: Told = serde_json::from_value(Value::Object(members)).map_err(no_object)?;
        let (status, headers) = head(
            &told.status_code,
            [told.headers, told.multi_value_headers],
            &told.cookies.unwrap_or_default(),
            self.bounds,
        )?;
        Ok(Some(Split { status, headers, rest }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeaderBounds = HeaderBounds { fields: 16, bytes: 1024 };

    #[test]
    fn preludes_end_at_eight_zeroes_wherever_they_are_cut() {
        let text =
            b"{\"statusCode\":201,\"headers\":{\"a\":\"b\"},\"cookies\":[\"c=1\"]}\0\0\0\0\0\0\0\0body";
        for cut in 0..text.len() {
            let mut prelude = Prelude::new(BOUNDS);
            let (first, second) = text.split_at(cut);
            let mut rest = Vec::new();
            let split = match prelude.take(first).unwrap() {
                Some(split) => {
                    rest.extend_from_slice(&split.rest);
                    rest.extend_from_slice(second);
                    split
                }
                None => {
                    let split = prelude.take(second).unwrap().unwrap();
                    rest.extend_from_slice(&split.rest);
                    split
                }
            };
            assert_eq!((split.status.as_u16(), &rest[..]), (201, &b"body"[..]), "cut at {cut}");
            assert_eq!(
                (&split.headers["a"], &split.headers["set-cookie"]),
                (&"b".parse().unwrap(), &"c=1".parse().unwrap())
            );
        }
    }

    #[test]
    fn an_endless_prelude_is_refused() {
        let mut prelude = Prelude::new(BOUNDS);
        let refused = (0..100).find_map(|_| prelude.take(&[b' '; 1000]).err()).unwrap();
        assert!(refused.contains("longer than the limit of 8192 bytes"), "{refused}");
    }
}
