//! How a new version of an app comes to take the place of the one before: which part of the work it gets, and when it is
//! taken back by itself.
//!
//! A version that fails more often than it may, and more often than the one beside it, is withdrawn ([`judge`]). What is
//! counted is kept for as long as the rule looks back ([`Window`]). No clock here: times are handed in.

mod portion;
mod verdict;
mod window;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::units;

pub use portion::Portion;
pub use verdict::{Tally, Verdict, judge};
pub use window::Window;

/// When a new version is taken back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The part of a function's attempts that may fail.
    pub errors: Portion,
    /// How long after a deploy that is watched, and how far back it is counted.
    #[serde(with = "units::duration_text")]
    pub within: Duration,
    /// Attempts of a function from which on anything is concluded.
    pub min: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self { errors: Portion::percent(5), within: Duration::from_secs(5 * 60), min: 20 }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { errors, within, min } = self;
        write!(f, "{errors} errors within {}, from {min} attempts on", units::format_duration(*within))
    }
}

/// What the manifest says of taking a version back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// A canary by the usual rule, a deploy not.
    #[default]
    Usual,
    /// Nothing is taken back by itself.
    Never,
    /// Both by this rule.
    When(Guard),
}

impl Rollback {
    /// What was deployed before there was a choice stays as it was.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::Usual
    }

    /// The rule for a canary.
    pub fn of_canary(self) -> Option<Guard> {
        match self {
            Self::Usual => Some(Guard::default()),
            Self::Never => None,
            Self::When(guard) => Some(guard),
        }
    }

    /// The rule for a deploy.
    pub fn of_deploy(self) -> Option<Guard> {
        match self {
            Self::Usual | Self::Never => None,
            Self::When(guard) => Some(guard),
        }
    }
}
