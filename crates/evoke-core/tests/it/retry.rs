//! When a failed delivery is tried again.

use std::time::Duration;

use evoke_core::retry::{AfterFailure, Backoff, RetryPolicy};
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

proptest! {
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
