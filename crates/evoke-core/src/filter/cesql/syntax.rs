//! A parsed expression.

use super::error::Span;
use super::function::Function;
use super::value::Type;
use crate::event::{Attribute, Event, SPEC_VERSION};
use crate::filter::cesql::Value;
use crate::filter::wildcard::Wildcard;

/// A part of an expression, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub node: Node,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Boolean(bool),
    Integer(i32),
    Text(Box<str>),
    Attribute(Name),
    Exists(Name),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Like {
        text: Box<Expr>,
        pattern: Wildcard,
        literal: Span,
        negated: bool,
    },
    In {
        item: Box<Expr>,
        set: Vec<Expr>,
        negated: bool,
    },
    /// `name` is the place of the function's name; there may be no such function.
    Call {
        name: Span,
        function: Option<Function>,
        arguments: Vec<Expr>,
    },
    /// Operators of one level, from left to right: flat, so that a long chain is not a deep tree.
    Chain {
        first: Box<Expr>,
        rest: Vec<(Operator, Expr)>,
    },
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Xor,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly operators bind, the loosest first (section 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Logic,
    Comparison,
    Additive,
    Multiplicative,
    /// LIKE and IN.
    Test,
    /// NOT and the sign.
    Unary,
    /// What needs no parentheses anywhere.
    Atom,
}

impl Operator {
    pub const fn level(self) -> Level {
        match self {
            Self::And | Self::Or | Self::Xor => Level::Logic,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual => Level::Comparison,
            Self::Add | Self::Subtract => Level::Additive,
            Self::Multiply | Self::Divide | Self::Remainder => Level::Multiplicative,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::Xor => "XOR",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    pub const fn returns(self) -> Type {
        match self.level() {
            Level::Logic | Level::Comparison => Type::Boolean,
            _ => Type::Integer,
        }
    }
}

impl Expr {
    pub fn level(&self) -> Level {
        match &self.node {
            Node::Chain { rest, .. } => rest.first().map_or(Level::Atom, |(operator, _)| operator.level()),
            Node::Like { .. } | Node::In { .. } => Level::Test,
            Node::Not(_) | Node::Negate(_) => Level::Unary,
            _ => Level::Atom,
        }
    }

    /// What it is whatever the event, or `None` when that depends on an extension attribute.
    pub fn ty(&self) -> Option<Type> {
        Some(match &self.node {
            Node::Boolean(_) | Node::Exists(_) | Node::Not(_) | Node::Like { .. } | Node::In { .. } => {
                Type::Boolean
            }
            Node::Integer(_) | Node::Negate(_) => Type::Integer,
            Node::Text(_) => Type::String,
            Node::Attribute(Name::Extension(_)) => return None,
            Node::Attribute(_) => Type::String,
            Node::Call { function, .. } => function.map_or(Type::Boolean, Function::returns),
            Node::Chain { rest, .. } => {
                rest.first().map_or(Type::Boolean, |(operator, _)| operator.returns())
            }
        })
    }

    pub fn children(&self) -> Vec<&Self> {
        match &self.node {
            Node::Not(of) | Node::Negate(of) | Node::Like { text: of, .. } => vec![of],
            Node::In { item, set, .. } => [&**item].into_iter().chain(set).collect(),
            Node::Call { arguments, .. } => arguments.iter().collect(),
            Node::Chain { first, rest } => {
                [&**first].into_iter().chain(rest.iter().map(|(_, operand)| operand)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Which attribute. Found once when the expression is parsed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
    Extension(Box<str>),
}

impl Name {
    /// Names are lower case in events, and may be written in any case.
    pub fn new(text: &str) -> Self {
        let name = text.to_ascii_lowercase();
        match name.as_str() {
            "specversion" => Self::SpecVersion,
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "subject" => Self::Subject,
            "time" => Self::Time,
            "datacontenttype" => Self::DataContentType,
            "dataschema" => Self::DataSchema,
            _ => Self::Extension(name.into()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::SpecVersion => "specversion",
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::DataContentType => "datacontenttype",
            Self::DataSchema => "dataschema",
            Self::Extension(name) => name,
        }
    }

    pub fn of<'e>(&self, event: &'e Event) -> Option<Value<'e>> {
        let text = match self {
            Self::SpecVersion => SPEC_VERSION,
            Self::Id => event.id(),
            Self::Source => event.source(),
            Self::Type => event.ty(),
            Self::Subject => event.subject()?,
            Self::Time => event.time()?,
            Self::DataContentType => event.data_content_type()?,
            Self::DataSchema => event.data_schema()?,
            Self::Extension(name) => {
                return Some(match event.extensions().get(&**name)? {
                    Attribute::Boolean(value) => Value::Boolean(*value),
                    Attribute::Integer(value) => Value::Integer(*value),
                    Attribute::String(text) => Value::String(text.as_str().into()),
                });
            }
        };
        Some(Value::String(text.into()))
    }
}
