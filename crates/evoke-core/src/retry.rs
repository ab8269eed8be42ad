//! When a failed delivery is tried again.

mod budget;

pub use budget::{BudgetTerms, RetryBudget};

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A subscription's retry policy. The default: 5 attempts, exponential from 1 s, full jitter, at most 5 min apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// How the pauses grow.
    pub backoff: Backoff,
    /// The first pause.
    #[serde(with = "crate::manifest::units::duration_text")]
    pub initial: Duration,
    /// The longest pause.
    #[serde(with = "crate::manifest::units::duration_text")]
    pub max: Duration,
}

/// How pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// `initial · 2^(n-1)` up to `max`, times a random factor in `[0, 1)` ("full jitter",
    /// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
    Exponential,
    /// Always `initial`, exactly.
    Fixed,
    /// The schedule of Standard Webhooks: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and from then on 24 h, none longer
    /// than `max`, each up to a tenth shorter or longer. `initial` has no meaning.
    StandardWebhooks,
}

/// The pauses of [`Backoff::StandardWebhooks`], seconds. The last goes on.
const STANDARD_WEBHOOKS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Backoff::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// That of hooks: 10 attempts over three days, by the schedule of Standard Webhooks.
    pub fn standard_webhooks() -> Self {
        let [first, .., last] = STANDARD_WEBHOOKS;
        Self {
            attempts: STANDARD_WEBHOOKS.len() as u32 + 1,
            backoff: Backoff::StandardWebhooks,
            initial: Duration::from_secs(first),
            max: Duration::from_secs(last),
        }
    }
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again after this pause.
    RetryAfter(Duration),
    /// That was the last attempt.
    GiveUp,
}

impl RetryPolicy {
    /// Decides after attempt number `attempt` (from 1) failed; `random` is uniform in `[0, 1)`.
    pub fn after_failure(&self, attempt: u32, random: f64) -> AfterFailure {
        if attempt >= self.attempts {
            return AfterFailure::GiveUp;
        }
        let pause = match self.backoff {
            Backoff::Fixed => self.initial.min(self.max),
            Backoff::Exponential => {
                let doublings = attempt.saturating_sub(1).min(63);
                let micros =
                    self.initial.as_micros().saturating_mul(1_u128 << doublings).min(self.max.as_micros());
                Duration::from_micros((micros as f64 * random.clamp(0.0, 1.0)) as u64)
            }
            Backoff::StandardWebhooks => {
                let at = (attempt.saturating_sub(1) as usize).min(STANDARD_WEBHOOKS.len() - 1);
                let pause = Duration::from_secs(STANDARD_WEBHOOKS[at]).min(self.max);
                pause.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
            }
        };
        AfterFailure::RetryAfter(pause)
    }
}
