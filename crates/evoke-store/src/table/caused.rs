//! What an event caused, as `log.runs` keeps it: a JSON array of run ids, or, where there is more to say, an object.

use evoke_core::id::RunId;
use serde::{Deserialize, Serialize};

/// The runs of an event, and which deployment it met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caused {
    /// When it was accepted.
    pub runs: Vec<RunId>,
    /// The deployment of then.
    pub version: Option<u64>,
    /// When it was delivered again, oldest first.
    pub again: Vec<RunId>,
    /// When the event was no longer kept.
    pub expired: Option<Expired>,
}

/// What became of an event that is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expired {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Whether invocations were given up for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_up: bool,
}

#[derive(Serialize, Deserialize)]
struct Whole {
    runs: Vec<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    again: Vec<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired: Option<Expired>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    /// That of format 2, and of what is no event.
    Runs(Vec<RunId>),
    Whole(Whole),
}

impl Caused {
    /// The column's text.
    pub fn encode(&self) -> String {
        let Self { runs, version, again, expired } = self.clone();
        let text = match (version, again.is_empty(), expired) {
            (None, true, None) => serde_json::to_string(&runs),
            _ => serde_json::to_string(&Whole { runs, version, again, expired }),
        };
        text.expect("lists of texts and a number are JSON")
    }

    /// Reads it; `None` when it is none.
    pub fn decode(text: &str) -> Option<Self> {
        Some(match serde_json::from_str(text).ok()? {
            Form::Runs(runs) => Self { runs, ..Self::default() },
            Form::Whole(Whole { runs, version, again, expired }) => Self { runs, version, again, expired },
        })
    }

    /// All of the runs.
    pub fn all(&self) -> impl Iterator<Item = &RunId> {
        self.runs.iter().chain(&self.again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back_and_what_says_no_more_is_as_format_2_has_it() {
        let ids = |ids: &[&str]| ids.iter().map(|id| RunId::from_text(*id)).collect::<Vec<_>>();
        let plain = Caused { runs: ids(&["a", "b"]), ..Caused::default() };
        assert_eq!(plain.encode(), r#"["a","b"]"#);
        let more = Caused { version: Some(7), again: ids(&["c"]), ..plain.clone() };
        assert_eq!(more.encode(), r#"{"runs":["a","b"],"version":7,"again":["c"]}"#);
        let over = Caused { expired: Some(Expired { at: 5, gave_up: true }), ..plain.clone() };
        assert_eq!(over.encode(), r#"{"runs":["a","b"],"expired":{"at":5,"gave_up":true}}"#);
        for caused in [over, plain, more, Caused { version: Some(1), ..Caused::default() }] {
            assert_eq!(Caused::decode(&caused.encode()), Some(caused));
        }
        assert_eq!(Caused::decode("{}"), None);
    }
}
