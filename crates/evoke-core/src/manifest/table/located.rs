//! A TOML value as JSON, with the place of each of its parts.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use crate::filter::pattern::Step;

/// A value without a fixed form, and where its parts stand.
#[derive(Debug, Clone)]
pub struct Located {
    /// The value.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// The place of a value and of what is in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Of the value; of a member its key.
    pub span: Range<usize>,
    members: BTreeMap<String, Self>,
    items: Vec<Self>,
}

impl Place {
    /// Of a value whose parts have no places.
    pub fn whole(span: Range<usize>) -> Self {
        Self { span, members: BTreeMap::new(), items: Vec::new() }
    }

    /// Where the path leads; as far as it leads anywhere.
    pub fn find(&self, path: &[Step]) -> Range<usize> {
        let Some((step, rest)) = path.split_first() else { return self.span.clone() };
        let next = match step {
            Step::Key(key) => self.members.get(key),
            Step::Index(index) => self.items.get(*index),
        };
        next.map_or_else(|| self.span.clone(), |next| next.find(rest))
    }
}

/// The value as JSON, or the place and the name of what JSON has not.
pub(super) fn locate(value: &Spanned<DeValue<'_>>) -> Result<Located, (Range<usize>, &'static str)> {
    let mut place = Place::whole(value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| (value.span(), "a number beyond 64 bits"))?,
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| (value.span(), "a number that JSON does not have"))?,
        DeValue::Datetime(_) => return Err((value.span(), "a date, which JSON has as a string")),
        DeValue::Array(items) => {
            let mut values = Vec::with_capacity(items.len());
            for item in items.iter() {
                let item = locate(item)?;
                values.push(item.value);
                place.items.push(item.place);
            }
            Value::Array(values)
        }
        DeValue::Table(members) => {
            let mut values = serde_json::Map::new();
            for (key, value) in members {
                let mut member = locate(value)?;
                member.place.span = key.span();
                values.insert(key.get_ref().to_string(), member.value);
                place.members.insert(key.get_ref().to_string(), member.place);
            }
            Value::Object(values)
        }
    };
    Ok(Located { value, place })
}
