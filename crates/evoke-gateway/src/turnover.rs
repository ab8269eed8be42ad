//! When there will be a place again, for whoever is refused one: by how long those who had one kept it lately, and how many are
//! told to come back.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Said where nothing was measured yet.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Nobody is sent away for less, or for more.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// How much the newest stay counts for, in the mean of all.
const NEWEST: f64 = 0.1;

/// The stays at a bound. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turnover(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Mean of the stays, in seconds.
    stay: Option<f64>,
    /// What those who were refused wanted who have not been told long enough ago, and until when that counts.
    refused: f64,
    until: Option<Instant>,
}

/// A place that is held; how long, is noted when it is dropped.
#[derive(Debug)]
pub(crate) struct Stay {
    turnover: Turnover,
    since: Instant,
}

impl Turnover {
    /// A place was taken.
    pub fn stay(&self) -> Stay {
        Stay { turnover: self.clone(), since: Instant::now() }
    }

    /// When to come again for `wanted` of the `limit` that are all in use: when as much was given back as those ahead of it want,
    /// who were refused lately, and it.
    pub fn again(&self, wanted: u64, limit: u64) -> Duration {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.until.is_none_or(|until| until <= now) {
            state.refused = 0.0;
        }
        state.refused += wanted as f64 / limit.max(1) as f64;
        let again = state
            .stay
            .map_or(UNKNOWN, |stay| Duration::try_from_secs_f64(stay * state.refused).unwrap_or(AGAIN_MAX));
        let again = again.clamp(AGAIN_MIN, AGAIN_MAX);
        state.until = Some(now + again);
        again
    }

    fn note(&self, stay: Duration) {
        let (stay, mut state) = (stay.as_secs_f64(), self.0.lock());
        state.stay = Some(state.stay.map_or(stay, |mean| mean + NEWEST * (stay - mean)));
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.turnover.note(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_is_told_by_how_long_a_place_is_kept_and_who_was_refused_before() {
        let turnover = Turnover::default();
        let near = |again: Duration, seconds: f64| {
            let again = again.as_secs_f64();
            assert!((again - seconds).abs() < 0.01, "{again} is not {seconds}");
        };
        near(turnover.again(1, 10), 1.0);
        let stay = turnover.stay();
        tokio::time::advance(Duration::from_secs(20)).await;
        drop(stay);
        near(turnover.again(1, 10), 2.0);
        near(turnover.again(1, 10), 4.0);
        tokio::time::advance(Duration::from_secs(10)).await;
        near(turnover.again(1, 10), 2.0);
        near(turnover.again(1_000, 10), 60.0);
        near(Turnover::default().again(1, 0), 1.0);
    }
}
