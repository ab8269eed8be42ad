//! An instance in somebody's hands.

use std::sync::Arc;

use evoke_core::runtime::Instance;

use super::Pool;
use super::state::Lane;

/// An instance, or a lane of one, with the right to use it for one attempt. Dropping it ends the instance if it was used.
pub(crate) struct Slot {
    /// Whether it was started for this attempt.
    pub cold: bool,
    /// Taken when it is given back.
    pub(super) lane: Option<Lane>,
    used: bool,
    pool: Arc<Pool>,
}

impl Slot {
    pub(super) fn new(pool: Arc<Pool>, lane: Lane, cold: bool) -> Self {
        Self { cold, lane: Some(lane), used: false, pool }
    }

    /// The instance. Panics after [`Slot::give_back`], which nobody can call before because it consumes the slot.
    pub fn instance(&mut self) -> &mut dyn Instance {
        self.used = true;
        let lane = self.lane.as_mut().expect("a slot has its instance until it is given back");
        lane.used = true;
        &mut *lane.instance
    }

    /// Gives the instance back; ends it when it cannot be used again.
    pub fn give_back(mut self) {
        if let Some(lane) = self.lane.take() {
            self.pool.put_back(lane, true);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            // Nobody knows what an instance was doing that was left in the middle of a call.
            self.pool.put_back(lane, !self.used);
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("cold", &self.cold).finish_non_exhaustive()
    }
}
