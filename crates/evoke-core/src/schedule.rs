//! When a schedule fires: every so often, or by a cron expression in a time zone. Pure: the time is handed in.
//!
//! Cron expressions have 5 or 6 fields (`[second] minute hour day month weekday`), in the syntax of croner
//! (<https://docs.rs/croner>), as are the rules for clocks that are put forward or back: a time of day that does not exist
//! is taken right after the gap, one that there is twice is taken the first time; what fires at intervals (`*`, `*/5` in
//! hours, minutes or seconds) leaves the gap out and fires in both halves.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::manifest::units;
use crate::time::Timestamp;

/// A schedule of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// When it fires.
    #[serde(flatten)]
    pub timer: Timer,
    /// Type of the event it publishes.
    pub event: String,
    /// Data of that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// How long after its time the last run that was missed is still made up.
    #[serde(with = "units::duration_text")]
    pub catch_up: Duration,
}

impl Schedule {
    /// [`Schedule::catch_up`] where the manifest gives none, and at most: as long as the same event is recognised.
    pub const CATCH_UP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    /// The shortest interval.
    pub const EVERY_MIN: Duration = Duration::from_secs(1);
    /// The longest interval.
    pub const EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    /// How far ahead of the time a schedule may have fired last. More is a clock that was wrong, and is forgotten.
    const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// Decides at `now` for a schedule that fired, or was first seen, at `last`: the time of a run that is due, if there
    /// is one. Of several that were missed it is the latest.
    pub fn due(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let at = self.timer.latest(now).filter(|at| *at > last)?;
        (now.since(at) <= self.catch_up.max(LATE_MAX)).then_some(at)
    }

    /// From when to go on: `last`, unless the clock was wrong then.
    pub fn resume(last: Timestamp, now: Timestamp) -> Timestamp {
        if last.since(now) > Self::AHEAD_MAX { now } else { last }
    }
}

/// How late a run may be without being a missed one.
const LATE_MAX: Duration = Duration::from_secs(10);

/// When something fires. Two are equal when they were written the same.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Timer {
    /// At the multiples of this since 1970-01-01T00:00:00Z, so that every node and every restart agree.
    Every(Duration),
    /// By a cron expression.
    Cron(Box<CronTimer>),
}

/// A cron expression and the time zone its fields mean.
#[derive(Clone)]
pub struct CronTimer {
    written: String,
    cron: Cron,
    zone: TimeZone,
    zone_name: String,
}

/// Why a text is no timer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimerError {
    /// The expression.
    #[error("cron {expression:?} is no cron expression: {reason}")]
    Cron {
        /// As given.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is one, but of a day there never is.
    #[error("cron {0:?} never fires: there is no such day")]
    Never(String),
    /// The time zone.
    #[error("timezone {0:?} is not known")]
    Zone(String),
    /// Neither or both of `cron` and `every`.
    #[error("a timer has either cron or every")]
    Form,
}

/// The zone where none is given.
pub const UTC: &str = "UTC";

impl Timer {
    /// By a cron expression, in a time zone of the IANA database.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, TimerError> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let wrong = |reason: String| TimerError::Cron { expression: expression.to_owned(), reason };
        // croner takes no more than some fifty characters apart; a line of a megabyte is not handed to it.
        if expression.len() > 256 {
            return Err(wrong("it has more than 256 characters".to_owned()));
        }
        let fields = expression.split_whitespace().count();
        if !expression.trim_start().starts_with('@') && !matches!(fields, 5 | 6) {
            return Err(wrong(format!("it has {fields} fields")));
        }
        let cron = parser.parse(expression).map_err(|error| wrong(reason(error)))?;
        let (zone, zone_name) = time_zone(zone)?;
        let timer = CronTimer { written: expression.to_owned(), cron, zone, zone_name };
        // From a fixed time, because core has no clock; what fires after 2000 fires again.
        match timer.next(Timestamp::from_millis(946_684_800_000)) {
            Some(_) => Ok(Self::Cron(Box::new(timer))),
            None => Err(TimerError::Never(expression.to_owned())),
        }
    }

    /// The first time it fires after `time`.
    pub fn next(&self, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => {
                let period = period_us(*period);
                (time.0 / period).checked_add(1)?.checked_mul(period).map(Timestamp)
            }
            Self::Cron(timer) => timer.next(time),
        }
    }

    /// The last time it fired, at `time` or before.
    pub fn latest(&self, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => Some(Timestamp(time.0 - time.0 % period_us(*period))),
            Self::Cron(timer) => timer.latest(time),
        }
    }
}

