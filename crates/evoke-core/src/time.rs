//! Wall-clock time as a parameter.
//!
//! Deadlines inside a process use tokio's monotonic clock, which tests pause; what is written down or compared
//! across restarts is a [`Timestamp`] from a [`Clock`] that was handed in.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The instant `ms` milliseconds after the epoch; saturates.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Whole milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// This instant, `by` later; saturates.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// This instant, `by` earlier; saturates at the epoch.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with microseconds where there are any: `2026-11-21T01:42:00.25Z`.
    pub fn to_rfc3339(self) -> String {
        self.to_string()
    }

    /// Reads RFC 3339; `None` when it is not, or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(parsed.as_microsecond()).ok().map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
            Some(at) => write!(f, "{at}"),
            None => write!(f, "+{}us", self.0),
        }
    }
}

fn micros(by: Duration) -> u64 {
    u64::try_from(by.as_micros()).unwrap_or(u64::MAX)
}

/// Where wall-clock time comes from. The real one lives in the executable, a settable one in `evoke_core::testing`.
pub trait Clock: Send + Sync + 'static {
    /// The time now. It goes where the machine's clock is put.
    fn now(&self) -> Timestamp;

    /// Never before [`Clock::now`] and never before what it was: when the clock is put back, it runs on. What is to happen so
    /// long from now (a retry, the end of a lease) is told by it. Of a clock that is never put back it is the time.
    fn steady(&self) -> Timestamp {
        self.now()
    }
}
