//! Tokens → expression (sections 2 and 3.6).

use super::error::{ParseError, Span};
use super::function::Function;
use super::syntax::{Expr, Level, Name, Node, Operator};
use super::token::{Kind, Lexer, Token};
use crate::filter::bounds::{FILTER_BYTES_MAX, NESTING_MAX};
use crate::filter::wildcard;

/// Reads all of `source` as one expression.
pub(super) fn parse(source: &str) -> Result<Expr> {
    if source.len() > FILTER_BYTES_MAX {
        let message = format!("the expression has {} bytes, the limit is {FILTER_BYTES_MAX}", source.len());
        return Err(ParseError::new(Span::new(0, 0), message));
    }
    let mut lexer = Lexer::new(source);
    let token = lexer.next()?;
    let next = lexer.next()?;
    let mut parser = Parser { source, lexer, token, next, open: 0 };
    let Built { expr, .. } = parser.expression()?;
    match parser.token.kind {
        Kind::End => Ok(expr),
        _ => Err(parser.after_operand()),
    }
}

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    token: Token,
    /// The one after it.
    next: Token,
    /// Levels that were entered and not yet left.
    open: usize,
}

/// A part with the height of its tree: what walks it later is recursive.
struct Built {
    expr: Expr,
    height: usize,
    /// With its parentheses, which the expression's own place is without.
    outer: Span,
}

type Result<T = Built> = std::result::Result<T, ParseError>;

impl Parser<'_> {
    fn expression(&mut self) -> Result {
        self.enter()?;
        let built = self.chain(Level::Logic)?;
        self.open -= 1;
        Ok(built)
    }

    /// Operands of the next tighter level with operators of this one between them.
    fn chain(&mut self, level: Level) -> Result {
        let first = self.operand(level)?;
        let (mut span, mut height) = (first.outer, first.height);
        let mut rest = Vec::new();
        while let Some(operator) = operator(self.token.kind).filter(|operator| operator.level() == level) {
            self.advance()?;
            let operand = self.operand(level)?;
            (span, height) = (span.to(operand.outer), height.max(operand.height));
            rest.push((operator, operand.expr));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        self.built(Node::Chain { first: Box::new(first.expr), rest }, span, height)
    }

    fn operand(&mut self, level: Level) -> Result {
        match level {
            Level::Logic => self.chain(Level::Comparison),
            Level::Comparison => self.chain(Level::Additive),
            Level::Additive => self.chain(Level::Multiplicative),
            _ => self.test(),
        }
    }

    /// `x`, `x LIKE …`, `x NOT IN …`, one after the other.
    fn test(&mut self) -> Result {
        let mut built = self.unary()?;
        loop {
            let negated = self.token.kind == Kind::Not;
            let kind = if negated { self.next.kind } else { self.token.kind };
            if !matches!(kind, Kind::Like | Kind::In) {
                return Ok(built);
            }
            if negated {
                self.advance()?;
            }
            self.advance()?;
            built =
                if kind == Kind::Like { self.like(built, negated)? } else { self.within(built, negated)? };
        }
    }

    fn like(&mut self, text: Built, negated: bool) -> Result {
        let literal = self.token;
        if literal.kind != Kind::Text {
            return Err(self
                .unexpected("the pattern of LIKE")
                .help("it must be a quoted text, such as 'order-%'"));
        }
        self.advance()?;
        let pattern = like_pattern(&unquoted(literal.span.of(self.source)));
        let span = text.outer.to(literal.span);
        let literal = literal.span;
        self.built(Node::Like { text: Box::new(text.expr), pattern, literal, negated }, span, text.height)
    }

    fn within(&mut self, item: Built, negated: bool) -> Result {
        if self.token.kind != Kind::Open {
            return Err(self.unexpected("the set of IN").help("write x IN ('a', 'b')"));
        }
        self.advance()?;
        let (set, end, height) = self.list("the set of IN")?;
        let span = item.outer.to(end);
        self.built(Node::In { item: Box::new(item.expr), set, negated }, span, height.max(item.height))
    }

    fn unary(&mut self) -> Result {
        let start = self.token;
        if !matches!(start.kind, Kind::Not | Kind::Minus) {
            return self.atom();
        }
        self.advance()?;
        self.enter()?;
        let of = self.unary()?;
        self.open -= 1;
        let span = start.span.to(of.outer);
        let operand = Box::new(of.expr);
        let node = if start.kind == Kind::Not { Node::Not(operand) } else { Node::Negate(operand) };
        self.built(node, span, of.height)
    }

    fn atom(&mut self) -> Result {
        let token = self.token;
        let text = token.span.of(self.source);
        let node = match token.kind {
            Kind::True => Node::Boolean(true),
            Kind::False => Node::Boolean(false),
            Kind::Text => Node::Text(unquoted(text).into()),
            Kind::Integer => Node::Integer(self.integer(text)?),
            Kind::Name | Kind::FunctionName if self.next.kind == Kind::Open => return self.call(),
            Kind::Name => Node::Attribute(Name::new(text)),
            Kind::FunctionName => {
                let message = format!("{text} is no attribute: their names have only letters and digits");
                return Err(ParseError::new(token.span, message));
            }
            Kind::Exists => return self.exists(),
            Kind::Open => {
                self.advance()?;
                let built = self.expression()?;
                let end = self.close("the parenthesis", token.span)?;
                return Ok(Built { outer: token.span.to(end), ..built });
            }
            _ => return Err(self.unexpected("an operand")),
        };
        self.advance()?;
        self.built(node, token.span, 0)
    }

    fn exists(&mut self) -> Result {
        let start = self.token.span;
        self.advance()?;
        let name = self.token;
        if name.kind != Kind::Name {
            return Err(self.unexpected("the attribute of EXISTS").help("write EXISTS subject"));
        }
        self.advance()?;
        self.built(Node::Exists(Name::new(name.span.of(self.source))), start.to(name.span), 0)
    }

    fn call(&mut self) -> Result {
        let name = self.token.span;
        let text = name.of(self.source);
        if text.bytes().any(|byte| byte.is_ascii_digit()) {
            let message = format!("{text} is no function: their names have only letters and _");
            return Err(ParseError::new(name, message));
        }
        self.advance()?;
        self.advance()?;
        let (arguments, end, height) = match self.token.kind {
            Kind::Close => (Vec::new(), self.token.span, 0),
            _ => self.list("the arguments")?,
        };
        if arguments.is_empty() {
            self.advance()?;
        }
        let function = Function::find(text, arguments.len());
        self.built(Node::Call { name, function, arguments }, name.to(end), height)
    }

    /// One or more expressions and the closing parenthesis.
    fn list(&mut self, what: &str) -> Result<(Vec<Expr>, Span, usize)> {
        let open = self.token.span;
        let (mut list, mut height) = (Vec::new(), 0);
        loop {
            let item = self.expression()?;
            height = height.max(item.height);
            list.push(item.expr);
            if self.token.kind != Kind::Comma {
                break;
            }
            self.advance()?;
        }
        let end = self.close(what, open)?;
        Ok((list, end, height))
    }

    fn close(&mut self, what: &str, open: Span) -> Result<Span> {
        let end = self.token;
        match end.kind {
            Kind::Close => {
                self.advance()?;
                Ok(end.span)
            }
            Kind::End => {
                Err(ParseError::new(open.to(end.span), format!("{what} is not closed")).help("write )"))
            }
            _ => Err(self.after_operand()),
        }
    }

    fn integer(&self, text: &str) -> Result<i32> {
        text.parse().map_err(|_| {
            let message = format!("{text} is beyond 32 bits");
            ParseError::new(self.token.span, message).help(format!(
                "numbers are from {} to {}",
                i32::MIN,
                i32::MAX
            ))
        })
    }

    fn built(&self, node: Node, span: Span, children: usize) -> Result {
        let height = children + 1;
        if height > NESTING_MAX {
            return Err(too_deep(span));
        }
        Ok(Built { expr: Expr { node, span }, height, outer: span })
    }

    fn enter(&mut self) -> Result<()> {
        self.open += 1;
        if self.open > NESTING_MAX { Err(too_deep(self.token.span)) } else { Ok(()) }
    }

    fn advance(&mut self) -> Result<()> {
        self.token = std::mem::replace(&mut self.next, self.lexer.next()?);
        Ok(())
    }

    fn unexpected(&self, wanted: &str) -> ParseError {
        let found = match self.token.kind {
            Kind::End if self.token.span.range().start == 0 => {
                return ParseError::new(self.token.span, "the expression is empty");
            }
            Kind::End => "the end".to_owned(),
            _ => self.token.span.of(self.source).to_owned(),
        };
        ParseError::new(self.token.span, format!("{wanted} is missing before {found}"))
    }

    /// Something stands where only an operator can.
    fn after_operand(&self) -> ParseError {
        let found = self.token.span.of(self.source);
        let error = ParseError::new(self.token.span, format!("{found} cannot stand here"));
        match self.token.kind {
            Kind::Close => error.help("no parenthesis is open"),
            Kind::Text => error.help("put an operator between; a quote within a text is written \\' or \\\""),
            Kind::Not => error.help("after an operand only NOT LIKE and NOT IN"),
            _ => error.help("put an operator such as AND or = between"),
        }
    }
}

