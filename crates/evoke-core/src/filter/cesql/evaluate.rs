//! Expression and event → value, and perhaps an error.
//!
//! Fail fast (section 4.1): an error ends the evaluation. The operator or function that raised it says which value goes
//! with it, and each one around it turns that into the zero value of its own type (sections 3.2 and 3.3), so that
//! `1 / missing` is `0` and `missing = 2` is `false`.

use std::borrow::Cow;

use super::error::{Error, ErrorKind, Span};
use super::function::Function;
use super::syntax::{Expr, Node, Operator};
use super::value::{Type, Value};
use crate::event::Event;
use crate::filter::budget::{Budget, Exhausted};

/// Evaluates parts of one expression for one event.
pub(super) struct Evaluator<'e, 'b> {
    event: &'e Event,
    budget: &'b mut Budget,
}

/// An error, and the value that goes with it.
pub(super) struct Raised<'e> {
    pub value: Value<'e>,
    pub error: Error,
}

type Result<'e, T = Value<'e>> = std::result::Result<T, Raised<'e>>;

impl<'e, 'b> Evaluator<'e, 'b> {
    pub fn new(event: &'e Event, budget: &'b mut Budget) -> Self {
        Self { event, budget }
    }

    pub fn evaluate(&mut self, expr: &'e Expr) -> Result<'e> {
        self.charge(expr, 1)?;
        match &expr.node {
            Node::Boolean(value) => Ok(Value::Boolean(*value)),
            Node::Integer(value) => Ok(Value::Integer(*value)),
            Node::Text(text) => Ok(Value::String(Cow::Borrowed(text))),
            Node::Attribute(name) => name.of(self.event).ok_or_else(|| {
                raise(
                    Type::Boolean,
                    expr.span,
                    ErrorKind::MissingAttribute,
                    "is not an attribute of the event",
                )
            }),
            Node::Exists(name) => Ok(Value::Boolean(name.of(self.event).is_some())),
            // The text of the specification casts 10 to true; its conformance kit has a CastError and `true` for
            // `NOT 10`. The kit is followed where it can be: nobody means to negate a number written in the expression.
            Node::Not(of) if matches!(of.node, Node::Integer(_)) => Err(Raised {
                value: Value::Boolean(true),
                ..raise(Type::Boolean, of.span, ErrorKind::Cast, "is a number, which NOT does not negate")
            }),
            Node::Not(of) => Ok(Value::Boolean(!self.boolean(of, Type::Boolean)?)),
            Node::Negate(of) => match self.integer(of, Type::Integer)?.checked_neg() {
                Some(number) => Ok(Value::Integer(number)),
                None => Err(overflow(expr.span)),
            },
            Node::Like { text, pattern, negated, .. } => {
                let text = self.evaluate(text).map_err(within(Type::Boolean))?.into_text();
                let matches = pattern.matches(&text, self.budget);
                Ok(Value::Boolean(matches.map_err(exhausted(expr))? != *negated))
            }
            Node::In { item, set, negated } => Ok(Value::Boolean(self.is_in(item, set)? != *negated)),
            Node::Call { function: Some(function), arguments, .. } => self.call(expr, *function, arguments),
            Node::Call { name, .. } => {
                let detail = "is no function with so many arguments";
                Err(raise(Type::Boolean, *name, ErrorKind::MissingFunction, detail))
            }
            Node::Chain { first, rest } => {
                let mut value = self.evaluate(first);
                for (operator, operand) in rest {
                    value = Ok(self.apply(*operator, value, operand, expr)?);
                }
                value
            }
        }
    }

    fn apply(
        &mut self,
        operator: Operator,
        left: Result<'e>,
        operand: &'e Expr,
        whole: &'e Expr,
    ) -> Result<'e> {
        let ty = operator.returns();
        let left = left.map_err(within(ty))?;
        match operator {
            Operator::And | Operator::Or | Operator::Xor => {
                let left = cast(left, Type::Boolean, ty, whole.span)?.boolean().unwrap_or_default();
                Ok(Value::Boolean(match (operator, left) {
                    (Operator::And, false) => false,
                    (Operator::Or, true) => true,
                    (Operator::Xor, true) => !self.boolean(operand, ty)?,
                    _ => self.boolean(operand, ty)?,
                }))
            }
            Operator::Equal | Operator::NotEqual => {
                let right = self.evaluate(operand).map_err(within(ty))?;
                let left = cast(left, right.ty(), ty, whole.span)?;
                let equal = self.equal(&left, &right, whole)?;
                Ok(Value::Boolean(equal == (operator == Operator::Equal)))
            }
            _ => {
                let right = self.evaluate(operand).map_err(within(ty))?;
                let left = cast(left, Type::Integer, ty, whole.span)?.integer().unwrap_or_default();
                let right = cast(right, Type::Integer, ty, operand.span)?.integer().unwrap_or_default();
                arithmetic(operator, left, right, whole.span)
            }
        }
    }

