//! Who of several gets what is scarce next: the one that has had least of it for its weight.
//!
//! What somebody has had is the time its attempts were running, summed up from when the first of all had to wait. Who comes
//! later starts where the others are, so that nothing is saved up while there was enough for all.

use std::time::Duration;

use tokio::time::Instant;

/// One of several that share something.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub weight: u32,
    /// Attempts that run now.
    running: u32,
    /// Seconds of them, for each unit of weight.
    had: f64,
    /// Until when `had` was counted.
    at: Option<Instant>,
}

impl Claim {
    pub fn new(weight: u32) -> Self {
        Self { weight, running: 0, had: 0.0, at: None }
    }

    /// One more attempt runs.
    pub fn begin(&mut self) {
        self.running += 1;
    }

    /// One attempt less runs.
    pub fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Counts on until `now`, or anew if counting began only at `since`.
    pub fn count(&mut self, since: Instant, now: Instant) {
        let from = match self.at {
            Some(at) if at >= since => at,
            _ => {
                self.had = 0.0;
                since
            }
        };
        self.had += self.per_weight(now.saturating_duration_since(from));
        self.at = Some(now);
    }

    /// Starts where others are: `floor` is the least that one of those who wait has had.
    pub fn raise(&mut self, floor: f64) {
        self.had = self.had.max(floor);
    }

    pub fn had(&self) -> f64 {
        self.had
    }

    /// What it will have had when those that run are done, each after `typical`. The least is next.
    pub fn turn(&self, typical: Duration) -> f64 {
        self.had + self.per_weight(typical)
    }

    fn per_weight(&self, time: Duration) -> f64 {
        time.as_secs_f64() * f64::from(self.running) / f64::from(self.weight.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_had_before_anybody_waited_does_not_count() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut claim = Claim::new(2);
        claim.begin();
        claim.count(at(0), at(10));
        assert_eq!(claim.had(), 5.0);
        claim.count(at(90), at(100));
        assert_eq!(claim.had(), 5.0);
        claim.raise(3.0);
        assert_eq!(claim.turn(Duration::from_secs(4)), 7.0);
        claim.end();
        claim.count(at(90), at(200));
        assert_eq!(claim.had(), 5.0);
    }
}
