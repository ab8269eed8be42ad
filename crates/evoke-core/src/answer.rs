//! The answer to a call that nobody waited for, as far as it is kept; and bodies as a part of JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Header fields that say what a body is. Others are not kept.
pub const DESCRIBING: [&str; 7] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "etag",
    "last-modified",
    "location",
];

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Those of its header fields that are among [`DESCRIBING`]; values are bytes-as-latin1 text.
    pub headers: Vec<(String, String)>,
    /// How many bytes its body had.
    pub bytes: u64,
    /// The body, or its beginning where that is longer than what is kept.
    pub body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    bytes: u64,
}

impl Answer {
    /// Whether only the beginning of its body is there.
    pub fn is_truncated(&self) -> bool {
        (self.body.len() as u64) < self.bytes
    }

    /// Its media type, as it was declared.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())
    }

    /// As it is stored: a JSON head, a line feed, the body.
    pub fn encode(&self) -> Bytes {
        let Self { status, headers, bytes, body } = self;
        let head = Head { status: *status, headers: headers.clone(), bytes: *bytes };
        let mut all = serde_json::to_vec(&head).expect("texts and numbers have a JSON form");
        all.push(b'\n');
        all.extend_from_slice(body);
        all.into()
    }

    /// Reads what [`Answer::encode`] wrote.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        let Head { status, headers, bytes: all } = head;
        Some(Self { status, headers, bytes: all, body: bytes.slice(end + 1..) })
    }
}

/// A body as members of a JSON object: `content_type` and `bytes`; `body`, a JSON value if it is one and was declared as one, else
/// text; or `body_base64`. Of one that is longer than `most` bytes, or not all there, the beginning as text or base64, and
/// `truncated`.
pub fn members(content_type: Option<&str>, body: &[u8], bytes: u64, most: usize) -> Map<String, Value> {
    let mut members = Map::new();
    if let Some(content_type) = content_type {
        members.insert("content_type".to_owned(), content_type.into());
    }
    members.insert("bytes".to_owned(), bytes.into());
    let part = &body[..body.len().min(most)];
    let truncated = (part.len() as u64) < bytes;
    if truncated {
        members.insert("truncated".to_owned(), true.into());
    } else if content_type.is_some_and(is_json)
        && let Ok(value) = serde_json::from_slice::<Value>(part)
    {
        members.insert("body".to_owned(), value);
        return members;
    }
    match text(part, truncated) {
        Some("") => {}
        Some(text) => drop(members.insert("body".to_owned(), text.into())),
        None => drop(members.insert("body_base64".to_owned(), base64(part).into())),
    }
    members
}

/// The text it is; of a part, without a last character that was cut.
fn text(part: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(part) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&part[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(content_type: &str, body: &[u8], bytes: u64, most: usize) -> Value {
        Value::Object(members(Some(content_type), body, bytes, most))
    }

    #[test]
    fn an_answer_is_the_same_after_it_was_written_and_read() {
        let answer = Answer {
            status: 201,
            headers: vec![("content-type".to_owned(), "a/b".to_owned())],
            bytes: 9,
            body: Bytes::from_static(b"a\nb\xff"),
        };
        assert_eq!(Answer::decode(&answer.encode()), Some(answer.clone()));
        assert!(answer.is_truncated());
        assert_eq!(Answer::decode(&Bytes::from_static(b"{}")), None);
    }

    #[test]
    fn a_body_is_json_if_it_is_declared_so_else_text_else_base64() {
        assert_eq!(
            shown("application/json; charset=utf-8", b"{\"a\":1}", 7, 100),
            json!({ "content_type": "application/json; charset=utf-8", "bytes": 7, "body": { "a": 1 } })
        );
        let text = |ty, body: &[u8]| shown(ty, body, body.len() as u64, 100)["body"].clone();
        assert_eq!(text("application/problem+json", b"[1]"), json!([1]));
        assert_eq!(text("application/json", b"{"), json!("{"));
        assert_eq!(text("text/plain", b"{}"), json!("{}"));
        assert_eq!(shown("a/b", b"\xff\x00", 2, 100)["body_base64"], "/wA=");
        assert_eq!(Value::Object(members(None, b"", 0, 100)), json!({ "bytes": 0 }));
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "[\"ä\"]".as_bytes();
        assert_eq!(
            shown("application/json", long, 6, 3),
            json!({ "content_type": "application/json", "bytes": 6, "truncated": true, "body": "[\"" })
        );
        assert_eq!(shown("text/plain", b"abc", 9, 100)["truncated"], true, "the rest was not kept before");
        assert_eq!(shown("a/b", b"\xff\xff\xff", 3, 2)["body_base64"], "//8=");
    }
}
