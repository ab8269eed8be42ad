//! Whether a new version fails too often to stay, judged after each attempt, by what was counted so far.
//!
//! Whoever looks after each attempt, and stops at the first look that seems bad enough, is fooled by chance sooner or later:
//! a test made for one look is wrong for many. So the evidence is a mixture of likelihood ratios, each the bet that attempts
//! fail with a certain higher probability. Under the rate that is allowed it is a supermartingale that begins at 1, and by
//! Ville's inequality it ever reaches 1/α with a probability of at most α, however often it is looked at (Wald's sequential
//! test with a mixture: Robbins, "Statistical methods related to the law of the iterated logarithm", 1970).
//!
//! What is allowed is the larger of the bound and what the version beside it may fail with, the upper end of its Wilson
//! interval: where both fail because something behind them does, nobody is taken back.

use super::Guard;

/// How often attempts were made, and how many of them failed by the function's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Attempts that say something of the function: completed, or failed by its own doing. An answer below 500 is completed.
    pub attempts: u64,
    /// Those that failed.
    pub errors: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(other.attempts),
            errors: self.errors.saturating_add(other.errors),
        }
    }

    /// The part that failed; 0 of none.
    pub fn rate(self) -> f64 {
        if self.attempts == 0 { 0.0 } else { self.errors as f64 / self.attempts as f64 }
    }
}

/// What is to become of the new version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It stays: there is too little to go by, or nothing against it.
    Keep,
    /// It goes.
    RollBack {
        /// The rate of errors that would have been allowed.
        allowed: f64,
    },
}

/// How likely it is at most that a version which fails no more often than it may is ever taken back for one function's sake.
pub const CHANCE_OF_MISTAKE: f64 = 0.05;
/// 95 % one-sided.
const Z: f64 = 1.645;
/// The alternatives, as multiples of the allowed odds: from half as bad again to hopeless.
const ODDS: [f64; 7] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];
/// Where no error is expected, one in a thousand is no proof yet; and a rate of 1 would allow everything.
const ALLOWED_MIN: f64 = 0.001;
const ALLOWED_MAX: f64 = 0.999;

/// Judges one function: what the new version of it did, and the old one in the same time (or before, where the new one has
/// all the work). Nothing of `old` is nothing to compare with: then the bound alone counts.
pub fn judge(new: Tally, old: Tally, guard: &Guard) -> Verdict {
    if new.attempts < u64::from(guard.min) || new.errors == 0 {
        return Verdict::Keep;
    }
    let allowed = guard.errors.fraction().max(upper(old)).clamp(ALLOWED_MIN, ALLOWED_MAX);
    if new.rate() > allowed && evidence(new, allowed) >= -CHANCE_OF_MISTAKE.ln() {
        Verdict::RollBack { allowed }
    } else {
        Verdict::Keep
    }
}

/// The rate of errors that it may really have: the upper end of the Wilson score interval (1927). 0 of no attempts.
fn upper(tally: Tally) -> f64 {
    if tally.attempts == 0 {
        return 0.0;
    }
    let (n, p) = (tally.attempts as f64, tally.rate());
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    (p + Z * Z / (2.0 * n) + spread) / (1.0 + Z * Z / n)
}

/// The logarithm of how much better the counts are explained by higher rates than by `allowed`.
fn evidence(counts: Tally, allowed: f64) -> f64 {
    let errors = counts.errors as f64;
    let others = counts.attempts.saturating_sub(counts.errors) as f64;
    let ratios = ODDS.map(|times| {
        let odds = times * allowed / (1.0 - allowed);
        let rate = odds / (1.0 + odds);
        errors * (rate / allowed).ln() + others * ((1.0 - rate) / (1.0 - allowed)).ln()
    });
    // Summed as powers of the largest: no count is too large for that.
    let most = ratios.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = ratios.into_iter().map(|ratio| (ratio - most).exp()).sum();
    most + (sum / ODDS.len() as f64).ln()
}
