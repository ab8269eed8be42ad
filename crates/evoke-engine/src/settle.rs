//! What becomes of an invocation after an attempt: a pure decision.

use evoke_core::outcome::{FailureCode, Outcome};
use evoke_core::retry::{AfterFailure, RetryPolicy};
use evoke_core::store::Verdict;
use evoke_core::time::Timestamp;

/// Decides what becomes of a leased invocation whose attempt number `attempt` ended with `outcome`.
/// `random` is uniform in `[0, 1)`.
pub(crate) fn decide(
    outcome: &Outcome,
    policy: &RetryPolicy,
    attempt: u32,
    random: f64,
    now: Timestamp,
) -> Verdict {
    match outcome {
        Outcome::Completed { .. } => Verdict::Complete,
        // There was nothing to do.
        Outcome::Rejected(failure) if failure.code == FailureCode::Filtered => Verdict::Complete,
        // The server is going away: another one, or this one after its restart, makes the attempt.
        Outcome::Rejected(failure) if failure.code == FailureCode::Draining => Verdict::Release,
        // Trying again cannot help until somebody deploys, or changes a bound; the dead letter waits for that.
        Outcome::Failed(failure) | Outcome::Rejected(failure)
            if matches!(failure.code, FailureCode::NotDeployed | FailureCode::LoopDetected) =>
        {
            Verdict::DeadLetter { reason: outcome.reason() }
        }
        // Whoever was to get it wants nothing more. The dead letter can be redriven once that has changed.
        Outcome::Failed(failure) | Outcome::Rejected(failure)
            if matches!(failure.code, FailureCode::Gone | FailureCode::Disabled) =>
        {
            Verdict::DeadLetter { reason: outcome.reason() }
        }
        Outcome::Failed(_) | Outcome::TimedOut { .. } | Outcome::Rejected(_) | Outcome::Lost => {
            match policy.after_failure(attempt, random) {
                AfterFailure::RetryAfter(pause) => {
                    let asked = outcome.retry_after().unwrap_or_default();
                    Verdict::Defer { until: now.after(pause.max(asked)) }
                }
                AfterFailure::GiveUp => {
                    let times =
                        if attempt == 1 { "one attempt".to_owned() } else { format!("{attempt} attempts") };
                    Verdict::DeadLetter { reason: format!("given up after {times}: {}", outcome.reason()) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evoke_core::outcome::Failure;
    use std::time::Duration;

    fn failed(code: FailureCode) -> Outcome {
        Outcome::Failed(Failure::new(code, "no"))
    }

    #[test]
    fn a_failure_is_deferred_until_the_policy_is_exhausted_and_then_one_dead_letter() {
        let policy = RetryPolicy { attempts: 3, ..RetryPolicy::default() };
        let now = Timestamp(1_000_000);
        let verdict = |attempt| decide(&failed(FailureCode::Crashed), &policy, attempt, 0.5, now);
        assert_eq!(verdict(1), Verdict::Defer { until: now.after(Duration::from_millis(500)) });
        assert_eq!(verdict(2), Verdict::Defer { until: now.after(Duration::from_secs(1)) });
        assert_eq!(
            verdict(3),
            Verdict::DeadLetter { reason: "given up after 3 attempts: crashed: no".to_owned() }
        );
    }

    #[test]
    fn a_drained_attempt_is_released_and_one_without_a_function_is_a_dead_letter_at_once() {
        let policy = RetryPolicy::default();
        let rejected = |code| Outcome::Rejected(Failure::new(code, "x"));
        assert_eq!(decide(&rejected(FailureCode::Draining), &policy, 1, 0.0, Timestamp(0)), Verdict::Release);
        let verdict = decide(&rejected(FailureCode::NotDeployed), &policy, 1, 0.0, Timestamp(0));
        assert!(matches!(verdict, Verdict::DeadLetter { .. }));
    }
}