fn period_us(period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// croner's sentences start with a capital and end with a stop.
fn reason(error: CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text,
        other => other.to_string(),
    };
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn time_zone(name: &str) -> Result<(TimeZone, String), TimerError> {
    let unknown = || TimerError::Zone(name.to_owned());
    if name.len() > 64 {
        return Err(unknown());
    }
    let zone = TimeZone::get(name).map_err(|_| unknown())?;
    let known = zone.iana_name().unwrap_or(name).to_owned();
    Ok((zone, known))
}

impl CronTimer {
    fn next(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.zoned(time)?, false).ok()?;
        u64::try_from(found.timestamp().as_microsecond()).ok().map(Timestamp)
    }

    /// Looked for backwards, and then forwards again: around a change of clock the two directions need not agree, and the
    /// times that count are those found forwards.
    fn latest(&self, time: Timestamp) -> Option<Timestamp> {
        let back = self.cron.find_previous_occurrence(&self.zoned(time)?, true).ok()?;
        let mut at = Timestamp(u64::try_from(back.timestamp().as_microsecond()).ok()?);
        // A day is more than any change of clock, and a handful of steps for what fires once an hour.
        let fired = |at: Timestamp| self.next(Timestamp(at.0.saturating_sub(1))) == Some(at);
        if !fired(at) {
            at = at.before(Duration::from_secs(3 * 60 * 60));
            at = self.next(at)?;
        }
        for _ in 0..STEPS_MAX {
            match self.next(at).filter(|next| *next <= time) {
                Some(next) => at = next,
                None => break,
            }
        }
        (at <= time).then_some(at)
    }

    fn zoned(&self, time: Timestamp) -> Option<jiff::Zoned> {
        let time = jiff::Timestamp::from_microsecond(i64::try_from(time.0).ok()?).ok()?;
        Some(time.to_zoned(self.zone.clone()))
    }
}

/// Seconds of the six hours around a change of clock.
const STEPS_MAX: usize = 6 * 60 * 60;

/// As in the manifest: one of `cron` (with `timezone`) and `every`.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timezone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "units::optional_duration_text")]
    every: Option<Duration>,
}

impl TryFrom<Written> for Timer {
    type Error = TimerError;

    fn try_from(written: Written) -> Result<Self, TimerError> {
        match written {
            Written { cron: Some(cron), timezone, every: None } => {
                Self::cron(&cron, timezone.as_deref().unwrap_or(UTC))
            }
            Written { cron: None, timezone: None, every: Some(every) } => Ok(Self::Every(every)),
            _ => Err(TimerError::Form),
        }
    }
}

impl From<Timer> for Written {
    fn from(timer: Timer) -> Self {
        match timer {
            Timer::Every(every) => Self { cron: None, timezone: None, every: Some(every) },
            Timer::Cron(timer) => {
                Self { cron: Some(timer.written), timezone: Some(timer.zone_name), every: None }
            }
        }
    }
}

/// `every 10s`, `0 3 * * * Europe/Zurich`.
impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(period) => write!(f, "every {}", units::format_duration(*period)),
            Self::Cron(timer) => write!(f, "{} {}", timer.written, timer.zone_name),
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timer({self})")
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every(a), Self::Every(b)) => a == b,
            (Self::Cron(a), Self::Cron(b)) => (&a.written, &a.zone_name) == (&b.written, &b.zone_name),
            _ => false,
        }
    }
}

impl Eq for Timer {}
