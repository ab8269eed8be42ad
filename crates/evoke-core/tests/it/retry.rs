//! When a failed delivery is tried again.

use std::time::Duration;

use evoke_core::retry::{AfterFailure, Backoff, BudgetTerms, RetryBudget, RetryPolicy};
use evoke_core::time::Timestamp;
use proptest::prelude::*;

#[test]
fn default_is_five_attempts_one_second_doubling() {
    let policy = RetryPolicy::default();
    let longest = |attempt| policy.after_failure(attempt, 1.0);
    assert_eq!(longest(1), AfterFailure::RetryAfter(Duration::from_secs(1)));
    assert_eq!(longest(2), AfterFailure::RetryAfter(Duration::from_secs(2)));
    assert_eq!(longest(4), AfterFailure::RetryAfter(Duration::from_secs(8)));
    assert_eq!(longest(5), AfterFailure::GiveUp);
    assert_eq!(longest(u32::MAX), AfterFailure::GiveUp);
}

#[test]
fn one_attempt_is_never_repeated() {
    let policy = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    assert_eq!(policy.after_failure(1, 0.5), AfterFailure::GiveUp);
}

#[test]
fn fixed_pauses_are_exact() {
    let policy =
        RetryPolicy { backoff: Backoff::Fixed, initial: Duration::from_secs(7), ..RetryPolicy::default() };
    for random in [0.0, 0.5, 0.999] {
        assert_eq!(policy.after_failure(3, random), AfterFailure::RetryAfter(Duration::from_secs(7)));
    }
}

#[test]
fn json_has_units() {
    let json = serde_json::json!({ "attempts": 5, "backoff": "exponential", "initial": "1s", "max": "5m" });
    assert_eq!(serde_json::to_value(RetryPolicy::default()).unwrap(), json);
    assert_eq!(serde_json::from_value::<RetryPolicy>(json).unwrap(), RetryPolicy::default());
}

const START: Timestamp = Timestamp(1_700_000_000_000_000);

#[test]
fn retries_are_free_until_the_budget_is_used_up_and_then_have_turns() {
    let terms = BudgetTerms { saved_max: 3.0, per_second: 2.0, ..BudgetTerms::default() };
    let mut budget = RetryBudget::full(terms, START);
    let waits: Vec<_> = (0..6).map(|_| budget.spend(START).as_millis()).collect();
    assert_eq!(waits, [0, 0, 0, 500, 1_000, 1_500]);
    // Its turns have passed, and one more.
    assert_eq!(budget.spend(START.after(Duration::from_secs(2))), Duration::ZERO);
    assert!(!budget.is_full(START.after(Duration::from_secs(3))));
    assert!(budget.is_full(START.after(Duration::from_secs(10))));
}

#[test]
fn five_first_attempts_allow_one_retry() {
    let terms = BudgetTerms { saved_max: 1.0, ..BudgetTerms::default() };
    let mut budget = RetryBudget::full(terms, START);
    assert_eq!(budget.spend(START), Duration::ZERO);
    for _ in 0..5 {
        budget.earn(START);
    }
    assert_eq!(budget.spend(START), Duration::ZERO);
    assert!(budget.spend(START) > Duration::ZERO);
}

#[test]
fn nobody_waits_longer_than_the_longest_wait() {
    let terms = BudgetTerms { saved_max: 1.0, wait_max: Duration::from_secs(1), ..BudgetTerms::default() };
    let mut budget = RetryBudget::full(terms, START);
    for _ in 0..1_000 {
        assert!(budget.spend(START) <= Duration::from_secs(1));
    }
    assert_eq!(budget.spend(START.after(Duration::from_secs(2))), Duration::ZERO, "and it recovers");
}

proptest! {
    /// Whatever comes when: in no span of time are there more retries than what was saved, what the span allows, and what
    /// the first attempts since the beginning have paid in.
    #[test]
    fn retries_of_any_span_are_within_the_budget(
        steps in prop::collection::vec((0..400_000_u64, any::<bool>()), 1..100),
        saved_max in 1..50_u32, per_second in 1..50_u32,
    ) {
        let terms = BudgetTerms {
            saved_max: saved_max.into(),
            per_second: per_second.into(),
            wait_max: Duration::from_secs(1_000_000),
            ..BudgetTerms::default()
        };
        let mut budget = RetryBudget::full(terms, START);
        let (mut now, mut paid, mut turns) = (START, Vec::new(), Vec::new());
        for (pause_us, first) in steps {
            now = Timestamp(now.0 + pause_us);
            if first {
                budget.earn(now);
                paid.push(now);
            } else {
                turns.push(now.after(budget.spend(now)));
            }
        }
        turns.sort();
        for (n, from) in turns.iter().enumerate() {
            for (m, to) in turns.iter().enumerate().skip(n) {
                let earned = paid.iter().filter(|at| *at <= to).count() as f64 * terms.per_attempt;
                let span = to.since(*from).as_secs_f64() * terms.per_second;
                let most = terms.saved_max + span + earned + 0.001;
                prop_assert!((m - n + 1) as f64 <= most, "{} retries between {from} and {to}: {most}", m - n + 1);
            }
        }
    }

    #[test]
    fn a_budget_whose_clock_goes_back_neither_panics_nor_gives_more(times in prop::collection::vec(0..10_000_000_u64, 1..100)) {
        let mut budget = RetryBudget::full(BudgetTerms { saved_max: 5.0, ..BudgetTerms::default() }, Timestamp(5_000_000));
        let free = times.iter().filter(|at| budget.spend(Timestamp(**at)) == Duration::ZERO).count();
        prop_assert!(free <= 5 + 51, "{free}");
    }

    #[test]
    fn pauses_are_bounded_and_grow_with_the_random_number(
        attempts in 1..=100_u32, attempt in 1..=200_u32, initial in 1..=86_400_000_u64, max in 1..=86_400_000_u64,
        low in 0.0..1.0_f64, high in 0.0..1.0_f64,
    ) {
        let policy = RetryPolicy {
            attempts,
            backoff: Backoff::Exponential,
            initial: Duration::from_millis(initial),
            max: Duration::from_millis(max),
        };
        match (policy.after_failure(attempt, low.min(high)), policy.after_failure(attempt, low.max(high))) {
            (AfterFailure::GiveUp, AfterFailure::GiveUp) => prop_assert!(attempt >= attempts),
            (AfterFailure::RetryAfter(shorter), AfterFailure::RetryAfter(longer)) => {
                prop_assert!(attempt < attempts);
                prop_assert!(shorter <= longer && longer <= policy.max);
            }
            mixed => prop_assert!(false, "the random number changed the decision: {mixed:?}"),
        }
    }
}
