//! Whether an invocation is attempted again, and when: the policy of its subscription says, and the budget of all its
//! retries may put it off.

use std::collections::BTreeMap;
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::outcome::Outcome;
use evoke_core::record::{LogRecord, LogStream};
use evoke_core::retry::{BudgetTerms, RetryBudget, RetryPolicy};
use evoke_core::store::{Leased, Queue, Verdict};
use evoke_core::time::Timestamp;
use parking_lot::Mutex;

use crate::engine::Inner;
use crate::settle;

/// With so many budgets in use, those that are full again are let go.
const BUDGETS_KEPT: usize = 1_024;

/// The budgets of queues that have retries; the others are full.
#[derive(Default)]
pub(crate) struct Budgets(Mutex<BTreeMap<Queue, RetryBudget>>);

impl Budgets {
    /// Forgets those of an app.
    pub fn forget(&self, app: &AppName) {
        self.0.lock().retain(|queue, _| queue.app != *app);
    }

    /// Takes note of a first attempt of `queue`.
    fn earn(&self, queue: &Queue, now: Timestamp) {
        if let Some(budget) = self.0.lock().get_mut(queue) {
            budget.earn(now);
        }
    }

    /// Takes a retry out; how long it must wait for its turn.
    fn spend(&self, queue: Queue, now: Timestamp) -> Duration {
        let mut budgets = self.0.lock();
        if budgets.len() >= BUDGETS_KEPT {
            budgets.retain(|_, budget| !budget.is_full(now));
        }
        let full = || RetryBudget::full(BudgetTerms::default(), now);
        budgets.entry(queue).or_insert_with(full).spend(now)
    }
}

impl Inner {
    /// Decides what becomes of `leased`, whose attempt ended with `outcome`.
    pub fn decide(&self, leased: &Leased, outcome: &Outcome, policy: &RetryPolicy) -> Verdict {
        let now = self.steady();
        let verdict = settle::decide(outcome, policy, leased.attempt, self.random(), now);
        if leased.attempt == 1 && verdict != Verdict::Release {
            self.budgets.earn(&Queue::of(&leased.run), now);
        }
        let Verdict::Defer { until } = verdict else { return verdict };
        let turn = now.after(self.budgets.spend(Queue::of(&leased.run), now));
        if turn <= until {
            return Verdict::Defer { until };
        }
        self.tell_put_off(leased, turn.since(now), turn.since(until));
        Verdict::Defer { until: turn }
    }

    fn tell_put_off(&self, leased: &Leased, pause: Duration, longer: Duration) {
        let run = &leased.run;
        self.recorder.log(LogRecord {
            at: self.now(),
            run: run.id.clone(),
            app: run.app.clone(),
            function: run.function.clone(),
            attempt: leased.attempt,
            stream: LogStream::Platform,
            line: format!(
                "the next attempt is made in {:.1} s, {:.1} s later than the policy says: the budget of retries is used up",
                pause.as_secs_f64(),
                longer.as_secs_f64()
            ),
        });
    }
}
