//! Whether the node should be sent more: not while calls have waited for it for some time, and again when none has for a
//! while. Two different times, so that it does not go to and fro.

use std::time::Duration;

use tokio::time::Instant;

/// Calls have to wait for the node for so long before it says that it is not ready, …
const PRESSED: Duration = Duration::from_secs(1);
/// … and none for so long before it is ready again.
const RELIEVED: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Readiness {
    saturated: bool,
    pressed: bool,
    /// Since when `pressed` is what it is.
    since: Option<Instant>,
}

impl Readiness {
    /// Notes whether calls wait for the node.
    pub fn note(&mut self, pressed: bool, now: Instant) {
        self.settle(now);
        if self.pressed != pressed {
            self.pressed = pressed;
            self.since = Some(now);
        }
    }

    pub fn is_saturated(&mut self, now: Instant) -> bool {
        self.settle(now);
        self.saturated
    }

    fn settle(&mut self, now: Instant) {
        let Some(since) = self.since else { return };
        let enough = if self.pressed { PRESSED } else { RELIEVED };
        if now.saturating_duration_since(since) >= enough {
            self.saturated = self.pressed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_second_of_pressure_to_be_saturated_and_two_without_to_recover() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ready = Readiness::default();
        ready.note(true, at(0));
        assert!(!ready.is_saturated(at(999)));
        // A short relief begins it anew.
        ready.note(false, at(999));
        ready.note(true, at(1_000));
        assert!(!ready.is_saturated(at(1_999)) && ready.is_saturated(at(2_000)));
        ready.note(false, at(3_000));
        ready.note(true, at(4_900));
        ready.note(false, at(5_000));
        assert!(ready.is_saturated(at(6_999)) && !ready.is_saturated(at(7_000)));
    }
}
