//! How an attempt ends, and everything that happens with it in one transaction.

use super::{Append, Appended, Lease, StoreError, Write};
use crate::id::{AppName, RunId};
use crate::record::{RunRecord, RunState};
use crate::time::Timestamp;

/// How an attempt is to be ended, in one transaction.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The lease; `None` for a synchronous call, which has none.
    pub lease: Option<Lease>,
    /// What becomes of the invocation. A synchronous call is always `Complete`.
    pub verdict: Verdict,
    /// The run record to keep from now on. `None` leaves it as it is. Its state follows the verdict in either case: see
    /// [`Verdict::conclude`].
    pub run: Option<RunRecord>,
    /// What becomes of the others of a batch, in the same transaction.
    pub others: Vec<Conclusion>,
    /// State writes, in order. Empty unless the verdict is `Complete`.
    pub writes: Vec<Write>,
    /// Emitted events with the invocations they cause; or the event of the platform that tells of a dead letter.
    pub appends: Vec<Append>,
}

/// What becomes of one more invocation of a batch.
#[derive(Debug, Clone)]
pub struct Conclusion {
    /// Its lease.
    pub lease: Lease,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Its record from now on.
    pub run: Option<RunRecord>,
}

/// What becomes of a leased invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done; it leaves the queue.
    Complete,
    /// Try again, not before this time.
    Defer {
        /// When.
        until: Timestamp,
    },
    /// Give it back as if this attempt had not been made; due at once.
    Release,
    /// Give up; it becomes a dead letter.
    DeadLetter {
        /// One sentence.
        reason: String,
    },
}

/// How an invocation is to be ended before its time, in one transaction.
#[derive(Debug, Clone)]
pub struct Cancellation {
    /// Whose.
    pub app: AppName,
    /// Which.
    pub run: RunId,
    /// One sentence, for its record ([`RunRecord::cancel`]).
    pub reason: String,
    /// What tells of it.
    pub appends: Vec<Append>,
}

/// What a settlement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The new revision of each write, in order.
    pub revisions: Vec<u64>,
    /// The answer to each append, in order.
    pub appended: Vec<Appended>,
}

impl Settlement {
    /// Refuses what no settlement may be: effects without completion, a synchronous call that is not complete, the
    /// record of another run. Back ends call it first.
    pub fn check(&self) -> Result<(), StoreError> {
        self.appends.iter().try_for_each(Append::check)?;
        let complete = self.verdict == Verdict::Complete;
        // A dead letter has no effects, but there may be an event that says so.
        let may_append = complete || matches!(self.verdict, Verdict::DeadLetter { .. });
        if !(self.writes.is_empty() || complete) || !(self.appends.is_empty() || may_append) {
            return Err(StoreError::Invalid("a settlement with effects must be complete".to_owned()));
        }
        match (&self.lease, &self.run) {
            (None, _) if !complete => {
                Err(StoreError::Invalid("a settlement without a lease must be complete".to_owned()))
            }
            (Some(lease), Some(run)) if lease.run != run.id => Err(anothers(lease, run)),
            (None, _) if !self.others.is_empty() => {
                Err(StoreError::Invalid("a settlement of a batch must have a lease".to_owned()))
            }
            _ => self.check_others(),
        }
    }

    fn check_others(&self) -> Result<(), StoreError> {
        let mut seen: Vec<&RunId> = self.lease.iter().map(|lease| &lease.run).collect();
        for Conclusion { lease, run, .. } in &self.others {
            if let Some(run) = run.as_ref().filter(|run| run.id != lease.run) {
                return Err(anothers(lease, run));
            }
            if seen.contains(&&lease.run) {
                return Err(StoreError::Invalid(format!("the settlement has {} twice", lease.run)));
            }
            seen.push(&lease.run);
        }
        Ok(())
    }
}

fn anothers(lease: &Lease, run: &RunRecord) -> StoreError {
    StoreError::Invalid(format!("the settlement of {} carries the record of {}", lease.run, run.id))
}

impl Verdict {
    /// Makes `run` say what the verdict makes of it: its state, when it is due, when it ended. A completed record may
    /// say `Failed`, as those of synchronous calls do.
    pub fn conclude(&self, run: &mut RunRecord, now: Timestamp) {
        match self {
            Self::Complete => run.end(RunState::Completed, now),
            Self::DeadLetter { .. } => run.end(RunState::DeadLettered, now),
            Self::Defer { until } => run.wait(*until),
            Self::Release => run.wait(now),
        }
    }
}
