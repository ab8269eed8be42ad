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

pub use budget::Allowance;

/// What came of trying a filter on an event with what was left of an [`Allowance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The event passed.
    Takes,
    /// It did not.
    Leaves,
    /// Nobody knows: there was too little left to find out.
    Open,
}

impl Decision {
    /// Of two filters of which the event has to pass both; the second is tried only where it matters.
    #[must_use]
    pub fn and(self, second: impl FnOnce() -> Self) -> Self {
        match (self, second) {
            (Self::Leaves, _) => Self::Leaves,
            (Self::Takes, second) => second(),
            (Self::Open, second) => match second() {
                Self::Leaves => Self::Leaves,
                Self::Takes | Self::Open => Self::Open,
            },
        }
    }
}

/// Tries what there is of an expression and a pattern.
pub(crate) fn decide(
    filter: Option<&cesql::Expression>,
    pattern: Option<&pattern::Pattern>,
    event: &crate::event::Event,
    allowance: &mut Allowance,
) -> Decision {
    let filtered = filter.map_or(Decision::Takes, |filter| filter.decide(event, allowance));
    filtered.and(|| pattern.map_or(Decision::Takes, |pattern| pattern.decide(event, allowance)))
}

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
