//! Pattern and event → whether it matches, and why not.

use serde_json::{Map, Value};

use super::test::{Scalar, Test};
use super::{Node, Object, Path, Pattern, Step};
use crate::event::{Attribute, Data, Event, SPEC_VERSION};
use crate::filter::budget::{Budget, Exhausted};
use crate::filter::{Cause, Filtered, Seen};

/// Something of the event that has fields.
#[derive(Clone, Copy)]
enum Fields<'e> {
    Event(&'e Event),
    Members(&'e Map<String, Value>),
    /// Not an object: it has none.
    None,
}

/// What a field has.
#[derive(Clone)]
pub(super) enum Found<'e> {
    Scalar(Scalar<'e>),
    Json(&'e Value),
}

pub(super) fn passes(root: &Object, event: &Event, budget: &mut Budget) -> bool {
    object(root, Fields::Event(event), budget) == Ok(true)
}

fn object(wanted: &Object, fields: Fields<'_>, budget: &mut Budget) -> Result<bool, Exhausted> {
    for (name, wanted) in &wanted.fields {
        if !node(wanted, fields.get(name), budget)? {
            return Ok(false);
        }
    }
    let mut matches = wanted.or.is_empty();
    for alternative in &wanted.or {
        matches = matches || object(alternative, fields, budget)?;
    }
    Ok(matches)
}

fn node(wanted: &Node, found: Option<Found<'_>>, budget: &mut Budget) -> Result<bool, Exhausted> {
    budget.charge(1)?;
    match wanted {
        Node::Leaf(tests) => {
            if tests.iter().any(|test| matches!(test, Test::Exists(wanted) if *wanted == found.is_some())) {
                return Ok(true);
            }
            match found {
                Some(Found::Scalar(scalar)) => any(tests, &scalar, budget),
                Some(Found::Json(value)) => leaves(tests, value, budget),
                None => Ok(false),
            }
        }
        Node::Object(wanted) => match found {
            Some(Found::Json(Value::Array(items))) if !items.is_empty() => {
                for item in items {
                    if node_of(wanted, item, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Some(Found::Json(value)) => node_of(wanted, value, budget),
            _ => object(wanted, Fields::None, budget),
        },
    }
}

/// An object pattern against a value that is in no array.
fn node_of(wanted: &Object, value: &Value, budget: &mut Budget) -> Result<bool, Exhausted> {
    budget.charge(1)?;
    object(wanted, value.as_object().map_or(Fields::None, Fields::Members), budget)
}

/// Alternatives against a value, or against each element of an array and of the arrays in it.
fn leaves(tests: &[Test], value: &Value, budget: &mut Budget) -> Result<bool, Exhausted> {
    budget.charge(1)?;
    if let Value::Array(items) = value {
        for item in items {
            if leaves(tests, item, budget)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    Scalar::of(value).map_or(Ok(false), |scalar| any(tests, &scalar, budget))
}

fn any(tests: &[Test], scalar: &Scalar<'_>, budget: &mut Budget) -> Result<bool, Exhausted> {
    for test in tests {
        if !matches!(test, Test::Exists(_)) && test.passes(scalar, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl<'e> Fields<'e> {
    fn get(self, name: &str) -> Option<Found<'e>> {
        match self {
            Self::Event(event) => of_event(event, name),
            Self::Members(members) => members.get(name).map(Found::Json),
            Self::None => None,
        }
    }
}

pub(super) fn of_event<'e>(event: &'e Event, name: &str) -> Option<Found<'e>> {
    let text = match name {
        "data" => {
            return match event.data()? {
                Data::Json(value) => Some(Found::Json(value)),
                Data::Text(_) | Data::Bytes(_) => None,
            };
        }
        "specversion" => SPEC_VERSION,
        "id" => event.id(),
        "source" => event.source(),
        "type" => event.ty(),
        "subject" => event.subject()?,
        "time" => event.time()?,
        "datacontenttype" => event.data_content_type()?,
        "dataschema" => event.data_schema()?,
        _ => {
            return Some(Found::Scalar(match event.extensions().get(name)? {
                Attribute::Boolean(value) => Scalar::Boolean(*value),
                Attribute::Integer(value) => Scalar::Number((*value).into()),
                Attribute::String(text) => Scalar::Text(text),
            }));
        }
    };
    Some(Found::Scalar(Scalar::Text(text)))
}

/// Says which field did not match; the event did not pass.
pub(super) fn explain(pattern: &Pattern, event: &Event) -> Filtered {
    let mut failure = Failure { path: Vec::new(), reason: "does not match", values: Vec::new() };
    if failure.find(&pattern.root, Fields::Event(event), &mut Budget::new()) == Err(Exhausted) {
        failure.reason = "takes more work than a filter may";
    }
    let wanted = failure.path.iter().try_fold(&pattern.source, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    });
    let wanted = wanted.map(|wanted| super::super::shortened(Value::String(wanted.to_string())));
    let wanted = wanted.as_ref().and_then(Value::as_str).unwrap_or_default();
    Filtered {
        cause: Cause::Pattern,
        clause: if failure.path.is_empty() {
            wanted.to_owned()
        } else {
            format!("{}: {wanted}", Path(&failure.path))
        },
        reason: failure.reason.to_owned(),
        values: failure.values,
    }
}

/// Where the first field is that does not match.
struct Failure {
    path: Vec<Step>,
    reason: &'static str,
    values: Vec<Seen>,
}

impl Failure {
    /// Whether there is one; `path` leads to it.
    fn find(&mut self, wanted: &Object, fields: Fields<'_>, budget: &mut Budget) -> Result<bool, Exhausted> {
        for (name, wanted) in &wanted.fields {
            let found = fields.get(name);
            if node(wanted, found.clone(), budget)? {
                continue;
            }
            self.path.push(Step::Key(name.clone()));
            if let (Node::Object(wanted), found) = (wanted, &found) {
                let inner = match found {
                    // Which element should have matched, nobody knows.
                    Some(Found::Json(Value::Array(items))) if !items.is_empty() => None,
                    Some(Found::Json(Value::Object(members))) => Some(Fields::Members(members)),
                    _ => Some(Fields::None),
                };
                if let Some(inner) = inner {
                    return self.find(wanted, inner, budget);
                }
            }
            self.saw(found);
            return Ok(true);
        }
        if wanted.or.is_empty() {
            return Ok(false);
        }
        let outer = self.path.clone();
        for alternative in &wanted.or {
            self.path.clone_from(&outer);
            self.find(alternative, fields, budget)?;
        }
        self.path = outer;
        self.path.push(Step::Key("$or".to_owned()));
        Ok(true)
    }

    fn saw(&mut self, found: Option<Found<'_>>) {
        let value = found.map(|found| match found {
            Found::Json(value) => value.clone(),
            Found::Scalar(Scalar::Null) => Value::Null,
            Found::Scalar(Scalar::Boolean(value)) => value.into(),
            Found::Scalar(Scalar::Number(number)) => number.into(),
            Found::Scalar(Scalar::Text(text)) => text.into(),
        });
        self.values.push(Seen::new(Path(&self.path).to_string(), value));
    }
}
