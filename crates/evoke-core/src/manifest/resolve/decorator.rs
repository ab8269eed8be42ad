//! What stands between a route and what it leads to.

use super::Resolver;
use super::experiment::{Raw, Stands};
use crate::id::FunctionName;
use crate::manifest::bounds::DECORATORS_MAX;
use crate::manifest::problem::did_you_mean;
use crate::manifest::raw;
use crate::manifest::table::At;

impl Resolver<'_, '_> {
    /// The decorators of a route, the outermost first: functions, decorators without code, experiments.
    pub(super) fn decorators(
        &mut self,
        place: &str,
        route: &raw::Route,
        standing: &[&str],
        experiments: &Raw<'_>,
    ) -> Vec<FunctionName> {
        let Some(names) = &route.decorators else { return Vec::new() };
        let among = |name: &&str| experiments[*name].1 == Stands::AmongDecorators;
        let standing: Vec<&str> =
            standing.iter().copied().chain(experiments.keys().copied().filter(among)).collect();
        let found = self.decorator_list(place, names, &standing);
        let is_target = |name: &&At<String>| route.to.as_ref().is_some_and(|to| to.value == name.value);
        if let Some(name) = names.value.iter().find(is_target) {
            let message = format!(
                "{place}: function {} is both what the route leads to and in front of it",
                name.value
            );
            self.problems.add("conflict", name.span.clone(), message).help("leave one of them out");
        }
        for name in &names.value {
            if let Some((experiment, _)) = experiments.get(name.value.as_str()) {
                self.with_variants(place, route, names, (name, experiment));
            }
        }
        found
    }

    /// What the route would be with each of the experiment's variants: nothing twice, and no more than there may be.
    fn with_variants(
        &mut self,
        place: &str,
        route: &raw::Route,
        names: &At<Vec<At<String>>>,
        (name, experiment): (&At<String>, &raw::Experiment),
    ) {
        let stands = |other: &str| {
            let to = route.to.as_ref().is_some_and(|to| to.value == other);
            to || names.value.iter().any(|name| name.value == other)
        };
        for (variant_name, variant) in &experiment.variants {
            let Some(more) = &variant.decorators else { continue };
            let place = format!("{place}: with variant {} of experiment {}", variant_name.value, name.value);
            if let Some(twice) = more.value.iter().find(|other| stands(&other.value)) {
                let message = format!("{place}, {} is on the way twice", twice.value);
                self.problems.add("conflict", name.span.clone(), message).help("leave one of them out");
            }
            let count = names.value.len() - 1 + more.value.len();
            if count > DECORATORS_MAX {
                let message =
                    format!("{place}, {count} decorators are more than the limit of {DECORATORS_MAX}");
                self.problems.add("out_of_range", name.span.clone(), message);
            }
        }
    }

    /// Each of `names` once, and one of `standing`.
    pub(super) fn decorator_list(
        &mut self,
        place: &str,
        names: &At<Vec<At<String>>>,
        standing: &[&str],
    ) -> Vec<FunctionName> {
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
