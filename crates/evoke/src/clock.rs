//! The real clock: the one place that reads wall-clock time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use evoke_core::time::{Clock, Timestamp};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock everybody else is handed")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

/// The machine's clock for somebody who runs long: it may be put back meanwhile.
#[derive(Debug)]
pub struct ServerClock {
    start: Instant,
    /// The most that wall-clock time was ahead of the time since `start`, in microseconds.
    ahead: AtomicU64,
}

impl ServerClock {
    /// From now on.
    #[expect(clippy::disallowed_methods, reason = "this is the clock everybody else is handed")]
    pub fn start() -> Self {
        Self { start: Instant::now(), ahead: AtomicU64::new(0) }
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn steady(&self) -> Timestamp {
        // In this order: whoever has the time already is not shown an earlier one.
        let passed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let ahead = self.now().0.saturating_sub(passed);
        let most = self.ahead.fetch_max(ahead, Ordering::SeqCst).max(ahead);
        Timestamp(passed.saturating_add(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_time_is_never_before_the_time_nor_goes_back() {
        let clock = ServerClock::start();
        let mut last = Timestamp(0);
        for _ in 0..1_000 {
            let now = clock.now();
            let steady = clock.steady();
            assert!(steady >= now && steady >= last, "{steady} after {last}, at {now}");
            last = steady;
        }
    }

    #[test]
    fn steady_time_runs_on_when_the_clock_was_put_back() {
        let clock = ServerClock::start();
        // As it is after the clock stood an hour further.
        let hour_us = 3_600_000_000;
        clock.ahead.store(clock.now().0 + hour_us, Ordering::SeqCst);
        let steady = clock.steady();
        assert!(steady.0 >= clock.now().0 + hour_us - 1_000_000);
        assert!(clock.steady() >= steady);
    }
}
