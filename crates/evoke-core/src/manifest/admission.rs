//! What an app and a function say of who may enter and when.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units;

/// An app's part of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How much of the node it gets beside the others while there is not enough for all.
    #[serde(default = "Share::weight_default")]
    pub weight: u32,
    /// Attempts of all its functions at once, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Sync calls of all its functions that may wait to be let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Bytes of the bodies of those that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_bytes: Option<u64>,
}

impl Share {
    const fn weight_default() -> u32 {
        10
    }

    /// What was deployed before there was a choice stays as it was.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: Self::weight_default(), concurrency: None, waiting: None, waiting_bytes: None }
    }
}

/// Who may enter a function and when, beside its `concurrency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Admission {
    /// How often it may be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Sync calls that may wait to be let in, where that is not the node's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// How long each of them may, where that is not the node's time.
    #[serde(default, with = "units::optional_duration_text", skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Duration>,
    /// What becomes of a sync call whose caller goes away.
    #[serde(default, skip_serializing_if = "OnDisconnect::is_default")]
    pub on_disconnect: OnDisconnect,
}

impl Admission {
    /// A function that says nothing of it keeps its revision.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// So many starts in a time, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In this time.
    #[serde(with = "units::duration_text")]
    pub per: Duration,
    /// How many at once after a quiet time.
    pub burst: u32,
}

impl Rate {
    /// Reads `"100/s"`, `"600/m"` or `"1000/h"`: the count and the time.
    pub fn parse(text: &str) -> Option<(u32, Duration)> {
        let (count, unit) = text.split_once('/')?;
        let (count, unit) = (count.trim(), unit.trim());
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && *count > 0)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        };
        Some((count, Duration::from_secs(seconds)))
    }

    /// As many at once as there may be in a second, and at least one.
    pub fn burst_default(count: u32, per: Duration) -> u32 {
        let seconds = u32::try_from(per.as_secs().max(1)).unwrap_or(u32::MAX);
        count.div_ceil(seconds)
    }
}

impl fmt::Display for Rate {
    /// As in the manifest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            60 => "m",
            3_600 => "h",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// What becomes of a sync call whose caller goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is ended, with everything it called.
    #[default]
    Cancel,
    /// It runs to its end, as if somebody read the answer.
    Finish,
}

impl OnDisconnect {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_unit_of_time() {
        let seconds = Duration::from_secs;
        for (text, rate) in [
            ("100/s", Some((100, seconds(1)))),
            ("600/m", Some((600, seconds(60)))),
            (" 7 / h ", Some((7, seconds(3_600)))),
            ("0/s", None),
            ("+5/s", None),
            ("100", None),
            ("100/d", None),
            ("1.5/s", None),
            ("99999999999/s", None),
            ("/s", None),
        ] {
            assert_eq!(Rate::parse(text), rate, "{text}");
        }
    }

    #[test]
    fn what_a_rate_allows_at_once_is_a_seconds_worth() {
        for (count, per, burst) in [(100, 1, 100), (600, 60, 10), (61, 60, 2), (7, 3_600, 1)] {
            assert_eq!(Rate::burst_default(count, Duration::from_secs(per)), burst);
        }
    }
}
