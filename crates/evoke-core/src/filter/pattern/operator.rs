//! The operators of an alternative: `{"prefix": "a"}`.

use serde_json::{Map, Number, Value};

use super::compile::{Place, exactly, type_name};
use super::test::{Comparison, Test, compare, lower};
use super::{PatternError, Step};
use crate::filter::bounds::WILDCARDS_MAX;
use crate::filter::wildcard::{Builder, Wildcard};
use crate::manifest::did_you_mean;

const OPERATORS: [&str; 8] =
    ["prefix", "suffix", "anything-but", "numeric", "exists", "equals-ignore-case", "wildcard", "cidr"];

/// Operators that `anything-but` can turn around.
const TURNED: [&str; 4] = ["prefix", "suffix", "equals-ignore-case", "wildcard"];

/// An alternative that is an object: one operator and its operand.
pub(super) fn read(members: &Map<String, Value>, at: &mut Place) -> Result<Test, PatternError> {
    let (name, operand) = only(members, &OPERATORS, at)?;
    at.inside(Step::Key(name.clone()), |at| match name.as_str() {
        "exists" => match operand {
            Value::Bool(wanted) => Ok(Test::Exists(*wanted)),
            other => Err(wrong("exists", "true or false", other, at)),
        },
        "numeric" => numeric(operand, at),
        "cidr" => match operand.as_str().map(str::parse) {
            Some(Ok(range)) => Ok(Test::Cidr(range)),
            Some(Err(error)) => Err(at.error(format!("cidr: {error}")).help(r#"such as "10.0.0.0/8""#)),
            None => Err(wrong("cidr", "a range of addresses such as \"10.0.0.0/8\"", operand, at)),
        },
        "anything-but" => anything_but(operand, at),
        _ => text(name, operand, at),
    })
}

/// The one operator of an object.
fn only<'m>(
    members: &'m Map<String, Value>,
    known: &[&'static str],
    at: &Place,
) -> Result<(&'m String, &'m Value), PatternError> {
    let mut entries = members.iter();
    let (Some(first), None) = (entries.next(), entries.next()) else {
        let message = format!("an alternative must have one operator, this has {}", members.len());
        return Err(at
            .error(message)
            .help("put several alternatives beside each other: one of them must match"));
    };
    if known.contains(&first.0.as_str()) {
        return Ok(first);
    }
    let error = at.error(format!("operator {:?} is not known here", first.0));
    Err(match did_you_mean(first.0, known.iter().copied()) {
        Some(help) => error.help(help),
        None => error,
    })
}

/// `prefix`, `suffix`, `equals-ignore-case` and `wildcard`.
fn text(name: &str, operand: &Value, at: &mut Place) -> Result<Test, PatternError> {
    if let (true, Value::Object(members)) = (matches!(name, "prefix" | "suffix"), operand) {
        let (inner, operand) = only(members, &["equals-ignore-case"], at)?;
        return at.inside(Step::Key(inner.clone()), |at| {
            let text = lower(string(inner, operand, at)?).collect();
            Ok(if name == "prefix" { Test::PrefixIgnoringCase(text) } else { Test::SuffixIgnoringCase(text) })
        });
    }
    let text = string(name, operand, at)?;
    Ok(match name {
        "prefix" => Test::Prefix(text.to_owned()),
        "suffix" => Test::Suffix(text.to_owned()),
        "wildcard" => Test::Wildcard(wildcard(text, at)?),
        _ => Test::TextIgnoringCase(lower(text).collect()),
    })
}

fn string<'v>(name: &str, operand: &'v Value, at: &Place) -> Result<&'v str, PatternError> {
    operand.as_str().ok_or_else(|| wrong(name, "a string", operand, at))
}

fn wrong(name: &str, wanted: &str, found: &Value, at: &Place) -> PatternError {
    at.error(format!("{name} must be {wanted}, not {}", type_name(found)))
}

