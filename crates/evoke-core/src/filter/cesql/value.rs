//! Values, their types, and the casts between them (section 3.7).

use std::borrow::Cow;
use std::fmt;

/// The three types of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Type {
    /// `TRUE` or `FALSE`.
    Boolean,
    /// A whole number of 32 bits.
    Integer,
    /// Text.
    String,
}

impl Type {
    /// What an operator of this type returns together with an error.
    pub const fn zero(self) -> Value<'static> {
        match self {
            Self::Boolean => Value::Boolean(false),
            Self::Integer => Value::Integer(0),
            Self::String => Value::String(Cow::Borrowed("")),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "Boolean",
            Self::Integer => "Integer",
            Self::String => "String",
        })
    }
}

/// What an expression comes to. Text of the event or of the expression is borrowed. As JSON: a boolean, a number or a string.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Value<'v> {
    /// A boolean.
    Boolean(bool),
    /// A number.
    Integer(i32),
    /// A text.
    String(Cow<'v, str>),
}

impl<'v> Value<'v> {
    /// Its type.
    pub const fn ty(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::Boolean,
            Self::Integer(_) => Type::Integer,
            Self::String(_) => Type::String,
        }
    }

    /// The same value as another type; the value itself when there is none.
    pub(super) fn cast(self, to: Type) -> Result<Self, Self> {
        match to {
            Type::Boolean => self.boolean().map(Self::Boolean).ok_or(self),
            Type::Integer => self.integer().map(Self::Integer).ok_or(self),
            Type::String => Ok(Self::String(self.into_text())),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Integer(value) => Some(*value != 0),
            Self::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Self::String(_) => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i32> {
        match self {
            Self::Boolean(value) => Some(i32::from(*value)),
            Self::Integer(value) => Some(*value),
            Self::String(text) => text.parse().ok(),
        }
    }

    pub(super) fn into_text(self) -> Cow<'v, str> {
        match self {
            Self::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::String(text) => text,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::String(text) => f.write_str(text),
        }
    }
}
