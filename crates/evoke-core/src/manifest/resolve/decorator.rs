//! What stands between a route and what it leads to.

use super::Resolver;
use crate::id::FunctionName;
use crate::manifest::bounds::DECORATORS_MAX;
use crate::manifest::problem::did_you_mean;
use crate::manifest::raw;
use crate::manifest::table::At;

impl Resolver<'_, '_> {
    /// The decorators of a route, the outermost first.
    pub(super) fn decorators(
        &mut self,
        place: &str,
        route: &raw::Route,
        standing: &[&str],
    ) -> Vec<FunctionName> {
        let Some(names) = &route.decorators else { return Vec::new() };
        if names.value.len() > DECORATORS_MAX {
            let message = format!(
                "{place}: {} decorators are more than the limit of {DECORATORS_MAX}",
                names.value.len()
            );
            self.problems.add("out_of_range", names.span.clone(), message);
        }
        let mut seen: Vec<FunctionName> = Vec::new();
        for name in names.value.iter().take(DECORATORS_MAX) {
            let Some(decorator) = self.decorator(place, name, standing) else { continue };
            if seen.contains(&decorator) {
                let message = format!("{place}: decorators names {decorator} twice");
                self.problems.add("duplicate", name.span.clone(), message);
            } else if route.to.as_ref().is_some_and(|to| to.value == name.value) {
                let message = format!(
                    "{place}: function {decorator} is both what the route leads to and in front of it"
                );
                self.problems.add("conflict", name.span.clone(), message).help("leave one of them out");
            } else {
                seen.push(decorator);
            }
        }
        seen
    }

    fn decorator(&mut self, place: &str, name: &At<String>, standing: &[&str]) -> Option<FunctionName> {
        let text = name.value.as_str();
        if standing.contains(&text) {
            return FunctionName::new(text).ok();
        }
        let near = did_you_mean(text, standing.iter().copied());
        let help = near.unwrap_or_else(|| "declare it with [decorators.NAME], or as a function".to_owned());
        let message =
            format!("{place}: decorator {text:?} is neither a function nor a decorator of this app");
        self.problems.add("unknown_decorator", name.span.clone(), message).help(help);
        None
    }
}
