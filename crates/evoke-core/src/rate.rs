//! So much a second, and some more at once: the generic cell rate algorithm (ITU-T I.371), which is a token bucket that
//! remembers one instant.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills by `per_second` and holds `burst`.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: u64,
    burst: u64,
    /// When it will be full again, if nothing more is taken; the past when it is full.
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full one. Neither number may be 0.
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second: per_second.max(1), burst: burst.max(1), full_at: None }
    }

    /// Takes `amount`, all of it or nothing. More than the bucket holds can never be taken.
    pub fn take(&mut self, amount: u64, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.time_for(amount);
        let fits = full_at.duration_since(now) <= self.time_for(self.burst);
        if fits {
            self.full_at = Some(full_at);
        }
        fits
    }

    /// Whether nothing is missing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }

    fn time_for(&self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_with_time() {
        let (start, mut bucket) = (Instant::now(), Bucket::new(10, 3));
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert!((0..3).all(|_| bucket.take(1, at(0))));
        assert!(!bucket.take(1, at(0)) && !bucket.take(1, at(99)));
        assert!(bucket.take(1, at(100)) && !bucket.take(1, at(100)));
        assert!(!bucket.is_full(at(399)) && bucket.is_full(at(400)));
        assert!(!bucket.take(4, at(10_000)) && bucket.take(3, at(10_000)));
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate_passes() {
        let (start, mut bucket) = (Instant::now(), Bucket::new(100, 50));
        let passed = (0..100_000).filter(|ms| bucket.take(1, start + Duration::from_millis(*ms))).count();
        assert!((10_000..=10_050).contains(&passed), "{passed}");
    }
}
