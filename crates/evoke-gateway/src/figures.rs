//! What was answered how, and how fast: counts for each route, and for each variant of an experiment on it.
//!
//! Counted since the process began, or since a route or a variant was first asked for after that; and for each of the last minutes
//! ([`MINUTES`]). One series takes at most 20 KiB, and there are at most [`SERIES_MAX`]; what came later is not counted, which
//! whoever asks is told. A time is from when the request reached that place until the head of the answer was there.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evoke_core::experiment::compare::Difference;
use evoke_core::histogram::Histogram;
use evoke_core::id::{AppName, FunctionName, RunId, VariantName};
use evoke_core::time::Timestamp;
use http::StatusCode;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

/// Whole minutes that are kept one by one, beside the one that has begun.
pub(crate) const MINUTES: u64 = 15;
/// Series there may be.
const SERIES_MAX: usize = 4_096;
/// Samples of a variant that are kept, the newest.
const SAMPLES: usize = 10;

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub app: AppName,
    /// The route's id.
    pub route: Arc<str>,
    /// An experiment there and one of its variants, or none for the whole route.
    pub variant: Option<(FunctionName, VariantName)>,
}

/// All series.
#[derive(Default)]
pub(crate) struct Figures {
    series: RwLock<HashMap<Key, Arc<Series>>>,
    are_cut: AtomicBool,
}

impl Figures {
    /// The series; `None` when there are too many. `is_deployed` says whether something can still be asked for.
    pub fn of(&self, key: &Key, now: Timestamp, is_deployed: impl Fn(&Key) -> bool) -> Option<Arc<Series>> {
        if let Some(series) = self.series.read().get(key) {
            return Some(series.clone());
        }
        let mut all = self.series.write();
        if all.len() >= SERIES_MAX && !all.contains_key(key) {
            all.retain(|key, _| is_deployed(key));
            if all.len() >= SERIES_MAX {
                self.are_cut.store(true, Ordering::Relaxed);
                return None;
            }
        }
        Some(all.entry(key.clone()).or_insert_with(|| Arc::new(Series::new(now))).clone())
    }

    /// The series, if something was counted.
    pub fn find(&self, key: &Key) -> Option<Arc<Series>> {
        self.series.read().get(key).cloned()
    }

    /// Whether there were too many.
    pub fn are_cut(&self) -> bool {
        self.are_cut.load(Ordering::Relaxed)
    }
}

/// What was counted of one route or variant.
pub(crate) struct Series(Mutex<State>);

struct State {
    since: Timestamp,
    began: Instant,
    total: Tally,
    /// Minutes since `began`, and what was counted in each; the newest last.
    minutes: VecDeque<(u64, Tally)>,
    samples: VecDeque<Sample>,
}

/// Counts of some time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub answered: u64,
    /// Of those, the ones with a status from 500.
    pub errors: u64,
    /// Clients that left before there was an answer.
    pub abandoned: u64,
    pub times: Histogram,
    /// Answers to copies that were compared, and how many of them differed; bodies that were too long for it.
    pub compared: u64,
    pub differing: u64,
    pub cut: u64,
    pub left_out: [u64; LeftOut::ALL.len()],
}

/// Why there is nothing to compare of a request that was to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// As many copies as there may be are under way, or there is no room to spare where it leads.
    Busy,
    /// The request's body is longer than is copied, or did not come to its end.
    Body,
    /// The body, or one of the answers, was not there in time.
    Late,
    /// A WebSocket, or a request that is to be answered later.
    Unsuitable,
    /// The client left.
    Gone,
}

impl LeftOut {
    pub const ALL: [Self; 5] = [Self::Busy, Self::Body, Self::Late, Self::Unsuitable, Self::Gone];
}

/// Two answers that differed.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    pub differences: Vec<Difference>,
    /// The outermost run of each, where there was one.
    pub answered_by: Option<RunId>,
    pub shadow_by: Option<RunId>,
}

/// What there is to tell.
pub(crate) struct Told {
    pub since: Timestamp,
    pub total: Tally,
    /// All that was counted takes this long.
    pub lasted: Duration,
    pub window: Tally,
    /// And this what is in the window.
    pub window_lasted: Duration,
    /// The newest first.
    pub samples: Vec<Sample>,
}

impl Series {
    fn new(since: Timestamp) -> Self {
        let state = State {
            since,
            began: Instant::now(),
            total: Tally::default(),
            minutes: VecDeque::new(),
            samples: VecDeque::new(),
        };
        Self(Mutex::new(state))
    }

