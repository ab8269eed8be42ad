//! What a hall knows of a door: who waits there, by kind of work, and how fast it goes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::TYPICAL;
use crate::admission::claim::Claim;
use crate::admission::line::Waiter;
use crate::admission::pace::{Pace, Service};
use crate::admission::{Kind, Terms};

/// The least time that calls may wait while more come than go.
const STANDING_MIN: Duration = Duration::from_millis(5);

pub(in crate::admission) struct DoorState {
    pub(in crate::admission) app: usize,
    pub(in crate::admission) terms: Terms,
    pub(in crate::admission) closed: bool,
    pub(in crate::admission) running: usize,
    /// Calls by running functions, which wait in the hall's own line.
    pub(super) inner: usize,
    pub(super) lanes: [Lane; Kind::COUNT],
    pub(in crate::admission) service: Service,
}

pub(super) struct Lane {
    pub(super) line: VecDeque<Waiter>,
    pub(super) claim: Claim,
    pub(super) pace: Pace,
    pub(super) listed: bool,
}

impl DoorState {
    pub(in crate::admission) fn is_full(&self) -> bool {
        self.running >= self.terms.concurrency
    }

    /// Sync calls that wait here.
    pub(in crate::admission) fn waiting_calls(&self) -> usize {
        self.lanes[Kind::Sync.at()].line.len() + self.inner
    }

    pub(super) fn sync(&mut self) -> &mut Lane {
        &mut self.lanes[Kind::Sync.at()]
    }

    /// How long calls may wait while more come than go: as long as one takes.
    pub(super) fn standing(&self) -> Duration {
        self.service.mean().unwrap_or(TYPICAL).max(STANDING_MIN)
    }

    /// The kind that has had least of this door, of those that wait.
    pub(super) fn turn(&mut self, since: Instant, now: Instant) -> Option<Kind> {
        let typical = self.service.mean().unwrap_or(TYPICAL);
        let waiting = Kind::ALL.into_iter().zip(&mut self.lanes).filter(|(_, lane)| !lane.line.is_empty());
        let turns = waiting.map(|(kind, lane)| {
            lane.claim.count(since, now);
            (lane.claim.turn(typical), kind)
        });
        turns.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, kind)| kind)
    }
}