fn too_deep(span: Span) -> ParseError {
    ParseError::new(span, format!("the expression is nested deeper than the limit of {NESTING_MAX} levels"))
}

fn operator(kind: Kind) -> Option<Operator> {
    Some(match kind {
        Kind::And => Operator::And,
        Kind::Or => Operator::Or,
        Kind::Xor => Operator::Xor,
        Kind::Equal => Operator::Equal,
        Kind::NotEqual => Operator::NotEqual,
        Kind::Less => Operator::Less,
        Kind::LessOrEqual => Operator::LessOrEqual,
        Kind::Greater => Operator::Greater,
        Kind::GreaterOrEqual => Operator::GreaterOrEqual,
        Kind::Plus => Operator::Add,
        Kind::Minus => Operator::Subtract,
        Kind::Star => Operator::Multiply,
        Kind::Slash => Operator::Divide,
        Kind::Percent => Operator::Remainder,
        _ => return None,
    })
}

/// What a literal means: its quote loses the backslash before it, every other backslash stays.
fn unquoted(literal: &str) -> String {
    let (quote, inner) = (literal.chars().next(), &literal[1..literal.len() - 1]);
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        if escaped.is_none() || escaped != quote {
            text.push(c);
        }
        text.extend(escaped);
    }
    text
}

/// `%` any characters, `_` any one, `\%` and `\_` themselves (section 3.4.3).
fn like_pattern(text: &str) -> wildcard::Wildcard {
    let mut pattern = wildcard::Builder::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(&escaped @ ('%' | '_'))) => {
                chars.next();
                pattern.char(escaped);
            }
            ('%', _) => pattern.gap(),
            ('_', _) => pattern.any_char(),
            _ => pattern.char(c),
        }
    }
    pattern.finish()
}
