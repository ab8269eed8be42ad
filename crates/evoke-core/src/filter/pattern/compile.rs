//! JSON → pattern: its shape. Operators are read in [`super::operator`].

use serde_json::{Map, Value};

use super::operator;
use super::test::Test;
use super::{Node, Object, PatternError, Step};
use crate::filter::bounds::{FILTER_BYTES_MAX, NESTING_MAX};

pub(super) fn compile(source: &Value) -> Result<Object, PatternError> {
    let mut at = Place::default();
    let bytes = source.to_string().len();
    if bytes > FILTER_BYTES_MAX {
        return Err(
            at.error(format!("the pattern has {bytes} bytes as JSON, the limit is {FILTER_BYTES_MAX}"))
        );
    }
    match source {
        Value::Object(members) => object(members, &mut at),
        other => Err(at
            .error(format!("a pattern must be an object, not {}", type_name(other)))
            .help(r#"such as {"data": {"total": [{"numeric": [">", 0]}]}}"#)),
    }
}

/// Where the reader is.
#[derive(Default)]
pub(super) struct Place {
    path: Vec<Step>,
    /// Steps that are inside an alternative of `$or`, whose fields are those around it.
    alternatives: usize,
}

impl Place {
    pub fn error(&self, message: impl Into<String>) -> PatternError {
        PatternError { path: self.path.clone(), message: message.into(), help: None }
    }

    /// Goes one step further for as long as `inside` reads.
    pub fn inside<T>(
        &mut self,
        step: Step,
        inside: impl FnOnce(&mut Self) -> Result<T, PatternError>,
    ) -> Result<T, PatternError> {
        self.path.push(step);
        if self.path.len() > NESTING_MAX {
            self.path.truncate(4);
            return Err(
                self.error(format!("the pattern is nested deeper than the limit of {NESTING_MAX} levels"))
            );
        }
        let read = inside(self)?;
        self.path.pop();
        Ok(read)
    }

    /// At the fields of the event itself, not within its data.
    fn is_top(&self) -> bool {
        self.path.len() == self.alternatives
    }
}

impl PatternError {
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

fn object(members: &Map<String, Value>, at: &mut Place) -> Result<Object, PatternError> {
    if members.is_empty() {
        return Err(at
            .error("an object of a pattern must have a field")
            .help("leave it out to match everything"));
    }
    let mut object = Object::default();
    for (key, value) in members {
        let is_top = at.is_top();
        at.inside(Step::Key(key.clone()), |at| {
            if key == "$or" {
                object.or = alternatives(value, at)?;
                return Ok(());
            }
            if is_top {
                top_level(key, value, at)?;
            }
            object.fields.push((key.clone(), node(value, at)?));
            Ok(())
        })?;
    }
    Ok(object)
}

/// Fields at the top are those of the event.
fn top_level(key: &str, value: &Value, at: &Place) -> Result<(), PatternError> {
    let is_name = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !is_name {
        let error = at.error(format!("{key:?} is neither an attribute nor data"));
        return Err(error.help(match key {
            "detail-type" => "the type of a CloudEvent is its attribute type".to_owned(),
            _ if key.eq_ignore_ascii_case("data") => "write data".to_owned(),
            _ => "attribute names have the characters a-z and 0-9".to_owned(),
        }));
    }
    if value.is_object() && key != "data" {
        let error = at.error(format!("attribute {key} has no parts, its pattern must be an array"));
        return Err(error.help(match key {
            "detail" => "what an event carries is its data".to_owned(),
            _ => format!(r#"such as "{key}": ["…"]; within the data write {{"data": {{"{key}": …}}}}"#),
        }));
    }
    Ok(())
}

fn alternatives(value: &Value, at: &mut Place) -> Result<Vec<Object>, PatternError> {
    let wrong = |at: &Place| {
        at.error("$or must be an array of objects")
            .help(r#"such as "$or": [{"type": ["a"]}, {"subject": ["b"]}]"#)
    };
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(|| wrong(at))?;
    // The step to `$or`, and the one to the alternative.
    let steps = if at.path.len() == at.alternatives + 1 { 2 } else { 0 };
    at.alternatives += steps;
    let read = items.iter().enumerate().map(|(index, item)| {
        at.inside(Step::Index(index), |at| match item {
            Value::Object(members) => object(members, at),
            _ => Err(wrong(at)),
        })
    });
    let objects = read.collect::<Result<_, _>>()?;
    at.alternatives -= steps;
    Ok(objects)
}

fn node(value: &Value, at: &mut Place) -> Result<Node, PatternError> {
    match value {
        Value::Object(members) => object(members, at).map(Node::Object),
        Value::Array(items) if items.is_empty() => Err(at
            .error("an array without alternatives matches nothing")
            .help("leave the field out to match everything")),
        Value::Array(items) => {
            let tests = items
                .iter()
                .enumerate()
                .map(|(index, item)| at.inside(Step::Index(index), |at| alternative(item, at)));
            tests.collect::<Result<_, _>>().map(Node::Leaf)
        }
        scalar => Err(at.error("must be an array of alternatives").help(format!("write [{scalar}]"))),
    }
}

fn alternative(value: &Value, at: &mut Place) -> Result<Test, PatternError> {
    match value {
        Value::Object(members) => operator::read(members, at),
        Value::Array(_) => {
            Err(at.error("an alternative cannot be an array").help("put its elements beside the others"))
        }
        scalar => Ok(exactly(scalar)),
    }
}

/// A value that is not an array or an object, as it is.
pub(super) fn exactly(scalar: &Value) -> Test {
    match scalar {
        Value::Bool(value) => Test::Boolean(*value),
        Value::Number(number) => Test::Number(number.clone()),
        Value::String(text) => Test::Text(text.clone()),
        _ => Test::Null,
    }
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
