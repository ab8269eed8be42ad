//! Where in the log a subscription starts when it is deployed for the first time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{self, UnitError};
use crate::time::Timestamp;

/// The first event that a new subscription gets. Says nothing about one that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// The first one that is accepted after it was deployed.
    #[default]
    Now,
    /// The oldest one that is kept.
    Beginning,
    /// The first one that was accepted at this time or later.
    At(Timestamp),
    /// The first one that was accepted so long before it was deployed, or later.
    Ago(Duration),
}

/// What else could be written.
pub const START_HELP: &str =
    r#"write "now", "beginning", a time as in "2026-11-21T00:00:00Z", or how long ago as in "7d""#;

impl Start {
    /// Reads `now`, `beginning`, a time by RFC 3339, or a duration.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        match text {
            "now" => return Ok(Self::Now),
            "beginning" => return Ok(Self::Beginning),
            _ => {}
        }
        if let Some(at) = Timestamp::parse_rfc3339(text) {
            return Ok(Self::At(at));
        }
        // A date is meant for a time more likely than for a number without a unit.
        if text.contains(['-', ':', 'T']) {
            let value = text.chars().take(40).collect();
            let reason = "is no time by RFC 3339 with a zone, or lies before 1970".to_owned();
            return Err(UnitError { value, reason, help: START_HELP });
        }
        let wrong = |error| UnitError { help: START_HELP, ..error };
        units::parse_duration(text).map(Self::Ago).map_err(wrong)
    }

    /// Whether it is in no past.
    pub const fn is_now(&self) -> bool {
        matches!(self, Self::Now)
    }

    /// The time it means for a subscription that is deployed at `now`; `None` for [`Start::Now`].
    pub fn time(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now => None,
            Self::Beginning => Some(Timestamp(0)),
            Self::At(at) => Some(at),
            Self::Ago(ago) => Some(now.before(ago)),
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Beginning => f.write_str("beginning"),
            Self::At(at) => write!(f, "{at}"),
            Self::Ago(ago) => f.write_str(&units::format_duration(*ago)),
        }
    }
}

impl TryFrom<String> for Start {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        Self::parse(&text)
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_back_as_it_was_written() {
        for text in ["now", "beginning", "2026-11-21T01:42:00.25Z", "7d", "1h30m"] {
            assert_eq!(Start::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Start::parse("2026-11-21T02:42:00+01:00").unwrap().to_string(), "2026-11-21T01:42:00Z");
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for text in
            ["", "yesterday", "7", "7 days", "2026-11-21", "2026-11-21T01:42:00", "1969-01-01T00:00:00Z"]
        {
            let error = Start::parse(text).unwrap_err();
            assert_eq!(error.help, START_HELP, "{text}");
        }
    }

    #[test]
    fn how_long_ago_counts_from_the_deployment() {
        let now = Timestamp::from_millis(10_000);
        let ago = |text: &str| Start::parse(text).unwrap().time(now);
        assert_eq!(ago("4s"), Some(Timestamp::from_millis(6_000)));
        assert_eq!(ago("1d"), Some(Timestamp(0)));
        assert_eq!(ago("now"), None);
    }
}
