//! Expression → text that reads as the same expression.

use std::fmt::{self, Write};

use super::syntax::{Expr, Level, Node};

/// Writes a part. `all`: with every parenthesis, to show how it is read; otherwise with those it needs.
pub(super) fn write(f: &mut fmt::Formatter<'_>, expr: &Expr, source: &str, all: bool) -> fmt::Result {
    let operand = |f: &mut fmt::Formatter<'_>, of: &Expr, least: Level| {
        let level = of.level();
        if level < least || (all && level < Level::Unary) {
            f.write_char('(')?;
            write(f, of, source, all)?;
            f.write_char(')')
        } else {
            write(f, of, source, all)
        }
    };
    let not = |negated: bool| if negated { " NOT" } else { "" };
    match &expr.node {
        Node::Boolean(true) => f.write_str("TRUE"),
        Node::Boolean(false) => f.write_str("FALSE"),
        Node::Integer(value) => write!(f, "{value}"),
        // A text in the words it was given in: not every text can be quoted either way.
        Node::Text(_) => f.write_str(expr.span.of(source)),
        Node::Attribute(name) => f.write_str(name.as_str()),
        Node::Exists(name) => write!(f, "EXISTS {}", name.as_str()),
        Node::Not(of) => {
            f.write_str("NOT ")?;
            operand(f, of, Level::Unary)
        }
        Node::Negate(of) => {
            // `-5` would be a number, and `- 5` its negation.
            f.write_str("- ")?;
            operand(f, of, Level::Unary)
        }
        Node::Like { text, literal, negated, .. } => {
            operand(f, text, Level::Test)?;
            write!(f, "{} LIKE {}", not(*negated), literal.of(source))
        }
        Node::In { item, set, negated } => {
            operand(f, item, Level::Test)?;
            write!(f, "{} IN ", not(*negated))?;
            list(f, set, source, all)
        }
        Node::Call { name, arguments, .. } => {
            f.write_str(&name.of(source).to_ascii_uppercase())?;
            list(f, arguments, source, all)
        }
        Node::Chain { first, rest } => {
            // Operators of one level are read from the left, so the first operand may be of that level without
            // parentheses; it never is, because it would be part of this chain.
            let above = rest.first().map_or(Level::Atom, |(operator, _)| above(operator.level()));
            if all {
                rest.iter().skip(1).try_for_each(|_| f.write_char('('))?;
            }
            operand(f, first, above)?;
            for (at, (operator, of)) in rest.iter().enumerate() {
                write!(f, " {} ", operator.as_str())?;
                operand(f, of, above)?;
                if all && at + 1 < rest.len() {
                    f.write_char(')')?;
                }
            }
            Ok(())
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[Expr], source: &str, all: bool) -> fmt::Result {
    f.write_char('(')?;
    for (at, item) in items.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { ", " })?;
        write(f, item, source, all)?;
    }
    f.write_char(')')
}

fn above(level: Level) -> Level {
    match level {
        Level::Logic => Level::Comparison,
        Level::Comparison => Level::Additive,
        Level::Additive => Level::Multiplicative,
        Level::Multiplicative => Level::Test,
        Level::Test => Level::Unary,
        Level::Unary | Level::Atom => Level::Atom,
    }
}
