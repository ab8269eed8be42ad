//! How many retries there may be beside the first attempts.
//!
//! When what a function depends on is down, every delivery fails, and retries would be several times the load of a day on
//! which all is well, on something that is trying to get up. A budget makes them a small part of it: each first attempt pays a
//! fraction of a retry in, a few a second are free, and each retry takes one out. A retry that finds nothing left is
//! not given up: it waits for its turn, the next one behind it. The idea and the figures are those of Finagle
//! (<https://twitter.github.io/finagle/guide/Clients.html#retries>).

use std::time::Duration;

use crate::time::Timestamp;

/// What a budget allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetTerms {
    /// Retries that each first attempt allows.
    pub per_attempt: f64,
    /// Retries a second that are allowed in any case; above 0.
    pub per_second: f64,
    /// Retries that can be saved up, and so be made at once.
    pub saved_max: f64,
    /// The longest that a retry waits for its turn. Beyond that the budget gives way.
    pub wait_max: Duration,
}

impl Default for BudgetTerms {
    fn default() -> Self {
        Self { per_attempt: 0.2, per_second: 10.0, saved_max: 100.0, wait_max: Duration::from_secs(3_600) }
    }
}

/// The retries of one subscription: a token bucket whose debts are turns.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryBudget {
    terms: BudgetTerms,
    /// Retries that are left at `at`; below 0, retries that wait for their turn.
    left: f64,
    at: Timestamp,
}

impl RetryBudget {
    /// A budget nobody has used.
    pub const fn full(terms: BudgetTerms, now: Timestamp) -> Self {
        Self { terms, left: terms.saved_max, at: now }
    }

    /// Takes note of a first attempt.
    pub fn earn(&mut self, now: Timestamp) {
        self.pass(now);
        self.left = (self.left + self.terms.per_attempt).min(self.terms.saved_max);
    }

    /// Takes one retry out, and says how long it must wait for its turn: zero while there are some left.
    pub fn spend(&mut self, now: Timestamp) -> Duration {
        self.pass(now);
        let turn = Duration::try_from_secs_f64((1.0 - self.left).max(0.0) / self.terms.per_second)
            .unwrap_or(Duration::MAX);
        if turn > self.terms.wait_max {
            // Whoever comes now has the last turn there is, together with others.
            return self.terms.wait_max;
        }
        self.left -= 1.0;
        turn
    }

    /// Whether it is as one that nobody has used.
    pub fn is_full(&mut self, now: Timestamp) -> bool {
        self.pass(now);
        self.left >= self.terms.saved_max
    }

    fn pass(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_secs_f64() * self.terms.per_second;
        self.left = (self.left + passed).min(self.terms.saved_max);
        self.at = self.at.max(now);
    }
}