/// `*` any characters; `\*` and `\\` themselves.
fn wildcard(text: &str, at: &Place) -> Result<Wildcard, PatternError> {
    let mut pattern = Builder::default();
    let mut gaps = 0;
    let mut after_gap = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' if after_gap => {
                return Err(at
                    .error(format!("wildcard {text:?} has two * beside each other"))
                    .help("one is enough"));
            }
            '*' => {
                gaps += 1;
                pattern.gap();
            }
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '\\')) => pattern.char(escaped),
                _ => {
                    let message = format!("wildcard {text:?} has a \\ before neither * nor \\");
                    return Err(at.error(message).help("write \\\\ for a backslash"));
                }
            },
            _ => pattern.char(c),
        }
        after_gap = c == '*';
    }
    if gaps > WILDCARDS_MAX {
        return Err(at.error(format!("wildcard {text:?} has {gaps} *, the limit is {WILDCARDS_MAX}")));
    }
    Ok(pattern.finish())
}

/// `[">", 0, "<=", 5]`: one comparison, or a lower and an upper bound.
fn numeric(operand: &Value, at: &Place) -> Result<Test, PatternError> {
    let help = r#"such as [">", 0] or [">", 0, "<=", 5]"#;
    let error = |message: String| at.error(message).help(help);
    let items = operand.as_array().ok_or_else(|| wrong("numeric", "an array", operand, at).help(help))?;
    let pairs: Vec<(Comparison, Number)> = items
        .chunks(2)
        .map(|pair| match pair {
            [Value::String(operator), Value::Number(number)] => {
                let comparison = comparison(operator)
                    .ok_or_else(|| error(format!("numeric: {operator:?} is none of < <= = >= >")))?;
                Ok((comparison, number.clone()))
            }
            _ => Err(error("numeric must have a comparison and a number, once or twice".to_owned())),
        })
        .collect::<Result<_, _>>()?;
    match &*pairs {
        [_] => {}
        [(low, from), (high, to)] if low.is_lower() && high.is_upper() => {
            let both_in = *low == Comparison::GreaterOrEqual && *high == Comparison::LessOrEqual;
            if !compare(from, to).is_some_and(|order| order.is_lt() || (order.is_eq() && both_in)) {
                return Err(error(format!("numeric: no number is between {from} and {to}")));
            }
        }
        [_, _] => return Err(error("numeric must have its lower bound first, then its upper".to_owned())),
        other => {
            return Err(error(format!("numeric has {} comparisons, it may have one or two", other.len())));
        }
    }
    Ok(Test::Numeric(pairs))
}

fn comparison(text: &str) -> Option<Comparison> {
    Some(match text {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        "=" => Comparison::Equal,
        ">=" => Comparison::GreaterOrEqual,
        ">" => Comparison::Greater,
        _ => return None,
    })
}

impl Comparison {
    fn is_lower(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    fn is_upper(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }
}

/// A value, an array of values, or one operator with a string or an array of strings.
fn anything_but(operand: &Value, at: &mut Place) -> Result<Test, PatternError> {
    let tests = match operand {
        Value::Object(members) => {
            let (name, operand) = only(members, &TURNED, at)?;
            at.inside(Step::Key(name.clone()), |at| match operand {
                Value::Array(items) => each(items, at, |item, at| text(name, item, at)),
                operand => text(name, operand, at).map(|test| vec![test]),
            })?
        }
        Value::Array(items) => each(items, at, |item, at| match item {
            Value::Object(_) | Value::Array(_) => {
                Err(wrong("anything-but", "of strings, numbers, booleans or null", item, at))
            }
            scalar => Ok(exactly(scalar)),
        })?,
        scalar => vec![exactly(scalar)],
    };
    Ok(Test::AnythingBut(tests))
}

fn each(
    items: &[Value],
    at: &mut Place,
    read: impl Fn(&Value, &mut Place) -> Result<Test, PatternError>,
) -> Result<Vec<Test>, PatternError> {
    if items.is_empty() {
        return Err(at
            .error("an empty array excludes nothing")
            .help("write exists = true to match any value"));
    }
    items.iter().enumerate().map(|(index, item)| at.inside(Step::Index(index), |at| read(item, at))).collect()
}
