//! When a version is taken back, tried with time and chance that are simulated.

use std::time::Duration;

use evoke_core::rollout::{Guard, Portion, Tally, Verdict, Window, judge};
use evoke_core::time::Timestamp;
use proptest::prelude::*;

fn tally(attempts: u64, errors: u64) -> Tally {
    Tally { attempts, errors }
}

fn goes(new: Tally, old: Tally) -> bool {
    judge(new, old, &Guard::default()) != Verdict::Keep
}

#[test]
fn a_broken_version_goes_as_soon_as_there_are_enough_attempts() {
    assert!(!goes(tally(19, 19), tally(0, 0)));
    assert!(goes(tally(20, 20), tally(0, 0)));
    assert!(goes(tally(20, 10), tally(400, 0)));
    // Also where there is next to nothing to compare with.
    assert!(goes(tally(20, 20), tally(1, 0)));
}

#[test]
fn a_few_errors_are_no_proof_and_a_rate_twice_the_bound_is_in_time() {
    assert!(!goes(tally(20, 2), tally(400, 0)));
    assert!(!goes(tally(100, 8), tally(1_000, 0)));
    assert!(goes(tally(1_000, 100), tally(1_000, 0)));
    assert!(!goes(tally(1_000_000, 49_999), tally(0, 0)));
}

#[test]
fn where_the_old_version_fails_as_often_nobody_is_taken_back() {
    assert!(!goes(tally(100, 40), tally(100, 40)));
    assert!(!goes(tally(1_000, 420), tally(1_000, 400)));
    assert!(goes(tally(1_000, 600), tally(1_000, 400)));
}

/// How many of `versions` with this rate of errors go within so many attempts, looked at after each.
fn share_taken_back(rate: f64, old: Tally, attempts: u64, versions: u32) -> f64 {
    let mut random = fastrand_like(7);
    let taken = (0..versions).filter(|_| {
        let mut errors = 0;
        (1..=attempts).any(|attempt| {
            errors += u64::from(random() < rate);
            goes(tally(attempt, errors), old)
        })
    });
    taken.count() as f64 / f64::from(versions)
}

/// A generator of numbers in [0, 1), for the sake of a test that is the same each time (Steele et al., SplitMix64).
fn fastrand_like(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn looking_after_each_attempt_takes_back_no_more_good_versions_than_is_said() {
    // At the bound itself, which is the worst that is still allowed.
    assert!(share_taken_back(0.05, tally(0, 0), 2_000, 400) <= 0.05);
    assert_eq!(share_taken_back(0.01, tally(0, 0), 2_000, 400), 0.0);
    // As bad as the one beside it.
    assert!(share_taken_back(0.3, tally(1_000, 300), 2_000, 400) <= 0.05);
}

#[test]
fn versions_that_are_too_bad_are_all_found() {
    assert_eq!(share_taken_back(0.5, tally(0, 0), 60, 400), 1.0);
    assert!(share_taken_back(0.2, tally(500, 5), 200, 400) > 0.97);
    assert!(share_taken_back(0.1, tally(500, 5), 1_000, 400) > 0.95);
}

#[test]
fn what_is_older_than_the_rule_looks_back_is_forgotten() {
    let mut window = Window::new(Duration::from_secs(100));
    window.note(true, Timestamp::from_millis(0));
    window.note(false, Timestamp::from_millis(95_000));
    assert_eq!(window.tally(Timestamp::from_millis(99_000)), tally(2, 1));
    assert_eq!(window.tally(Timestamp::from_millis(110_000)), tally(1, 0));
    assert_eq!(window.tally(Timestamp::from_millis(500_000)), tally(0, 0));
}

#[test]
fn a_clock_that_is_set_back_loses_nothing_and_holds_nothing_for_ever() {
    let mut window = Window::new(Duration::from_secs(100));
    window.note(true, Timestamp::from_millis(1_000_000));
    window.note(true, Timestamp::from_millis(5_000));
    assert_eq!(window.tally(Timestamp::from_millis(6_000)), tally(2, 2));
    assert_eq!(window.tally(Timestamp::from_millis(2_000_000)), tally(0, 0));
}

proptest! {
    #[test]
    fn more_errors_never_speak_for_a_version(
        attempts in 0_u64..5_000, errors in 0_u64..5_000, more in 0_u64..100, old in 0_u64..1_000, bad in 0_u64..1_000,
        percent in 1_u32..100, min in 1_u32..200,
    ) {
        let guard = Guard { errors: Portion::percent(percent.min(99)), min, ..Guard::default() };
        let (errors, old) = (errors.min(attempts), tally(old, bad.min(old)));
        let worse = (errors + more).min(attempts);
        let judge = |errors| judge(tally(attempts, errors), old, &guard) != Verdict::Keep;
        prop_assert!(!judge(errors) || judge(worse), "{errors} of {attempts} go and {worse} do not");
        prop_assert!(!judge(errors) || attempts >= u64::from(min));
        prop_assert!(!judge(errors) || errors as f64 / attempts as f64 > guard.errors.fraction());
    }

    #[test]
    fn a_window_counts_what_ended_within_its_time(times in prop::collection::vec(0_u64..300_000, 0..200)) {
        let mut times = times;
        times.sort_unstable();
        let mut window = Window::new(Duration::from_secs(100));
        times.iter().for_each(|at| window.note(false, Timestamp::from_millis(*at)));
        let now = times.last().copied().unwrap_or(0);
        let counted = window.tally(Timestamp::from_millis(now)).attempts;
        let since = |ms: u64| times.iter().filter(|at| **at >= now.saturating_sub(ms)).count() as u64;
        prop_assert!(since(100_000) <= counted && counted <= since(110_000));
    }
}