    /// An answer began, after `took`.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        self.count(|tally| {
            tally.answered += 1;
            tally.errors += u64::from(status.is_server_error());
            tally.times.record(took);
        });
    }

    /// The client left before.
    pub fn abandoned(&self) {
        self.count(|tally| tally.abandoned += 1);
    }

    /// There was nothing to compare.
    pub fn left_out(&self, why: LeftOut) {
        self.count(|tally| tally.left_out[why as usize] += 1);
    }

    /// An answer to a copy was compared. With a sample, it differed.
    pub fn compared(&self, is_cut: bool, sample: Option<Sample>) {
        self.count(|tally| {
            tally.compared += 1;
            tally.cut += u64::from(is_cut);
            tally.differing += u64::from(sample.is_some());
        });
        if let Some(sample) = sample {
            let mut state = self.0.lock();
            state.samples.truncate(SAMPLES - 1);
            state.samples.push_front(sample);
        }
    }

    /// What was counted, in all and within so many minutes.
    pub fn tell(&self, minutes: u64) -> Told {
        let state = self.0.lock();
        let lasted = state.began.elapsed();
        let current = lasted.as_secs() / 60;
        let first = current.saturating_sub(minutes.min(MINUTES));
        let mut window = Tally::default();
        for (_, tally) in state.minutes.iter().filter(|(minute, _)| *minute >= first) {
            window.add(tally);
        }
        Told {
            since: state.since,
            total: state.total.clone(),
            lasted,
            window,
            window_lasted: lasted.saturating_sub(Duration::from_secs(60 * first)),
            samples: state.samples.iter().cloned().collect(),
        }
    }

    fn count(&self, count: impl Fn(&mut Tally)) {
        let mut state = self.0.lock();
        let minute = state.began.elapsed().as_secs() / 60;
        count(&mut state.total);
        if state.minutes.back().is_none_or(|(last, _)| *last < minute) {
            if state.minutes.len() as u64 > MINUTES {
                state.minutes.pop_front();
            }
            state.minutes.push_back((minute, Tally::default()));
        }
        if let Some((_, tally)) = state.minutes.back_mut() {
            count(tally);
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.errors += other.errors;
        self.abandoned += other.abandoned;
        self.times.add(&other.times);
        self.compared += other.compared;
        self.differing += other.differing;
        self.cut += other.cut;
        for (count, more) in self.left_out.iter_mut().zip(other.left_out) {
            *count += more;
        }
    }
}

/// A request that is being answered. Dropped without an answer, its client left.
pub(crate) struct Timing {
    series: Option<Arc<Series>>,
    began: Instant,
}

impl Timing {
    /// From now on.
    pub fn begin(series: Option<Arc<Series>>) -> Self {
        Self { series, began: Instant::now() }
    }

    /// The answer is there.
    pub fn end(mut self, status: StatusCode) {
        if let Some(series) = self.series.take() {
            series.answered(status, self.began.elapsed());
        }
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        if let Some(series) = &self.series {
            series.abandoned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key { app: AppName::new("shop").unwrap(), route: n.to_string().into(), variant: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_has_the_last_minutes_and_the_rest_stays_in_the_total() {
        let series = Series::new(Timestamp(0));
        let answer = |ms| series.answered(StatusCode::OK, Duration::from_millis(ms));
        answer(1);
        tokio::time::advance(Duration::from_secs(60)).await;
        answer(2);
        series.answered(StatusCode::BAD_GATEWAY, Duration::from_millis(900));
        tokio::time::advance(Duration::from_secs(90)).await;
        answer(3);
        let counts = |minutes| {
            let told = series.tell(minutes);
            (told.window.answered, told.window.errors, told.window_lasted.as_secs(), told.total.answered)
        };
        assert_eq!(counts(0), (1, 0, 30, 4));
        assert_eq!(counts(1), (3, 1, 90, 4));
        assert_eq!(counts(15), (4, 1, 150, 4));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(counts(15), (0, 0, 15 * 60 + 30, 4));
        answer(4);
        assert_eq!(series.0.lock().minutes.len(), 4);
        for _ in 0..40 {
            tokio::time::advance(Duration::from_secs(60)).await;
            answer(5);
        }
        assert_eq!(series.0.lock().minutes.len() as u64, MINUTES + 1);
        assert_eq!(series.tell(15).window.answered, MINUTES + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_more_series_than_the_bound_and_what_is_gone_makes_room() {
        let figures = Figures::default();
        let all = |_: &Key| true;
        for n in 0..SERIES_MAX {
            assert!(figures.of(&key(n), Timestamp(0), all).is_some());
        }
        assert!(figures.of(&key(SERIES_MAX), Timestamp(0), all).is_none() && figures.are_cut());
        assert!(figures.of(&key(0), Timestamp(0), all).is_some());
        let but_one = |key: &Key| &*key.route != "7";
        assert!(figures.of(&key(SERIES_MAX), Timestamp(0), but_one).is_some());
        assert!(figures.find(&key(7)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_samples_are_kept() {
        let series = Series::new(Timestamp(0));
        for n in 0..50 {
            let (method, path) = ("GET".to_owned(), n.to_string());
            let sample = Sample {
                at: Timestamp(n),
                method,
                path,
                differences: Vec::new(),
                answered_by: None,
                shadow_by: None,
            };
            series.compared(false, Some(sample));
        }
        let told = series.tell(1);
        let paths: Vec<_> = told.samples.iter().map(|sample| sample.path.as_str()).collect();
        assert_eq!((paths.len(), paths[0], paths[9]), (SAMPLES, "49", "40"));
        assert_eq!((told.total.compared, told.total.differing), (50, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_before_the_answer_is_counted_as_gone() {
        let series = Arc::new(Series::new(Timestamp(0)));
        drop(Timing::begin(Some(series.clone())));
        Timing::begin(Some(series.clone())).end(StatusCode::OK);
        let told = series.tell(1);
        assert_eq!((told.total.answered, told.total.abandoned), (1, 1));
    }
}
