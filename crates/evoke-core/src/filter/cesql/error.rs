//! What can be wrong with an expression, and what can go wrong with its evaluation.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A place in an expression, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        // An expression has at most FILTER_BYTES_MAX bytes.
        let number = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: number(start), end: number(end) }
    }

    /// From the start of this to the end of the other.
    pub(super) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// As a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// What stands there.
    pub fn of(self, source: &str) -> &str {
        source.get(self.range()).unwrap_or_default()
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where.
    pub span: Span,
}

impl ParseError {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, span }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column of the place, both from 1, the column in characters.
    pub fn position(&self, source: &str) -> (usize, usize) {
        let before = source.get(..self.span.range().start).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// The classes of errors of the specification, section 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// The text is no expression.
    Parse,
    /// Division by zero, or a result beyond 32 bits.
    Math,
    /// A value cannot be what an operator or a function needs.
    Cast,
    /// The event has no such attribute.
    MissingAttribute,
    /// There is no such function with so many arguments.
    MissingFunction,
    /// A function cannot do what it was asked.
    FunctionEvaluation,
    /// Anything else: the evaluation would cost too much.
    Generic,
}

impl ErrorKind {
    /// As the conformance kit writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Math => "math",
            Self::Cast => "cast",
            Self::MissingAttribute => "missingAttribute",
            Self::MissingFunction => "missingFunction",
            Self::FunctionEvaluation => "functionEvaluation",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong in an evaluation. Cheap to make: many events lack an attribute that some filter asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Its class.
    pub kind: ErrorKind,
    /// The part of the expression that it happened in.
    pub span: Span,
    pub(super) detail: Cow<'static, str>,
}

impl Error {
    /// One sentence; `source` is the expression's text.
    pub fn message(&self, source: &str) -> String {
        format!("{} {}", self.span.of(source), self.detail)
    }
}
