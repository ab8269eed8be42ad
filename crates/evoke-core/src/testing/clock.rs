//! Clocks that tests hold in their hands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::time::{Clock, Timestamp};

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl TestClock {
    /// Stands at `start`.
    pub const fn starting(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.0))
    }

    /// Moves to `at`, forwards or backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::SeqCst);
    }

    /// Moves forward and says where it stands now.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.0.fetch_add(by, Ordering::SeqCst).saturating_add(by))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that follows tokio's: with paused time it moves exactly as the timers do.
#[derive(Debug)]
pub struct TokioClock {
    start: Timestamp,
    since: Instant,
    /// Microseconds.
    put_back: AtomicU64,
}

impl TokioClock {
    /// Shows `start` now.
    pub fn starting(start: Timestamp) -> Self {
        Self { start, since: Instant::now(), put_back: AtomicU64::new(0) }
    }

    /// Puts it back, as somebody does who sets the machine's clock.
    pub fn put_back(&self, by: Duration) {
        self.put_back.fetch_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.steady().0.saturating_sub(self.put_back.load(Ordering::SeqCst)))
    }

    fn steady(&self) -> Timestamp {
        self.start.after(self.since.elapsed())
    }
}
