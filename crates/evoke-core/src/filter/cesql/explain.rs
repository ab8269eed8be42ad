//! Why an expression did not let an event pass.

use std::collections::BTreeMap;

use super::Expression;
use super::evaluate::Evaluator;
use super::syntax::{Expr, Name, Node, Operator};
use super::value::Value;
use crate::event::Event;
use crate::filter::budget::Budget;
use crate::filter::{Cause, Filtered, Seen};

/// Says which clause decided; the event did not pass.
pub(super) fn explain(expression: &Expression, event: &Event) -> Filtered {
    let source = expression.source();
    let clause = deciding(&expression.root, event);
    let reason = match Evaluator::new(event, &mut Budget::new()).evaluate(clause) {
        Err(raised) => raised.error.message(source),
        Ok(Value::Boolean(_)) => "is false".to_owned(),
        Ok(other) => format!("is of type {}, which is neither true nor false", other.ty()),
    };
    let mut names = BTreeMap::new();
    collect(clause, event, &mut names);
    let values = names.into_iter().map(|(name, value)| Seen::new(name.as_str(), value)).collect();
    Filtered { cause: Cause::Where, clause: clause.span.of(source).to_owned(), reason, values }
}

/// The clause that was enough: of clauses joined by AND the first that is not true.
fn deciding<'e>(expr: &'e Expr, event: &'e Event) -> &'e Expr {
    if let Node::Chain { first, rest } = &expr.node
        && rest.iter().all(|(operator, _)| *operator == Operator::And)
    {
        let mut operands = [&**first].into_iter().chain(rest.iter().map(|(_, operand)| operand));
        let not_true = |operand: &&Expr| {
            let value = Evaluator::new(event, &mut Budget::new()).evaluate(operand);
            !matches!(value, Ok(value) if value.boolean() == Some(true))
        };
        if let Some(operand) = operands.find(not_true) {
            return deciding(operand, event);
        }
    }
    expr
}

/// The attributes that a part asks for, with what the event has.
fn collect<'e>(expr: &'e Expr, event: &'e Event, names: &mut BTreeMap<&'e Name, Option<serde_json::Value>>) {
    if let Node::Attribute(name) | Node::Exists(name) = &expr.node {
        let value = name.of(event).map(|value| match value {
            Value::Boolean(value) => value.into(),
            Value::Integer(value) => value.into(),
            Value::String(text) => text.as_ref().into(),
        });
        names.insert(name, value);
    }
    expr.children().into_iter().for_each(|child| collect(child, event, names));
}
