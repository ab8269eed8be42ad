//! How a function has been doing: what counts as failing, and as recovered.

use evoke_core::outcome::Outcome;
use evoke_core::time::Timestamp;
use parking_lot::Mutex;

/// Attempts that fail in a row before the function counts as failing.
pub(super) const FAILING: u32 = 3;

/// What the attempts of one function came to, across its revisions, since the server started.
#[derive(Default)]
pub(crate) struct Health(Mutex<Streak>);

/// Attempts that failed one after the other.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Streak {
    pub failed: u32,
    /// When the first of them ended.
    pub since: Timestamp,
}

/// What an attempt changed.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It was the last of as many failed ones as it takes.
    Failing(Streak),
    /// It succeeded, and ended this.
    Recovered(Streak),
}

impl Health {
    /// Notes how an attempt ended.
    pub(super) fn note(&self, outcome: &Outcome, at: Timestamp) -> Option<Change> {
        let mut streak = self.0.lock();
        if outcome.is_well()? {
            let former = std::mem::take(&mut *streak);
            return (former.failed >= FAILING).then_some(Change::Recovered(former));
        }
        if streak.failed == 0 {
            streak.since = at;
        }
        streak.failed = streak.failed.saturating_add(1);
        (streak.failed == FAILING).then_some(Change::Failing(*streak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evoke_core::outcome::{Failure, FailureCode};

    const DONE: Outcome = Outcome::Completed { status: None };

    fn failed(code: FailureCode) -> Outcome {
        Outcome::Failed(Failure::new(code, "no"))
    }

    #[test]
    fn three_failures_in_a_row_are_failing_once_and_one_success_ends_it() {
        let health = Health::default();
        let mut now = 0;
        let mut note = |outcome: &Outcome| {
            now += 1;
            health.note(outcome, Timestamp(now))
        };
        let crash = failed(FailureCode::Crashed);
        assert_eq!([&crash, &crash, &DONE, &crash, &crash].map(&mut note), [const { None }; 5]);
        assert_eq!(note(&crash), Some(Change::Failing(Streak { failed: 3, since: Timestamp(4) })));
        assert_eq!(note(&crash), None);
        assert_eq!(note(&DONE), Some(Change::Recovered(Streak { failed: 4, since: Timestamp(4) })));
        assert_eq!(note(&DONE), None);
    }

    #[test]
    fn what_says_nothing_of_the_function_changes_nothing() {
        let health = Health::default();
        let crash = Outcome::TimedOut { after_ms: 5, of_caller: false };
        let others = [failed(FailureCode::Cancelled), failed(FailureCode::Overloaded), Outcome::Lost];
        assert!(health.note(&crash, Timestamp(1)).is_none());
        assert!(health.note(&Outcome::Completed { status: Some(500) }, Timestamp(2)).is_none());
        assert!(others.iter().all(|other| health.note(other, Timestamp(3)).is_none()));
        assert!(matches!(health.note(&crash, Timestamp(4)), Some(Change::Failing(_))));
    }
}
