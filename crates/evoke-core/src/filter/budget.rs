//! What one evaluation may cost.

use super::bounds::WORK_MAX;

/// What is left of [`WORK_MAX`].
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
}

/// The evaluation costs more than any filter should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub fn new() -> Self {
        Self { left: WORK_MAX }
    }

    /// Takes units of work.
    pub fn charge(&mut self, units: usize) -> Result<(), Exhausted> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.left = self.left.checked_sub(units).ok_or(Exhausted)?;
        Ok(())
    }

    /// Takes what reading or making so much text costs.
    pub fn charge_text(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.charge(1 + bytes / 16)
    }
}
