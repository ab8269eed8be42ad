//! CloudEvents SQL Expression Language 1.0 (<https://github.com/cloudevents/spec/blob/main/cesql/spec.md>).
//!
//! **What it is:** the whole language: [`Expression::parse`] once, then [`Expression::evaluate`] for each event, which
//! borrows what it can. Section numbers in comments are those of the specification.
//!
//! **Where the specification leaves a choice:** an error ends the evaluation (section 4.1), with the zero value of the
//! outermost operator. AND, OR and XOR bind equally and from the left, as section 3.6 says. `4-1` is a difference. A
//! quote within a text is written with a backslash, every other backslash stays. A result beyond 32 bits is `0` and a
//! MathError. `IN` reads its set up to the first that is equal.
//!
//! **Bounds:** [`super::bounds`]: bytes, nesting, and the work of one evaluation, above which it is a GenericError.
//!
//! ```
//! use evoke_core::{event::Event, filter::cesql::Expression};
//! let large = Expression::parse("type LIKE 'order.%' AND priority > 3")?;
//! let event = Event::new("1", "/shop", "order.paid").with_extension("priority", evoke_core::event::Attribute::Integer(5));
//! assert!(large.passes(&event));
//! # Ok::<(), evoke_core::filter::cesql::ParseError>(())
//! ```

mod error;
mod evaluate;
mod explain;
mod function;
mod parse;
mod print;
mod syntax;
mod token;
mod value;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::budget::Budget;
use super::{Allowance, Decision, Filtered};
use crate::event::Event;
use evaluate::{Evaluator, Raised};
use function::Function;
use syntax::{Expr, Level, Node};

pub use error::{Error, ErrorKind, ParseError, Span};
pub use value::{Type, Value};

/// A parsed expression. Two are equal when their texts are; as JSON it is its text.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Box<str>,
    root: Expr,
}

/// What an expression came to: always a value, and perhaps an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation<'e> {
    /// The value.
    pub value: Value<'e>,
    /// The first thing that went wrong.
    pub error: Option<Error>,
}

impl Expression {
    /// Reads an expression. A function that does not exist is an error of the evaluation, see [`Self::unknown_functions`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self { root: parse::parse(text)?, source: text.into() })
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it comes to for this event.
    pub fn evaluate<'e>(&'e self, event: &'e Event) -> Evaluation<'e> {
        match Evaluator::new(event, &mut Budget::new()).evaluate(&self.root) {
            Ok(value) => Evaluation { value, error: None },
            Err(Raised { value, error }) => Evaluation { value, error: Some(error) },
        }
    }

    /// Whether it lets the event pass: it is `true`, without an error (section 1.2).
    pub fn passes(&self, event: &Event) -> bool {
        self.passes_within(event, &mut Budget::new())
    }

    /// The same with what is left of `allowance`.
    pub fn decide(&self, event: &Event, allowance: &mut Allowance) -> Decision {
        allowance.evaluate(|budget| self.passes_within(event, budget))
    }

    fn passes_within(&self, event: &Event, budget: &mut Budget) -> bool {
        matches!(Evaluator::new(event, budget).evaluate(&self.root), Ok(Value::Boolean(true)))
    }

    /// Why it does not let the event pass, or `None` when it does.
    pub fn explain(&self, event: &Event) -> Option<Filtered> {
        (!self.passes(event)).then(|| explain::explain(self, event))
    }

    /// The type it has whatever the event, or `None` when that depends on an extension attribute.
    pub fn ty(&self) -> Option<Type> {
        self.root.ty()
    }

    /// Names of functions that do not exist, or not with so many arguments: each makes the evaluation an error.
    pub fn unknown_functions(&self) -> Vec<Span> {
        let (mut found, mut left) = (Vec::new(), vec![&self.root]);
        while let Some(expr) = left.pop() {
            if let Node::Call { name, function: None, .. } = &expr.node {
                found.push(*name);
            }
            left.extend(expr.children());
        }
        found.sort_by_key(|span| span.range().start);
        found
    }

    /// Names of all functions.
    pub fn functions() -> impl Iterator<Item = &'static str> + Clone {
        Function::names()
    }

    /// Whether AND, OR and XOR stand beside each other without parentheses, which reads differently elsewhere.
    pub fn mixes_logic(&self) -> bool {
        let mut left = vec![&self.root];
        while let Some(expr) = left.pop() {
            if let Node::Chain { rest, .. } = &expr.node
                && expr.level() == Level::Logic
                && rest.iter().any(|(operator, _)| *operator != rest[0].0)
            {
                return true;
            }
            left.extend(expr.children());
        }
        false
    }
}

/// In one form, with the parentheses it needs. `{:#}` has all of them.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::write(f, &self.root, &self.source, f.alternate())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
