//! How fast a function takes calls in: measured, to say how long one more would wait, and whether more come than go.

use std::time::Duration;

use tokio::time::Instant;

/// How much of an average the newest value is.
const NEWEST: f64 = 0.125;
/// Values before an average says something.
const ENOUGH: u32 = 8;
/// For how long nothing measured is believed without anything newer.
const FRESH: Duration = Duration::from_secs(10);

/// How long attempts take, permit to permit.
#[derive(Debug, Clone, Default)]
pub(super) struct Service {
    mean: f64,
    /// The mean of the logarithms: about the median, which a few long ones do not move.
    log: f64,
    count: u32,
    at: Option<Instant>,
}

impl Service {
    pub fn note(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64().max(1e-6);
        // The first ones count in full, so that they are an average at once.
        let part = NEWEST.max(1.0 / f64::from(self.count.saturating_add(1)));
        self.mean += part * (took - self.mean);
        self.log += part * (took.ln() - self.log);
        self.count = self.count.saturating_add(1);
        self.at = Some(now);
    }

    /// The mean, once something was measured.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_secs_f64(self.mean))
    }

    /// About what half of them stay below, where enough were measured lately.
    pub fn typical(&self, now: Instant) -> Option<Duration> {
        let fresh = self.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        (fresh && self.count >= ENOUGH).then(|| Duration::from_secs_f64(self.log.exp()))
    }
}

/// The shortest and the longest time in which arrivals are compared with what was let in.
const WINDOW_MIN: Duration = Duration::from_millis(250);
const WINDOW_MAX: Duration = Duration::from_secs(10);
/// So many more have to come than go, …
const MORE: f64 = 1.25;
/// … in so many windows one after the other.
const WINDOWS: u32 = 3;

/// What came to a line and what left it for the door, while there is a line.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    /// Mean seconds from one that was let in to the next.
    interval: Option<f64>,
    last_in: Option<Instant>,
    window: Option<Window>,
    /// Windows in a row with more arrivals than entries; below zero, the others.
    over: i32,
    /// More came than went for some time: the line does not get shorter by itself.
    overloaded: bool,
    /// Refused in the last complete window.
    refused_lately: u32,
}

#[derive(Debug, Clone)]
struct Window {
    since: Instant,
    arrived: u32,
    entered: u32,
    refused: u32,
}

impl Pace {
    /// Somebody had to get in line, or was refused.
    pub fn arrived(&mut self, is_first: bool, now: Instant) {
        if is_first {
            self.last_in = Some(now);
        }
        self.window(now).arrived += 1;
    }

    pub fn refused(&mut self, now: Instant) {
        self.window(now).refused += 1;
    }

    /// Somebody from the line was let in.
    pub fn entered(&mut self, now: Instant) {
        let since = self.last_in.replace(now).unwrap_or(now);
        let newest = now.saturating_duration_since(since).as_secs_f64();
        self.interval = Some(self.interval.map_or(newest, |mean| mean + NEWEST * (newest - mean)));
        self.window(now).entered += 1;
    }

    /// Whether more come than go, and have for some time.
    pub fn is_overloaded(&mut self, now: Instant) -> bool {
        self.window(now);
        self.overloaded
    }

    /// How long one waits who has `ahead` before it; `running` attempts take as long as `service` says. `None`: not known.
    pub fn wait(&self, ahead: usize, running: usize, service: &Service) -> Option<Duration> {
        let interval = match self.interval {
            Some(interval) => interval,
            None => service.mean()?.as_secs_f64() / running.max(1) as f64,
        };
        Duration::try_from_secs_f64(interval * (ahead + 1) as f64).ok()
    }

    /// Those that were refused lately, who will come again.
    pub fn refused_lately(&self) -> usize {
        let now = self.window.as_ref().map_or(0, |window| window.refused);
        self.refused_lately.max(now) as usize
    }

    /// The window that `now` is in, after those before it were judged.
    fn window(&mut self, now: Instant) -> &mut Window {
        let length = Duration::try_from_secs_f64(self.interval.unwrap_or(0.0) * 4.0);
        let length = length.unwrap_or(WINDOW_MAX).clamp(WINDOW_MIN, WINDOW_MAX);
        let fresh = || Window { since: now, arrived: 0, entered: 0, refused: 0 };
        if let Some(window) = &self.window {
            let age = now.saturating_duration_since(window.since);
            if age >= length {
                let more = f64::from(window.arrived) > MORE * f64::from(window.entered);
                self.refused_lately = window.refused;
                self.judge(more);
                // Nothing happened in those after it.
                let quiet = age.as_nanos() / length.as_nanos() - 1;
                (0..quiet.min(u128::from(WINDOWS))).for_each(|_| self.judge(false));
                self.window = Some(fresh());
            }
        }
        self.window.get_or_insert_with(fresh)
    }

    fn judge(&mut self, more: bool) {
        let limit = WINDOWS.cast_signed();
        self.over = match (more, self.over) {
            (true, over) => (over.max(0) + 1).min(limit),
            (false, over) => (over.min(0) - 1).max(1 - limit),
        };
        if self.over >= limit {
            self.overloaded = true;
        } else if self.over <= 1 - limit {
            self.overloaded = false;
            self.refused_lately = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_is_no_overload_and_a_lasting_stream_of_more_than_can_be_taken_is() {
        let start = Instant::now();
        let mut burst = Pace::default();
        (0..1_000).for_each(|_| burst.arrived(false, start));
        for ms in (0..4_000).step_by(10) {
            burst.entered(at(start, ms));
            assert!(!burst.is_overloaded(at(start, ms)), "{ms}");
        }
        let mut stream = Pace::default();
        for ms in 0..2_000 {
            stream.arrived(false, at(start, ms));
            if ms % 10 == 0 {
                stream.entered(at(start, ms));
            }
        }
        assert!(stream.is_overloaded(at(start, 2_000)));
        // As many come as go.
        for ms in (2_000..4_000).step_by(10) {
            stream.arrived(false, at(start, ms));
            stream.entered(at(start, ms));
        }
        assert!(!stream.is_overloaded(at(start, 4_000)));
    }

    #[test]
    fn the_wait_is_that_of_those_ahead_at_the_measured_pace() {
        let start = Instant::now();
        let (mut pace, mut service) = (Pace::default(), Service::default());
        assert_eq!(pace.wait(3, 2, &service), None);
        service.note(Duration::from_millis(100), start);
        assert_eq!(pace.wait(3, 2, &service), Some(Duration::from_millis(200)));
        pace.arrived(true, start);
        for nth in 1..=100 {
            pace.entered(at(start, nth * 20));
        }
        let wait = pace.wait(4, 2, &service).unwrap().as_secs_f64();
        assert!((wait - 0.1).abs() < 0.001, "{wait}");
    }

    #[test]
    fn what_is_typical_is_not_moved_by_a_few_long_ones_and_forgotten_when_it_is_old() {
        let start = Instant::now();
        let mut service = Service::default();
        for nth in 0..100 {
            let ms = if nth % 20 == 0 { 5_000 } else { 10 };
            service.note(Duration::from_millis(ms), start);
        }
        let typical = service.typical(start).unwrap();
        assert!(typical < Duration::from_millis(30), "{typical:?}");
        assert_eq!(service.typical(start + FRESH), None);
    }
}
