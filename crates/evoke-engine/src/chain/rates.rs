//! How often functions are invoked from outside in the same way.
//!
//! A loop through a service that strips every field by which a request tells of itself looks like new work, again and again.
//! All that can be seen is how much of it there is, so a function that may send requests is watched: what comes to it from
//! outside by one event type, or by requests, within a minute.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::recent::Recent;

const MINUTE: Duration = Duration::from_secs(60);
/// A rate that stays high is told once in so long.
const TELL_AGAIN: Duration = Duration::from_secs(60 * 60);

/// The latest counts, in memory.
pub(crate) struct Rates(Mutex<Recent<Minute>>);

/// One way of being invoked.
struct Minute {
    began: Instant,
    count: u64,
    told: Option<Instant>,
}

/// What one more invocation makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Nothing to say.
    Usual,
    /// More than is usual, for the first time in a while.
    High,
    /// More than is allowed.
    TooHigh,
}

impl Rates {
    /// For at most `max` ways of being invoked.
    pub fn new(max: usize) -> Self {
        Self(Mutex::new(Recent::new(max)))
    }

    /// Counts one more. `high` is unusual, `allowed` is the bound if there is one.
    pub fn count(&self, way: &str, high: u64, allowed: Option<u32>, now: Instant) -> Rate {
        let mut ways = self.0.lock();
        let minute = ways.entry(way, || Minute { began: now, count: 0, told: None });
        if now.duration_since(minute.began) >= MINUTE {
            (minute.began, minute.count) = (now, 0);
        }
        minute.count += 1;
        match allowed {
            Some(allowed) if minute.count > u64::from(allowed) => Rate::TooHigh,
            None if minute.count > high
                && minute.told.is_none_or(|at| now.duration_since(at) >= TELL_AGAIN) =>
            {
                minute.told = Some(now);
                Rate::High
            }
            _ => Rate::Usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_rate_is_told_once_and_one_that_is_not_allowed_each_time_until_the_minute_is_over() {
        let (rates, start) = (Rates::new(10), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let count = |allowed, seconds| rates.count("a", 2, allowed, at(seconds));
        assert_eq!([count(None, 0), count(None, 1), count(None, 2)], [Rate::Usual, Rate::Usual, Rate::High]);
        assert_eq!(
            [count(None, 3), count(Some(4), 4), count(Some(4), 59)],
            [Rate::Usual, Rate::TooHigh, Rate::TooHigh]
        );
        assert_eq!(count(Some(4), 60), Rate::Usual);
        assert_eq!(
            [count(None, 61), count(None, 62), count(None, 4_000)],
            [Rate::Usual, Rate::Usual, Rate::Usual]
        );
        assert_eq!([count(None, 4_001), count(None, 4_002)], [Rate::Usual, Rate::High]);
    }
}
