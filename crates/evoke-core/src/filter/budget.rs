//! What evaluations may cost: one of them, and all those that the events of one publish meet.

use super::Decision;
use super::bounds::{WORK_MAX, WORK_OWN};

/// What all filters have together for the events that are accepted at once, so that a few expensive ones do not hold up
/// everybody else. Each evaluation has [`WORK_OWN`] to itself; what it takes beyond that is taken from here.
#[derive(Debug)]
pub struct Allowance {
    /// `None` is without end.
    left: Option<u32>,
}

impl Allowance {
    /// So many units of work.
    pub const fn new(units: u32) -> Self {
        Self { left: Some(units) }
    }

    /// Each evaluation has all that one may take: nothing stays open.
    pub const fn unlimited() -> Self {
        Self { left: None }
    }

    /// Makes one evaluation with what is left.
    pub(super) fn evaluate(&mut self, passes: impl FnOnce(&mut Budget) -> bool) -> Decision {
        let lent = self.left.map_or(WORK_MAX, |left| left.saturating_add(WORK_OWN).min(WORK_MAX));
        let mut budget = Budget { left: lent, exhausted: false };
        let passed = passes(&mut budget);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub((lent - budget.left).saturating_sub(WORK_OWN));
        }
        match passed {
            true => Decision::Takes,
            false if budget.exhausted && lent < WORK_MAX => Decision::Open,
            false => Decision::Leaves,
        }
    }
}

/// What is left for one evaluation.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    exhausted: bool,
}

/// The evaluation costs more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub fn new() -> Self {
        Self { left: WORK_MAX, exhausted: false }
    }

    /// Takes units of work.
    pub fn charge(&mut self, units: usize) -> Result<(), Exhausted> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                (self.left, self.exhausted) = (0, true);
                Err(Exhausted)
            }
        }
    }

    /// Takes what reading or making so much text costs.
    pub fn charge_text(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.charge(1 + bytes / 16)
    }
}
