//! How long an app keeps its events after they were accepted: `[archive]` of the manifest.
//!
//! The archive is the log seen from its end: what nothing waits for any more, kept to be looked at and replayed. Each type of
//! events has the rule that names it best; what no rule names has that of the app, and what the app leaves open that of the
//! server ([`Retention`](crate::store::Retention)).

mod selection;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::{TypePattern, units};

pub use selection::Selection;

/// What an app says of its events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// How long they are kept; as the server says when left out.
    #[serde(default, with = "units::optional_duration_text", skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// Bytes of all of them at most, in JSON format; above it the oldest go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Rules for types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<TypeRule>,
}

/// What it says of the events of some types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeRule {
    /// Which types.
    pub ty: TypePattern,
    /// How long they are kept; as the app says when left out.
    #[serde(default, with = "units::optional_duration_text", skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// Bytes of all events of these types at most, in JSON format; above it the oldest go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether they go also while something needs them. What had not been delivered by then never is, and its run says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub even_if_needed: bool,
}

impl Archive {
    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The rule for a type: of those that match the exact one, else the one with the longest prefix.
    pub fn rule(&self, ty: &str) -> Option<&TypeRule> {
        let matching = self.types.iter().filter(|rule| rule.ty.matches(ty));
        matching.max_by_key(|rule| (rule.ty.exact().is_some(), rule.ty.0.len()))
    }

    /// How long events of a type are kept, where the app says so.
    pub fn keep(&self, ty: &str) -> Option<Duration> {
        self.rule(ty).and_then(|rule| rule.keep).or(self.keep)
    }

    /// Whether events of a type go also while something needs them.
    pub fn even_if_needed(&self, ty: &str) -> bool {
        self.rule(ty).is_some_and(|rule| rule.even_if_needed)
    }

    /// The bounds on bytes: of which rule, `None` for that of the whole app, and how many.
    pub fn bounds(&self) -> impl Iterator<Item = (Option<&TypePattern>, u64)> {
        let all = self.bytes.map(|bytes| (None, bytes));
        all.into_iter().chain(self.types.iter().filter_map(|rule| Some((Some(&rule.ty), rule.bytes?))))
    }

    /// Whether events of type `ty` count for the bound of rule `of` (`None`: that of the whole app).
    pub fn counts_for(&self, ty: &str, of: Option<&TypePattern>) -> bool {
        of.is_none_or(|pattern| self.rule(ty).is_some_and(|rule| rule.ty == *pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ty: &str, hours: u64) -> TypeRule {
        let keep = Some(Duration::from_secs(hours * 3_600));
        TypeRule { ty: TypePattern(ty.to_owned()), keep, bytes: Some(hours), even_if_needed: hours == 3 }
    }

    #[test]
    fn the_rule_that_names_a_type_best_counts_whatever_their_order() {
        let mut types = vec![rule("*", 1), rule("page.*", 2), rule("page.click", 3), rule("page.click*", 4)];
        for _ in 0..types.len() {
            types.rotate_left(1);
            let archive = Archive { types: types.clone(), keep: Some(Duration::from_secs(1)), bytes: None };
            let hours = |ty| archive.keep(ty).unwrap().as_secs() / 3_600;
            assert_eq!(["page.click", "page.clicked", "page.view", "order"].map(hours), [3, 4, 2, 1]);
            assert_eq!(
                archive.keep("evoke.node.stopping"),
                Some(Duration::from_secs(1)),
                "its own type only"
            );
            assert!(archive.even_if_needed("page.click") && !archive.even_if_needed("page.clicked"));
            assert!(archive.counts_for("page.view", Some(&TypePattern("page.*".to_owned()))));
            assert!(!archive.counts_for("page.click", Some(&TypePattern("page.*".to_owned()))));
            assert!(archive.counts_for("page.click", None));
        }
    }
}
