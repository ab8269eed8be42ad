//! EventBridge event patterns over a CloudEvent in JSON form: its attributes, and `data` where that is JSON
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>).
//!
//! **What it is:** [`Pattern::compile`] once, [`Pattern::passes`] for each event. A pattern is an object of fields; a field has
//! an array of alternatives, or a further object. All fields must match, and of each one alternative. An array in the
//! event matches when one of its elements does, an object pattern when one element matches all of it.
//!
//! **Where it differs from EventBridge:** numbers are compared by value (`300` is `3.0e2`); `exists` is about the member,
//! whatever its value; `$or` may have one alternative.
//!
//! **Bounds:** [`super::bounds`].

mod anchor;
mod compile;
mod matching;
mod operator;
mod test;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::budget::Budget;
use super::{Allowance, Decision, Filtered};
use crate::event::Event;
pub use anchor::{Anchor, Exact};
use test::Test;

/// A compiled pattern. As JSON it is what it was made of, and two are equal when that is.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Value,
    root: Object,
}

/// Why a value is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(.path))]
pub struct PatternError {
    /// Where the wrong clause is; empty is the pattern itself.
    pub path: Vec<Step>,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// One step into a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(usize),
}

/// A path as people write it: `data.total[0].numeric`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'p>(pub &'p [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn place(path: &[Step]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", Path(path)) }
}

/// Fields that must all match, and alternatives of which one must.
#[derive(Debug, Clone, Default)]
struct Object {
    fields: Vec<(String, Node)>,
    or: Vec<Self>,
}

#[derive(Debug, Clone)]
enum Node {
    /// One of these.
    Leaf(Vec<Test>),
    Object(Object),
}

impl Pattern {
    /// Checks a pattern and makes it ready.
    pub fn compile(source: Value) -> Result<Self, PatternError> {
        Ok(Self { root: compile::compile(&source)?, source })
    }

    /// What it was made of.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether it matches the event.
    pub fn passes(&self, event: &Event) -> bool {
        matching::passes(&self.root, event, &mut Budget::new())
    }

    /// The same with what is left of `allowance`.
    pub fn decide(&self, event: &Event, allowance: &mut Allowance) -> Decision {
        allowance.evaluate(|budget| matching::passes(&self.root, event, budget))
    }

    /// Why it does not match the event, or `None` when it does.
    pub fn explain(&self, event: &Event) -> Option<Filtered> {
        (!self.passes(event)).then(|| matching::explain(self, event))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::compile(Value::deserialize(from)?).map_err(D::Error::custom)
    }
}
