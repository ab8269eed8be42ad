//! What a node has for attempts, and how much of it is in use: places and memory of instances, and a number of attempts.

use evoke_core::limits::Limits;

use super::Bound;

/// Of what is there, one part in so many is kept for calls that running functions make, where there are such calls.
const KEPT_SHIFT: u32 = 3;

/// The bounds of a node and what is used of them.
pub(super) struct Room {
    places: u64,
    bytes: u64,
    running_max: usize,
    pub waiting_max: usize,
    pub waiting_bytes_max: u64,
    used: Need,
    pub running: usize,
}

/// Instances, and the memory that is set aside for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub places: u64,
    pub bytes: u64,
}

impl Need {
    pub const NONE: Self = Self { places: 0, bytes: 0 };
}

impl Room {
    pub fn new(limits: &Limits) -> Self {
        Self {
            places: limits.instances as u64,
            bytes: limits.instance_bytes,
            running_max: limits.running,
            waiting_max: limits.waiting_calls_all,
            waiting_bytes_max: limits.waiting_bytes,
            used: Need::NONE,
            running: 0,
        }
    }

    /// A function needs `then` instead of `now`.
    pub fn change(&mut self, now: Need, then: Need) {
        self.used.places = self.used.places - now.places + then.places;
        self.used.bytes = self.used.bytes - now.bytes + then.bytes;
    }

    /// Whether there is room for one more attempt, with which its function needs `then` instead of `now`.
    ///
    /// Calls that running functions make (`inner`: how many calls lie above) may use all but an ever smaller part: what waits
    /// at any depth waits for something that has room to end. They are not counted against the number of attempts, since what
    /// made them holds that already. With `kept`, others leave that part alone.
    pub fn fits(&self, now: Need, then: Need, inner: Option<usize>, kept: bool) -> bool {
        if inner.is_none() && self.running >= self.running_max {
            return false;
        }
        if now == then {
            return true;
        }
        let keep = |all: u64| match inner {
            None if !kept => 0,
            None => all >> KEPT_SHIFT,
            Some(depth) => {
                (all >> KEPT_SHIFT).checked_shr(u32::try_from(depth).unwrap_or(u32::MAX)).unwrap_or(0)
            }
        };
        let places = self.used.places - now.places + then.places;
        let bytes = self.used.bytes - now.bytes + then.bytes;
        let fits =
            places + keep(self.places) <= self.places && bytes.saturating_add(keep(self.bytes)) <= self.bytes;
        // What is as large as the node, or never fits, is not kept waiting here: its pool says so.
        fits || self.running == 0
    }

    /// What there is not enough of.
    pub fn bound(&self, now: Need, then: Need) -> Bound {
        if self.running >= self.running_max {
            Bound::NodeConcurrency(self.running_max)
        } else if self.used.places - now.places + then.places > self.places - (self.places >> KEPT_SHIFT) {
            Bound::Instances(self.places)
        } else {
            Bound::InstanceBytes(self.bytes)
        }
    }
}
