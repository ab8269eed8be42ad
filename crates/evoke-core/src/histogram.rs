//! How long things took, in fixed space: counts of times by their order of magnitude.
//!
//! Each power of two of microseconds is divided in eight, so that a percentile is at most an eighth above the true one, and on
//! average a sixteenth. 225 counts reach from a microsecond to 17 minutes, longer than any function may take; more is in the last one. The longest is kept
//! exactly. (HdrHistogram, the model of it, with less precision; kept windows of many routes are what makes its size matter.)

use std::time::Duration;

/// Parts of each power of two.
const PARTS: u64 = 8;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// Counts.
const BUCKETS: usize = 225;

/// Counts of times. 908 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u32; BUCKETS],
    longest_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], longest_us: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let count = &mut self.counts[bucket(us)];
        *count = count.saturating_add(1);
        self.longest_us = self.longest_us.max(us);
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.longest_us = self.longest_us.max(other.longest_us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// What so many of a hundred took at most, rounded up to the next bound; `None` when nothing was counted.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let all = self.count();
        if all == 0 {
            return None;
        }
        let rank = ((percent / 100.0 * all as f64).ceil() as u64).clamp(1, all);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        let bound = found.map_or(u64::MAX, |at| if at == BUCKETS - 1 { u64::MAX } else { upper(at) });
        Some(Duration::from_micros(bound.min(self.longest_us)))
    }

    /// The longest, exactly.
    pub fn longest(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_micros(self.longest_us))
    }
}

fn bucket(us: u64) -> usize {
    if us < PARTS {
        return us as usize;
    }
    let power = us.ilog2();
    let part = (us >> (power - PART_BITS)) & (PARTS - 1);
    let at = u64::from(power - PART_BITS + 1) * PARTS + part;
    (at as usize).min(BUCKETS - 1)
}

/// The largest number of microseconds that is counted there.
fn upper(at: usize) -> u64 {
    let (power, part) = (at as u64 / PARTS, at as u64 % PARTS);
    if power == 0 {
        return part;
    }
    let shift = power - 1;
    ((PARTS + part + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_time_is_within_the_bounds_of_its_count() {
        let mut before = None;
        for at in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper(at)), at);
            assert_eq!(bucket(before.map_or(0, |us: u64| us + 1)), at);
            before = Some(upper(at));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!(upper(BUCKETS - 2) > 17 * 60 * 1_000_000, "{}", upper(BUCKETS - 2));
    }

    #[test]
    fn nothing_has_no_percentile_and_the_longest_is_exact() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.percentile(50.0), histogram.longest()), (None, None));
        let long = Duration::from_micros(1_234_567);
        histogram.record(long);
        assert_eq!((histogram.percentile(50.0), histogram.longest()), (Some(long), Some(long)));
        histogram.record(Duration::from_secs(3_600));
        assert_eq!(histogram.percentile(99.0), Some(Duration::from_secs(3_600)));
    }

    proptest! {
        #[test]
        fn a_percentile_is_at_most_an_eighth_above_the_true_one(
            mut times in prop::collection::vec(1..500_000_000_u64, 1..300), percent in 1.0..100.0_f64,
        ) {
            let (mut one, mut other) = (Histogram::default(), Histogram::default());
            for (number, us) in times.iter().enumerate() {
                let half = if number % 2 == 0 { &mut one } else { &mut other };
                half.record(Duration::from_micros(*us));
            }
            one.add(&other);
            times.sort_unstable();
            let rank = ((percent / 100.0 * times.len() as f64).ceil() as usize).clamp(1, times.len());
            let (truth, told) = (times[rank - 1], one.percentile(percent).unwrap().as_micros() as u64);
            prop_assert!(told >= truth && told as f64 <= truth as f64 * 1.125 + 1.0, "{told} for {truth}");
            prop_assert_eq!(one.count(), times.len() as u64);
        }
    }
}
