//! An attempt as its run's record has it: taken up, then waiting for an instance, then running.

use evoke_core::outcome::Outcome;
use evoke_core::record::AttemptRecord;
use evoke_core::time::Timestamp;
use evoke_core::usage::Usage;
use tokio::time::Instant;

use super::Execution;
use crate::engine::Inner;
use crate::route::Target;

/// When an attempt was taken up, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub at: Timestamp,
    pub since: Instant,
}

impl Taken {
    pub fn now(inner: &Inner) -> Self {
        Self { at: inner.now(), since: Instant::now() }
    }

    /// The record of an attempt whose handler was never called. `target`: whose instance it waited for.
    pub fn unstarted(
        self,
        inner: &Inner,
        number: u32,
        target: Option<&Target>,
        outcome: Outcome,
    ) -> AttemptRecord {
        AttemptRecord {
            number,
            revision: target.map(|target| target.pool.spec.revision.clone()),
            started_at: self.at,
            ended_at: inner.now(),
            waited_us: self.since.elapsed().as_micros() as u64,
            ran_us: 0,
            usage: Usage::default(),
            cold: target.is_some(),
            outcome,
        }
    }
}

impl Execution {
    /// The record as it is now, if it ends with `outcome`.
    pub(super) fn record(&self, outcome: Outcome) -> AttemptRecord {
        AttemptRecord {
            number: self.attempt.number,
            revision: Some(self.attempt.target.pool.spec.revision.clone()),
            started_at: self.taken.at,
            ended_at: self.attempt.inner.now(),
            waited_us: self.started.duration_since(self.taken.since).as_micros() as u64,
            ran_us: self.started.elapsed().as_micros() as u64,
            usage: self.usage,
            cold: self.cold,
            outcome,
        }
    }
}
