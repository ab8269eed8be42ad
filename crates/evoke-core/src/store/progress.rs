//! What the verbs of the store make of a run's record: waiting, running again, over.

use crate::outcome::{Failure, FailureCode, Outcome};
use crate::record::{AttemptRecord, RunRecord, RunState};
use crate::time::Timestamp;
use crate::usage::Usage;

impl RunRecord {
    /// Makes it queued, due at `due_at`.
    pub fn wait(&mut self, due_at: Timestamp) {
        self.state = RunState::Queued;
        self.due_at = Some(due_at);
        self.ended_at = None;
    }

    /// Makes it running; an attempt that was lost to the end of its lease is added.
    pub fn run_again(&mut self, lost: Option<AttemptRecord>) {
        self.state = RunState::Running;
        self.due_at = None;
        self.ended_at = None;
        lost.into_iter().for_each(|attempt| self.push_attempt(attempt));
    }

    /// Makes it failed because its event is no longer kept: it will never be attempted again. Says so as one more attempt,
    /// which was not made.
    pub fn expire(&mut self, now: Timestamp) {
        let message =
            "the event was no longer kept, although it was needed: the archive rule of its type says so";
        self.give_up(FailureCode::Expired, message, now);
    }

    /// Makes it failed because somebody let go of the dead letter it was. Says so as [`RunRecord::expire`] does.
    pub fn purge(&mut self, now: Timestamp) {
        self.give_up(FailureCode::Purged, "the dead letter was purged", now);
    }

    /// Makes it failed because somebody cancelled it. `open`: the attempt that nobody has settled, and since when; `held`:
    /// whether it was still being made. One that was not is added as lost, and before the next one was made it was cancelled.
    pub fn cancel(&mut self, reason: &str, open: Option<(u32, Timestamp)>, held: bool, now: Timestamp) {
        match open {
            Some((number, since)) if held => {
                let failure = Failure::new(FailureCode::CancelledByOperator, reason);
                self.push_attempt(AttemptRecord {
                    ran_us: now.since(since).as_micros() as u64,
                    outcome: Outcome::Failed(failure),
                    ..AttemptRecord::lost(number, since, now)
                });
                self.ended_at = None;
                return self.end(RunState::Failed, now);
            }
            Some((number, since)) => self.push_attempt(AttemptRecord::lost(number, since, now)),
            None => {}
        }
        self.give_up(FailureCode::CancelledByOperator, reason, now);
    }

    fn give_up(&mut self, code: FailureCode, message: &str, now: Timestamp) {
        let number = self.attempts.last().map_or(0, |attempt| attempt.number);
        self.push_attempt(AttemptRecord::rejected(number, Failure::new(code, message), now));
        // A dead letter had ended before, but not like this.
        self.ended_at = None;
        self.end(RunState::Failed, now);
    }

    pub(super) fn end(&mut self, state: RunState, now: Timestamp) {
        if !(state == RunState::Completed && self.state == RunState::Failed) {
            self.state = state;
        }
        self.due_at = None;
        self.ended_at.get_or_insert(now);
    }
}

impl AttemptRecord {
    /// One that was not made, for this reason.
    pub fn rejected(number: u32, failure: Failure, now: Timestamp) -> Self {
        Self { outcome: Outcome::Rejected(failure), ..Self::lost(number, now, now) }
    }

    /// An attempt nobody settled: leased at `since`, found lost at `now`.
    pub fn lost(number: u32, since: Timestamp, now: Timestamp) -> Self {
        Self {
            number,
            revision: None,
            started_at: since,
            ended_at: now,
            waited_us: 0,
            ran_us: 0,
            usage: Usage::default(),
            cold: false,
            outcome: Outcome::Lost,
        }
    }
}
