//! Who is told how work that nobody waits for has ended.

use serde::{Deserialize, Serialize};

use crate::id::FunctionName;

/// Those of a function's asynchronous calls, or of a subscription's deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destinations {
    /// Told of each that was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Destination>,
    /// Told of each that was given up, or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Destination>,
}

/// Where that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Whoever is subscribed to events of this type.
    Event(String),
    /// This function, as an event.
    Function(FunctionName),
    /// The endpoint of this hook.
    Hook(FunctionName),
}

/// Which of the two ends it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A handler answered.
    Success,
    /// It was given up, or cancelled.
    Failure,
}

impl Fate {
    /// The key of the manifest that says who is told.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Success => "on_success",
            Self::Failure => "on_failure",
        }
    }

    /// One word, the same as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl Destinations {
    /// Settings from before there were any, and their revisions, stay as they were.
    pub fn is_none(&self) -> bool {
        self.each().next().is_none()
    }

    /// Who is told of such an end.
    pub fn of(&self, fate: Fate) -> Option<&Destination> {
        match fate {
            Fate::Success => self.on_success.as_ref(),
            Fate::Failure => self.on_failure.as_ref(),
        }
    }

    /// Those there are.
    pub fn each(&self) -> impl Iterator<Item = (Fate, &Destination)> {
        [Fate::Success, Fate::Failure].into_iter().filter_map(|fate| Some((fate, self.of(fate)?)))
    }
}
