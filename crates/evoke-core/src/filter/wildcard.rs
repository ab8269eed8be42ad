//! Text with gaps: `%` and `_` of LIKE, `*` of a pattern's `wildcard`.
//!
//! Split at the gaps into pieces of fixed length, of which the first and the last are at the ends and each other one is
//! looked for from the left. Nothing is ever tried again, so there is no backtracking; a piece without `_` is found in
//! linear time.

use super::budget::{Budget, Exhausted};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard {
    start: Piece,
    /// Between the first gap and the last.
    middle: Vec<Piece>,
    /// After the last gap; `None` when there is no gap.
    end: Option<Piece>,
}

/// What stands between two gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Piece(Vec<Unit>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Text(String),
    AnyChar,
}

/// Makes a [`Wildcard`], from left to right.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    done: Vec<Piece>,
    piece: Piece,
}

impl Builder {
    /// Exactly this character.
    pub fn char(&mut self, c: char) {
        match self.piece.0.last_mut() {
            Some(Unit::Text(text)) => text.push(c),
            _ => self.piece.0.push(Unit::Text(c.to_string())),
        }
    }

    /// Any one character.
    pub fn any_char(&mut self) {
        self.piece.0.push(Unit::AnyChar);
    }

    /// Any characters, or none.
    pub fn gap(&mut self) {
        self.done.push(std::mem::take(&mut self.piece));
    }

    pub fn finish(self) -> Wildcard {
        let mut pieces = self.done.into_iter();
        match pieces.next() {
            None => Wildcard { start: self.piece, middle: Vec::new(), end: None },
            Some(start) => {
                let middle = pieces.filter(|piece| !piece.0.is_empty()).collect();
                Wildcard { start, middle, end: Some(self.piece) }
            }
        }
    }
}

impl Wildcard {
    /// Whether all of `text` is as the pattern says.
    pub fn matches(&self, text: &str, budget: &mut Budget) -> Result<bool, Exhausted> {
        budget.charge_text(text.len())?;
        let Some(rest) = self.start.strip_prefix(text, budget)? else { return Ok(false) };
        let Some(end) = &self.end else { return Ok(rest.is_empty()) };
        let Some(mut rest) = end.strip_suffix(rest, budget)? else { return Ok(false) };
        for piece in &self.middle {
            match piece.skip_past(rest, budget)? {
                Some(after) => rest = after,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Piece {
    fn strip_prefix<'t>(&self, mut text: &'t str, budget: &mut Budget) -> Result<Option<&'t str>, Exhausted> {
        for unit in &self.0 {
            budget.charge(1)?;
            let rest = match unit {
                Unit::Text(wanted) => text.strip_prefix(wanted.as_str()),
                Unit::AnyChar => text.chars().next().map(|c| &text[c.len_utf8()..]),
            };
            match rest {
                Some(rest) => text = rest,
                None => return Ok(None),
            }
        }
        Ok(Some(text))
    }

    fn strip_suffix<'t>(&self, mut text: &'t str, budget: &mut Budget) -> Result<Option<&'t str>, Exhausted> {
        for unit in self.0.iter().rev() {
            budget.charge(1)?;
            let rest = match unit {
                Unit::Text(wanted) => text.strip_suffix(wanted.as_str()),
                Unit::AnyChar => text.chars().next_back().map(|c| &text[..text.len() - c.len_utf8()]),
            };
            match rest {
                Some(rest) => text = rest,
                None => return Ok(None),
            }
        }
        Ok(Some(text))
    }

    /// What follows the first place where the piece is.
    fn skip_past<'t>(&self, mut text: &'t str, budget: &mut Budget) -> Result<Option<&'t str>, Exhausted> {
        if let [Unit::Text(wanted)] = &*self.0 {
            return Ok(text.find(wanted.as_str()).map(|at| &text[at + wanted.len()..]));
        }
        loop {
            if let Some(rest) = self.strip_prefix(text, budget)? {
                return Ok(Some(rest));
            }
            match text.chars().next() {
                Some(c) => text = &text[c.len_utf8()..],
                None => return Ok(None),
            }
        }
    }
}
