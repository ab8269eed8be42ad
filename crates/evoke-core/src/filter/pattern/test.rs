//! One alternative of a field, and the values it is tried on.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::egress::Cidr;
use crate::filter::budget::{Budget, Exhausted};
use crate::filter::wildcard::Wildcard;

/// What a value may be.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    Prefix(String),
    Suffix(String),
    /// In lower case.
    TextIgnoringCase(String),
    /// In lower case.
    PrefixIgnoringCase(String),
    /// In lower case.
    SuffixIgnoringCase(String),
    Wildcard(Wildcard),
    Numeric(Vec<(Comparison, Number)>),
    Cidr(Cidr),
    Exists(bool),
    /// None of these.
    AnythingBut(Vec<Self>),
}

/// How a number is to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// A value without parts.
#[derive(Debug, Clone)]
pub(super) enum Scalar<'e> {
    Null,
    Boolean(bool),
    Number(Number),
    Text(&'e str),
}

impl<'e> Scalar<'e> {
    /// `None` for an object or an array.
    pub fn of(value: &'e Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::String(text) => Some(Self::Text(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Test {
    /// Whether the value is so. [`Test::Exists`] is not about the value and was answered before.
    pub fn passes(&self, value: &Scalar<'_>, budget: &mut Budget) -> Result<bool, Exhausted> {
        budget.charge(1)?;
        Ok(match (self, value) {
            (Self::Exists(wanted), _) => *wanted,
            (Self::AnythingBut(tests), _) => {
                for test in tests {
                    if test.passes(value, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Null, Scalar::Null) => true,
            (Self::Boolean(wanted), Scalar::Boolean(value)) => wanted == value,
            (Self::Number(wanted), Scalar::Number(number)) => {
                compare(number, wanted) == Some(Ordering::Equal)
            }
            (Self::Numeric(bounds), Scalar::Number(number)) => bounds.iter().all(|(comparison, bound)| {
                compare(number, bound).is_some_and(|ordering| comparison.allows(ordering))
            }),
            (Self::Wildcard(wildcard), Scalar::Text(text)) => wildcard.matches(text, budget)?,
            (_, Scalar::Text(text)) => {
                budget.charge_text(text.len())?;
                self.passes_text(text)
            }
            _ => false,
        })
    }

    fn passes_text(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => text == wanted,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::TextIgnoringCase(wanted) => lower(text).eq(wanted.chars()),
            Self::PrefixIgnoringCase(prefix) => {
                let mut text = lower(text);
                prefix.chars().all(|c| text.next() == Some(c))
            }
            Self::SuffixIgnoringCase(suffix) => lower(text).collect::<String>().ends_with(suffix.as_str()),
            Self::Cidr(range) => text.parse().is_ok_and(|address| range.contains(address)),
            _ => false,
        }
    }
}

impl Comparison {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Greater => ordering.is_gt(),
        }
    }
}

/// By value: whole numbers exactly, others as doubles.
pub(super) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Character by character; what `equals-ignore-case` compares.
pub(super) fn lower(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}
