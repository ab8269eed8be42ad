//! So much a second, and some more at once: the generic cell rate algorithm (ITU-T I.371), which is a token bucket that
//! remembers one instant.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills by `count` in `period` and holds `burst`.
#[derive(Debug, Clone)]
pub struct Bucket {
    count: u64,
    period: Duration,
    burst: u64,
    /// When it will be full again, if nothing more is taken; the past when it is full.
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full one that fills by `per_second`. Neither number may be 0.
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self::every(per_second, Duration::from_secs(1), burst)
    }

    /// A full one. None of the numbers may be 0.
    pub fn every(count: u64, period: Duration, burst: u64) -> Self {
        Self { count: count.max(1), period, burst: burst.max(1), full_at: None }
    }

    /// Takes `amount`, all of it or nothing. More than the bucket holds can never be taken.
    pub fn take(&mut self, amount: u64, now: Instant) -> bool {
        let full_at = self.full_at_after(amount, now);
        let fits = full_at.duration_since(now) <= self.time_for(self.burst);
        if fits {
            self.full_at = Some(full_at);
        }
        fits
    }

    /// How long until `amount` can be taken, if nobody takes anything until then. Zero: now.
    pub fn wait_for(&self, amount: u64, now: Instant) -> Duration {
        self.full_at_after(amount, now).duration_since(now).saturating_sub(self.time_for(self.burst))
    }

    /// Undoes a [`Bucket::take`].
    pub fn give_back(&mut self, amount: u64) {
        let time = self.time_for(amount);
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(time));
    }

    /// Whether nothing is missing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }

    fn full_at_after(&self, amount: u64, now: Instant) -> Instant {
        self.full_at.map_or(now, |full_at| full_at.max(now)) + self.time_for(amount)
    }

    fn time_for(&self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * self.period.as_nanos() / u128::from(self.count);
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
    fn it_says_how_long_to_wait_and_what_was_given_back_can_be_taken_again() {
        let start = Instant::now();
        let mut bucket = Bucket::every(60, Duration::from_secs(60), 2);
        assert_eq!(bucket.wait_for(2, start), Duration::ZERO);
        assert!(bucket.take(2, start) && !bucket.take(1, start));
        assert_eq!(bucket.wait_for(1, start), Duration::from_secs(1));
        let later = start + Duration::from_millis(400);
        assert_eq!(bucket.wait_for(1, later), Duration::from_millis(600));
        bucket.give_back(1);
        assert!(bucket.take(1, later) && !bucket.take(1, later));
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate_passes() {
        let (start, mut bucket) = (Instant::now(), Bucket::new(100, 50));
        let passed = (0..100_000).filter(|ms| bucket.take(1, start + Duration::from_millis(*ms))).count();
        assert!((10_000..=10_050).contains(&passed), "{passed}");
    }
}
