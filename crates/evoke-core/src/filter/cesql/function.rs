//! The built-in functions (section 3.5): how they are found, and what they do with values of the right types.

use std::borrow::Cow;

use super::error::ErrorKind;
use super::value::{Type, Value};

/// A function with a given number of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    SubstringFrom,
    Substring,
    Abs,
    Int,
    Bool,
    String,
    IsInt,
    IsBool,
}

/// Names, with the fewest and the most arguments.
const TABLE: [(&str, usize, usize, Function); 16] = [
    ("LENGTH", 1, 1, Function::Length),
    ("CONCAT", 0, usize::MAX, Function::Concat),
    ("CONCAT_WS", 1, usize::MAX, Function::ConcatWs),
    ("LOWER", 1, 1, Function::Lower),
    ("UPPER", 1, 1, Function::Upper),
    ("TRIM", 1, 1, Function::Trim),
    ("LEFT", 2, 2, Function::Left),
    ("RIGHT", 2, 2, Function::Right),
    ("SUBSTRING", 2, 2, Function::SubstringFrom),
    ("SUBSTRING", 3, 3, Function::Substring),
    ("ABS", 1, 1, Function::Abs),
    ("INT", 1, 1, Function::Int),
    ("BOOL", 1, 1, Function::Bool),
    ("STRING", 1, 1, Function::String),
    ("IS_INT", 1, 1, Function::IsInt),
    ("IS_BOOL", 1, 1, Function::IsBool),
];

/// A value together with an error, where the function has one of its own.
pub(super) type Answer<'v> = Result<Value<'v>, (Value<'v>, ErrorKind, &'static str)>;

impl Function {
    /// The function of that name, in any case, with so many arguments.
    pub fn find(name: &str, arguments: usize) -> Option<Self> {
        TABLE
            .iter()
            .find(|(known, least, most, _)| {
                known.eq_ignore_ascii_case(name) && (*least..=*most).contains(&arguments)
            })
            .map(|(.., function)| *function)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        let first = |at: usize| at == 0 || TABLE[at - 1].0 != TABLE[at].0;
        (0..TABLE.len()).filter(move |at| first(*at)).map(|at| TABLE[at].0)
    }

    pub const fn returns(self) -> Type {
        match self {
            Self::Length | Self::Abs | Self::Int => Type::Integer,
            Self::Bool | Self::IsInt | Self::IsBool => Type::Boolean,
            _ => Type::String,
        }
    }

    /// The type of an argument, from 0; `None` takes any.
    pub const fn parameter(self, at: usize) -> Option<Type> {
        match (self, at) {
            (Self::Int | Self::Bool | Self::String | Self::IsInt | Self::IsBool, _) => None,
            (Self::Abs, _) | (Self::Left | Self::Right | Self::SubstringFrom | Self::Substring, 1..) => {
                Some(Type::Integer)
            }
            _ => Some(Type::String),
        }
    }

    /// Calls it with as many values as it has parameters, each of its type.
    pub fn call(self, arguments: Vec<Value<'_>>) -> Answer<'_> {
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().unwrap_or(Value::Boolean(false));
        match self {
            Self::Length => {
                let length = next().into_text().chars().count();
                Ok(Value::Integer(i32::try_from(length).unwrap_or(i32::MAX)))
            }
            Self::Lower => Ok(Value::String(next().into_text().to_lowercase().into())),
            Self::Upper => Ok(Value::String(next().into_text().to_uppercase().into())),
            Self::Trim => Ok(Value::String(slice(next().into_text(), str::trim))),
            Self::Left => left(next().into_text(), integer(&next())),
            Self::Right => right(next().into_text(), integer(&next())),
            Self::SubstringFrom => substring(next().into_text(), integer(&next()), i32::MAX),
            Self::Substring => substring(next().into_text(), integer(&next()), integer(&next())),
            Self::Abs => match integer(&next()) {
                i32::MIN => Err((
                    Value::Integer(i32::MAX),
                    ErrorKind::Math,
                    "is beyond 32 bits, as ABS of the least number",
                )),
                number => Ok(Value::Integer(number.abs())),
            },
            Self::Int => cast(next(), Type::Integer, "cannot be an Integer"),
            Self::Bool => cast(next(), Type::Boolean, "cannot be a Boolean"),
            Self::String => Ok(Value::String(next().into_text())),
            Self::IsInt => Ok(Value::Boolean(next().integer().is_some())),
            Self::IsBool => Ok(Value::Boolean(next().boolean().is_some())),
            Self::Concat => Ok(Value::String(arguments.map(Value::into_text).collect::<String>().into())),
            Self::ConcatWs => {
                let delimiter = next().into_text();
                let parts: Vec<_> = arguments.map(Value::into_text).collect();
                Ok(Value::String(parts.join(&delimiter).into()))
            }
        }
    }
}

fn integer(value: &Value<'_>) -> i32 {
    value.integer().unwrap_or_default()
}

fn cast<'v>(value: Value<'v>, to: Type, otherwise: &'static str) -> Answer<'v> {
    value.cast(to).map_err(|_| (to.zero(), ErrorKind::Cast, otherwise))
}

/// A part of a text, borrowed where the text is.
fn slice<'v>(text: Cow<'v, str>, part: impl Fn(&str) -> &str) -> Cow<'v, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(reborrow(text, &part)),
        Cow::Owned(text) => Cow::Owned(part(&text).to_owned()),
    }
}

fn reborrow<'t>(text: &'t str, part: &impl Fn(&str) -> &str) -> &'t str {
    part(text)
}

fn left(text: Cow<'_, str>, count: i32) -> Answer<'_> {
    match usize::try_from(count) {
        Ok(count) => Ok(Value::String(slice(text, |text| &text[..offset(text, count)]))),
        Err(_) => Err((Value::String(text), ErrorKind::FunctionEvaluation, "has a negative length")),
    }
}

fn right(text: Cow<'_, str>, count: i32) -> Answer<'_> {
    match usize::try_from(count) {
        Ok(count) => Ok(Value::String(slice(text, |text| {
            let before = text.chars().count().saturating_sub(count);
            &text[offset(text, before)..]
        }))),
        Err(_) => Err((Value::String(text), ErrorKind::FunctionEvaluation, "has a negative length")),
    }
}

fn substring(text: Cow<'_, str>, position: i32, length: i32) -> Answer<'_> {
    let wrong = |why| Err((Type::String.zero(), ErrorKind::FunctionEvaluation, why));
    let Ok(length) = usize::try_from(length) else { return wrong("has a negative length") };
    let count = text.chars().count();
    let from = position.unsigned_abs() as usize;
    if from > count {
        return wrong("starts beyond the text");
    }
    if position == 0 {
        return Ok(Type::String.zero());
    }
    let from = if position > 0 { from - 1 } else { count - from };
    Ok(Value::String(slice(text, |text| {
        let rest = &text[offset(text, from)..];
        &rest[..offset(rest, length)]
    })))
}

/// Bytes of the first `chars` characters.
fn offset(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}
