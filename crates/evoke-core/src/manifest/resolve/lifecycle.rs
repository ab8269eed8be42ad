//! Types that begin with `evoke.`: an app may subscribe to those there are, and publish none.

use super::Resolver;
use crate::lifecycle::{PREFIX, TYPES, is_own};
use crate::manifest::TypePattern;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;

impl Resolver<'_, '_> {
    /// Whether an app may publish events of this type; if not, that is a problem.
    pub(super) fn is_of_the_app(&mut self, place: &str, text: &At<String>) -> bool {
        if !is_own(&text.value) {
            return true;
        }
        let message = format!("{place} {:?} is a type of the platform's own", text.value);
        self.problems
            .add("reserved", text.span.clone(), message)
            .help(format!("only Evoke publishes types that begin with {PREFIX}; choose another"));
        false
    }

    /// A subscription to an event of the platform that there is not would wait for ever.
    pub(super) fn is_published(&mut self, place: &str, text: &At<String>, event: &TypePattern) {
        if is_own(&event.0) && !TYPES.iter().any(|ty| event.matches(ty)) {
            let message = format!("{place} {:?} is no event of the platform", text.value);
            self.problems
                .add("unknown_event", text.span.clone(), message)
                .maybe_help(did_you_mean(&text.value, TYPES.into_iter()));
        }
    }
}
