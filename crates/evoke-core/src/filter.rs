//! Which events a subscription takes, beyond their type: an expression over attributes ([`cesql`]), and a pattern over
//! attributes and data ([`pattern`]).
//!
//! Both are compiled once, when the manifest is read, and are pure functions of the event; both can say afterwards why an
//! event did not pass ([`Filtered`]).

pub mod bounds;
mod budget;
pub mod cesql;
pub mod pattern;
mod wildcard;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why an event did not pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filtered {
    /// Which filter.
    pub cause: Cause,
    /// The part of it that decided: of an expression its text, of a pattern a path and what is wanted there.
    pub clause: String,
    /// What the matter is, as the rest of a sentence that the clause begins.
    pub reason: String,
    /// What the clause asked for, and what the event has.
    pub values: Vec<Seen>,
}

/// Which filter an event did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The expression of `where`.
    Where,
    /// The `pattern`.
    Pattern,
}

/// A value that a filter saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// An attribute, or a path into the data.
    pub name: String,
    /// What the event has there; `None` when nothing. A long one is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// Characters of a value that are kept.
const SEEN_CHARS_MAX: usize = 200;

impl Seen {
    fn new(name: impl Into<String>, value: Option<Value>) -> Self {
        Self { name: name.into(), value: value.map(shortened) }
    }
}

/// A text is cut; an object or array becomes its text first.
fn shortened(value: Value) -> Value {
    let text = match value {
        Value::String(text) => text,
        Value::Object(_) | Value::Array(_) => value.to_string(),
        _ => return value,
    };
    match text.char_indices().nth(SEEN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}
