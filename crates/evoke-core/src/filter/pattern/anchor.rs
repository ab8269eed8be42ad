//! The one clause of a pattern that names exact values: what many patterns can be looked up by, instead of trying each.

use serde_json::{Number, Value};

use super::matching::{Found, of_event};
use super::test::{Scalar, Test};
use super::{Node, Object, Pattern};
use crate::event::Event;

/// A field that must have one of a few values. Whatever matches the pattern has one of them there; not everything that
/// has one matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Where: an attribute, or `data` and the members below it.
    pub path: Vec<String>,
    /// What may be there.
    pub values: Vec<Exact>,
}

/// A value to look up by. Equal values have equal ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exact {
    /// `null`.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A number: the bits of the double nearest to it.
    Number(u64),
    /// A text.
    Text(String),
}

impl Exact {
    fn number(number: &Number) -> Option<Self> {
        // Both zeros are equal.
        number.as_f64().map(|value| Self::Number(if value == 0.0 { 0 } else { value.to_bits() }))
    }

    fn of(scalar: &Scalar<'_>) -> Option<Self> {
        Some(match scalar {
            Scalar::Null => Self::Null,
            Scalar::Boolean(value) => Self::Boolean(*value),
            Scalar::Number(number) => return Self::number(number),
            Scalar::Text(text) => Self::Text((*text).to_owned()),
        })
    }

    fn wanted(test: &Test) -> Option<Self> {
        match test {
            Test::Null => Some(Self::Null),
            Test::Boolean(value) => Some(Self::Boolean(*value)),
            Test::Number(number) => Self::number(number),
            Test::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    /// What an event has at `path`, each element where there are arrays.
    pub fn values_at(event: &Event, path: &[String]) -> Vec<Self> {
        let mut found = Vec::new();
        let Some((first, rest)) = path.split_first() else { return found };
        match of_event(event, first) {
            Some(Found::Scalar(scalar)) if rest.is_empty() => found.extend(Self::of(&scalar)),
            Some(Found::Json(value)) => collect(value, rest, &mut found),
            Some(Found::Scalar(_)) | None => {}
        }
        found
    }
}

impl Pattern {
    /// Its anchor, if it has one: a text or a number rather than `true`, `false` or `null`, which many share.
    pub fn anchor(&self) -> Option<Anchor> {
        let mut found = Vec::new();
        anchors(&self.root, &mut Vec::new(), &mut found);
        let selective = |anchor: &Anchor| {
            anchor.values.iter().all(|value| matches!(value, Exact::Text(_) | Exact::Number(_)))
        };
        let best = found.iter().position(selective).unwrap_or(0);
        (best < found.len()).then(|| found.swap_remove(best))
    }
}

/// Alternatives of `$or` name nothing that must be so.
fn anchors(object: &Object, path: &mut Vec<String>, found: &mut Vec<Anchor>) {
    for (name, node) in &object.fields {
        path.push(name.clone());
        match node {
            Node::Leaf(tests) => {
                if let Some(values) = tests.iter().map(Exact::wanted).collect() {
                    found.push(Anchor { path: path.clone(), values });
                }
            }
            Node::Object(inner) => anchors(inner, path, found),
        }
        path.pop();
    }
}

fn collect(value: &Value, rest: &[String], found: &mut Vec<Exact>) {
    match (value, rest.split_first()) {
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, rest, found)),
        (Value::Object(members), Some((name, rest))) => {
            if let Some(value) = members.get(name) {
                collect(value, rest, found);
            }
        }
        (value, None) => found.extend(Scalar::of(value).as_ref().and_then(Exact::of)),
        _ => {}
    }
}