    /// The set is read from left to right up to the first that is equal.
    fn is_in(&mut self, item: &'e Expr, set: &'e [Expr]) -> Result<'e, bool> {
        let wanted = self.evaluate(item).map_err(within(Type::Boolean))?;
        for element in set {
            let value = self.evaluate(element).map_err(within(Type::Boolean))?;
            let value = cast(value, wanted.ty(), Type::Boolean, element.span)?;
            if self.equal(&wanted, &value, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn call(&mut self, expr: &'e Expr, function: Function, arguments: &'e [Expr]) -> Result<'e> {
        let ty = function.returns();
        let mut values = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.iter().enumerate() {
            let value = self.evaluate(argument).map_err(within(ty))?;
            let value = match function.parameter(at) {
                Some(parameter) => cast(value, parameter, ty, argument.span)?,
                None => value,
            };
            if let Value::String(text) = &value {
                // A delimiter is there as often as there are arguments.
                let times = if at == 0 && function == Function::ConcatWs { arguments.len() } else { 1 };
                self.budget.charge_text(text.len().saturating_mul(times)).map_err(exhausted(expr))?;
            }
            values.push(value);
        }
        function.call(values).map_err(|(value, kind, detail)| Raised {
            value,
            error: Error { kind, span: expr.span, detail: Cow::Borrowed(detail) },
        })
    }

    fn equal(&mut self, left: &Value<'_>, right: &Value<'_>, expr: &Expr) -> Result<'e, bool> {
        if let (Value::String(left), Value::String(right)) = (left, right)
            && left.len() == right.len()
        {
            self.budget.charge_text(left.len()).map_err(exhausted(expr))?;
        }
        Ok(left == right)
    }

    fn boolean(&mut self, expr: &'e Expr, around: Type) -> Result<'e, bool> {
        let value = self.evaluate(expr).map_err(within(around))?;
        Ok(cast(value, Type::Boolean, around, expr.span)?.boolean().unwrap_or_default())
    }

    fn integer(&mut self, expr: &'e Expr, around: Type) -> Result<'e, i32> {
        let value = self.evaluate(expr).map_err(within(around))?;
        Ok(cast(value, Type::Integer, around, expr.span)?.integer().unwrap_or_default())
    }

    fn charge(&mut self, expr: &Expr, units: usize) -> Result<'e, ()> {
        self.budget.charge(units).map_err(exhausted(expr))
    }
}

/// The error as what is around it passes it on.
fn within<'e>(around: Type) -> impl Fn(Raised<'e>) -> Raised<'e> {
    move |raised| Raised { value: around.zero(), error: raised.error }
}

fn raise<'e>(ty: Type, span: Span, kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Raised<'e> {
    Raised { value: ty.zero(), error: Error { kind, span, detail: detail.into() } }
}

fn overflow<'e>(span: Span) -> Raised<'e> {
    raise(Type::Integer, span, ErrorKind::Math, "is beyond 32 bits")
}

fn exhausted<'e>(expr: &Expr) -> impl Fn(Exhausted) -> Raised<'e> + use<'e> {
    let (ty, span) = (expr.ty().unwrap_or(Type::Boolean), expr.span);
    move |Exhausted| raise(ty, span, ErrorKind::Generic, "takes more work than a filter may")
}

/// The value as an operand of type `to`; an error belongs to an operator that returns `around`.
fn cast<'e>(value: Value<'e>, to: Type, around: Type, span: Span) -> Result<'e> {
    value.cast(to).map_err(|value| {
        let shown: String = value.into_text().chars().take(40).collect();
        raise(around, span, ErrorKind::Cast, format!("needs a value of type {to}, but has {shown:?}"))
    })
}

fn arithmetic<'e>(operator: Operator, left: i32, right: i32, span: Span) -> Result<'e> {
    let number = match operator {
        Operator::Less => return Ok(Value::Boolean(left < right)),
        Operator::LessOrEqual => return Ok(Value::Boolean(left <= right)),
        Operator::Greater => return Ok(Value::Boolean(left > right)),
        Operator::GreaterOrEqual => return Ok(Value::Boolean(left >= right)),
        Operator::Divide | Operator::Remainder if right == 0 => {
            return Err(raise(Type::Integer, span, ErrorKind::Math, "divides by zero"));
        }
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        // The remainder of the least number by -1 is 0, although the quotient is beyond 32 bits.
        _ => Some(left.wrapping_rem(right)),
    };
    number.map(Value::Integer).ok_or_else(|| overflow(span))
}
