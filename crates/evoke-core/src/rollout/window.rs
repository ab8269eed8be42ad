//! Counts of the last while, forgotten in steps.

use std::collections::VecDeque;
use std::time::Duration;

use super::Tally;
use crate::time::Timestamp;

/// Parts that the time looked back on is counted in; the oldest goes as a whole.
const PARTS: u32 = 10;

/// How attempts ended within the last while. Holds at most one more part than the time has.
#[derive(Debug, Clone)]
pub struct Window {
    part_ms: u64,
    parts: VecDeque<(u64, Tally)>,
}

impl Window {
    /// Of this length.
    pub fn new(within: Duration) -> Self {
        let part_ms = u64::try_from((within / PARTS).as_millis()).unwrap_or(u64::MAX).max(1);
        Self { part_ms, parts: VecDeque::new() }
    }

    /// Counts an attempt that ended at `at`.
    pub fn note(&mut self, failed: bool, at: Timestamp) {
        let one = Tally { attempts: 1, errors: u64::from(failed) };
        let part = self.part(at);
        match self.parts.back_mut() {
            // A clock that was set back changes the newest part, not the order.
            Some((newest, tally)) if *newest >= part => *tally = tally.and(one),
            _ => self.parts.push_back((part, one)),
        }
        self.forget(at);
    }

    /// All that is counted at `now`.
    pub fn tally(&mut self, now: Timestamp) -> Tally {
        self.forget(now);
        self.parts.iter().fold(Tally::default(), |all, (_, tally)| all.and(*tally))
    }

    fn part(&self, at: Timestamp) -> u64 {
        at.as_millis() / self.part_ms
    }

    fn forget(&mut self, now: Timestamp) {
        let oldest = self.part(now).saturating_sub(u64::from(PARTS));
        while self.parts.front().is_some_and(|(part, _)| *part < oldest) {
            self.parts.pop_front();
        }
    }
}
