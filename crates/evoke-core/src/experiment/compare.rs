//! Whether two answers are the same, and what differs.

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What of two answers has to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The status.
    pub status: bool,
    /// These header fields, by their lower-case names.
    pub headers: Vec<String>,
    /// The body.
    pub body: Bodies,
    /// Members of a JSON body that may differ: pointers (RFC 6901), in which `*` is any member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

/// How bodies are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bodies {
    /// As JSON values where both are JSON, else byte by byte.
    Auto,
    /// Byte by byte.
    Bytes,
    /// Not at all.
    Ignore,
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            status: true,
            headers: vec!["content-type".to_owned()],
            body: Bodies::Auto,
            ignore: Vec::new(),
        }
    }
}

impl Compare {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An answer, as far as it is compared.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body; `None` when it was longer than is kept.
    pub body: Option<bytes::Bytes>,
}

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `status`, `header content-type`, `body`, or `body /items/0/price`.
    pub what: String,
    /// What the client was answered, cut at [`SHOWN_CHARS`].
    pub answered: String,
    /// What the variant answered to the copy, cut.
    pub shadow: String,
}

/// What came of comparing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// What differs, at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// Bodies were too long to be compared; the rest was.
    pub is_cut: bool,
}

/// Characters of a value that are shown.
pub const SHOWN_CHARS: usize = 120;
/// Differences of one pair of answers that are told.
pub const DIFFERENCES_MAX: usize = 5;
/// Levels of a JSON value that are gone into; what lies deeper is compared as a whole.
const DEPTH_MAX: usize = 64;

/// Compares what a client was answered with what a variant answered to the copy.
pub fn compare(rule: &Compare, answered: &Answer, shadow: &Answer) -> Compared {
    let mut found = Found(Vec::new());
    if rule.status && answered.status != shadow.status {
        found.add("status".to_owned(), answered.status.as_str(), shadow.status.as_str());
    }
    for name in &rule.headers {
        let values = |headers: &HeaderMap| {
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            values.collect::<Vec<_>>().join(", ")
        };
        let (one, other) = (values(&answered.headers), values(&shadow.headers));
        if one != other {
            found.add(format!("header {name}"), &one, &other);
        }
    }
    if rule.body == Bodies::Ignore {
        return Compared { differences: found.0, is_cut: false };
    }
    let (Some(one), Some(other)) = (&answered.body, &shadow.body) else {
        return Compared { differences: found.0, is_cut: true };
    };
    if one != other {
        let json = |answer: &Answer, body: &[u8]| {
            let parsed = || serde_json::from_slice::<Value>(body).ok();
            (rule.body == Bodies::Auto && is_json(&answer.headers)).then(parsed).flatten()
        };
        match (json(answered, one), json(shadow, other)) {
            (Some(one), Some(other)) => {
                let ignored: Vec<Vec<&str>> = rule.ignore.iter().map(|pointer| segments(pointer)).collect();
                values(&mut found, &ignored, &mut Vec::new(), &one, &other);
            }
            _ => found.add("body".to_owned(), &String::from_utf8_lossy(one), &String::from_utf8_lossy(other)),
        }
    }
    Compared { differences: found.0, is_cut: false }
}

/// `application/json`, `application/problem+json` and the like.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn segments(pointer: &str) -> Vec<&str> {
    pointer.split('/').skip(1).collect()
}

/// Goes into both as long as they have the same form.
fn values(found: &mut Found, ignored: &[Vec<&str>], at: &mut Vec<String>, one: &Value, other: &Value) {
    if is_ignored(ignored, at) || one == other || found.0.len() >= DIFFERENCES_MAX {
        return;
    }
    let absent = Value::Null;
    match (one, other) {
        (Value::Object(a), Value::Object(b)) if at.len() < DEPTH_MAX => {
            let more = b.keys().filter(|name| !a.contains_key(*name));
            for name in a.keys().chain(more) {
                at.push(name.replace('~', "~0").replace('/', "~1"));
                match (a.get(name), b.get(name)) {
                    // Told apart from a member that is null.
                    (Some(Value::Null), None) | (None, Some(Value::Null)) if !is_ignored(ignored, at) => {
                        found.values(at, a.get(name), b.get(name));
                    }
                    (one, other) => {
                        values(found, ignored, at, one.unwrap_or(&absent), other.unwrap_or(&absent));
                    }
                }
                at.pop();
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() && at.len() < DEPTH_MAX => {
            for (number, (one, other)) in a.iter().zip(b).enumerate() {
                at.push(number.to_string());
                values(found, ignored, at, one, other);
                at.pop();
            }
        }
        // A number is the same however it is written.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() && a.is_f64() != b.is_f64() => {}
        _ => found.values(at, Some(one), Some(other)),
    }
}

fn is_ignored(ignored: &[Vec<&str>], at: &[String]) -> bool {
    ignored.iter().any(|pattern| {
        pattern.len() == at.len() && pattern.iter().zip(at).all(|(part, name)| *part == "*" || part == name)
    })
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, what: String, answered: &str, shadow: &str) {
        if self.0.len() < DIFFERENCES_MAX {
            self.0.push(Difference { what, answered: cut(answered), shadow: cut(shadow) });
        }
    }

    fn values(&mut self, at: &[String], one: Option<&Value>, other: Option<&Value>) {
        let text = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
        let what = if at.is_empty() { "body".to_owned() } else { format!("body /{}", at.join("/")) };
        self.add(what, &text(one), &text(other));
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
