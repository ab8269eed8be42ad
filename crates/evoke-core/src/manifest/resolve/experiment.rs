//! `[experiments.NAME]`: several ways on at one place of a route.
//!
//! What is a function or a decorator is checked once; where a variant leads is resolved for each route that leads to the
//! experiment, since a URL has the parameters of that route's path and its settings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use super::Resolver;
use crate::experiment::compare::{Bodies, Compare};
use crate::experiment::{Copies, Experiment, Share, Sticky, Variant};
use crate::id::{FunctionName, VariantName};
use crate::manifest::bounds::{
    COMPARED_MAX, COPIED_BODY_MAX, COPIES_MAX, COPY_TIMEOUT_MAX, COPY_TIMEOUT_MIN, EXPERIMENTS_MAX,
};
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{RouteTarget, raw};
use crate::weights::{VARIANTS_MAX, WEIGHT_MAX};

/// Where an experiment may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    AmongDecorators,
    AtTheEnd,
}

/// The experiments of a file, by name, each with what it says of where its variants lead.
pub(super) type Raw<'f> = BTreeMap<&'f str, (&'f raw::Experiment, Stands)>;

impl Resolver<'_, '_> {
    /// The experiments by name, and where each may stand. None has the name of a function or a decorator; `standing` are those.
    pub(super) fn experiments<'f>(
        &mut self,
        raw: &'f [(At<String>, raw::Experiment)],
        standing: &[&str],
    ) -> (BTreeMap<FunctionName, Experiment>, Raw<'f>) {
        if let Some((name, _)) = raw.get(EXPERIMENTS_MAX) {
            let message = format!("{} experiments are more than the limit of {EXPERIMENTS_MAX}", raw.len());
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        let (mut found, mut known) = (BTreeMap::new(), Raw::new());
        for (name, raw) in raw.iter().take(EXPERIMENTS_MAX) {
            if standing.contains(&name.value.as_str()) {
                let message = format!("experiment {} has the name of a function or a decorator", name.value);
                self.problems
                    .add("duplicate", name.span.clone(), message)
                    .help("give one of them another name");
                continue;
            }
            let Some(stands) = self.stands(name, raw) else { continue };
            known.insert(name.value.as_str(), (raw, stands));
            let experiment = self.experiment(name, raw, standing);
            match FunctionName::new(&name.value) {
                Ok(name) => found.extend(experiment.map(|experiment| (name, experiment))),
                Err(error) => self.invalid_name(name, error.to_string()),
            }
        }
        (found, known)
    }

    /// Where each of its variants leads, for one route. What the route says of upstreams holds for those among them.
    pub(super) fn experiment_targets(
        &mut self,
        place: &str,
        (name, experiment): (&At<String>, &raw::Experiment),
        route: &raw::Route,
        declared: &[&str],
    ) -> Option<RouteTarget> {
        let is_url = |to: &At<String>| to.value.contains("://");
        let leads_to_url =
            experiment.variants.iter().any(|(_, variant)| variant.to.as_ref().is_some_and(is_url));
        if !leads_to_url {
            self.only_for_upstreams(place, route);
        }
        let mut targets = BTreeMap::new();
        for (variant_name, variant) in &experiment.variants {
            let place = format!("{place}: experiment {}: variant {}", name.value, variant_name.value);
            let settings = variant.to.as_ref().is_some_and(is_url);
            let way = if settings { route.clone() } else { route.bare() };
            let way = raw::Route { to: variant.to.clone(), redirect: variant.redirect.clone(), ..way };
            let target = self.route_target(&place, &way, declared)?;
            targets.insert(VariantName::new(&variant_name.value).ok()?, target);
        }
        Some(RouteTarget::Experiment { name: FunctionName::new(&name.value).ok()?, variants: targets })
    }

    /// Among decorators or at the end of a route: all variants have to be of the same kind.
    fn stands(&mut self, name: &At<String>, raw: &raw::Experiment) -> Option<Stands> {
        let place = format!("experiment {}", name.value);
        let mut found = None;
        for (variant_name, variant) in &raw.variants {
            let parts = [variant.decorators.is_some(), variant.to.is_some(), variant.redirect.is_some()];
            let stands = match parts {
                [true, false, false] => Stands::AmongDecorators,
                [false, true, false] | [false, false, true] => Stands::AtTheEnd,
                _ => {
                    let message = format!(
                        "{place}: variant {} has to have one of decorators, to, redirect",
                        variant_name.value
                    );
                    self.problems
                        .add("invalid_value", variant_name.span.clone(), message)
                        .help("write decorators = [] for a variant in which nothing stands there");
                    return None;
                }
            };
            if *found.get_or_insert(stands) != stands {
                let message = format!("{place}: some variants have decorators, and others lead somewhere");
                self.problems
                    .add("conflict", variant_name.span.clone(), message)
                    .help("an experiment stands either among decorators or where a route leads to");
                return None;
            }
        }
        found
    }

    fn experiment(
        &mut self,
        name: &At<String>,
        raw: &raw::Experiment,
        standing: &[&str],
    ) -> Option<Experiment> {
        let place = format!("experiment {}", name.value);
        if raw.variants.len() > VARIANTS_MAX {
            let message =
                format!("{place}: {} variants are more than the limit of {VARIANTS_MAX}", raw.variants.len());
            self.problems.add("out_of_range", name.span.clone(), message);
            return None;
        }
        let mut variants = Vec::new();
        for (name, variant) in &raw.variants {
            variants.push(self.variant(&place, name, variant, standing)?);
        }
        let sticky = match &raw.sticky {
            Some(sticky) => Some(self.sticky(&place, sticky)?),
            None => None,
        };
        let compare = self.compare(&format!("{place}: compare"), raw.compare.as_ref())?;
        let copies = self.copies(&format!("{place}: copies"), raw.copies.as_ref())?;
        let experiment = Experiment { sticky, variants, compare, copies };
        if let Err(error) = experiment.weights() {
            self.problems
                .add("invalid_value", name.span.clone(), format!("{place}: {error}"))
                .help("give the variant that answers clients a weight, such as weight = 100");
            return None;
        }
        Some(experiment)
    }

    fn variant(
        &mut self,
        place: &str,
        name: &At<String>,
        raw: &raw::Variant,
        standing: &[&str],
    ) -> Option<Variant> {
        let place = format!("{place}: variant {}", name.value);
        let valid = match VariantName::new(&name.value) {
            Ok(valid) => valid,
            Err(error) => {
                self.invalid_name(name, error.to_string());
                return None;
            }
        };
        let share = match (&raw.weight, &raw.shadow) {
            (Some(weight), None) => {
                let weight = self.in_range(&place, "weight", weight, 0..=i64::from(WEIGHT_MAX))?;
                Share::Weight(u32::try_from(weight).ok()?)
            }
            (None, Some(shadow)) if raw.redirect.is_some() => {
                let message =
                    format!("{place}: a redirect asks nobody, so that there is no answer to compare");
                self.problems
                    .add("conflict", shadow.span.clone(), message)
                    .help("give it a weight, or leave it out");
                return None;
            }
            (None, Some(shadow)) => {
                let percent = self.in_range(&place, "shadow", shadow, 1..=100)?;
                Share::Shadow(u8::try_from(percent).ok()?)
            }
            (both, _) => {
                let wrong = if both.is_some() { "has a weight and is a shadow" } else { "has no weight" };
                self.problems
                    .add("invalid_value", name.span.clone(), format!("{place} {wrong}"))
                    .help("write weight = 10 for its part of the requests, or shadow = 100 for copies of so many percent");
                return None;
            }
        };
        let decorators = raw.decorators.as_ref().map(|names| self.decorator_list(&place, names, standing));
        Some(Variant { name: valid, share, decorators })
    }

    fn sticky(&mut self, place: &str, text: &At<String>) -> Option<Sticky> {
        let is_name = |name: &str| HeaderName::from_bytes(name.as_bytes()).is_ok();
        match text.value.split_once(':') {
            None if text.value == "cookie" => return Some(Sticky::OwnCookie),
            Some(("cookie", name)) if is_name(name) => return Some(Sticky::Cookie(name.to_owned())),
            Some(("header", name)) if is_name(name) => {
                return Some(Sticky::Header(name.to_ascii_lowercase()));
            }
            _ => {}
        }
        let message = format!("{place}: sticky {:?} is not known", text.value);
        self.problems.add("invalid_value", text.span.clone(), message).help(
            "write \"cookie\" for one that Evoke sets, \"cookie:session\", \"header:X-User\", or leave it out for chance",
        );
        None
    }

    fn compare(&mut self, place: &str, raw: Option<&raw::Compare>) -> Option<Compare> {
        let mut compare = Compare::default();
        let Some(raw) = raw else { return Some(compare) };
        if let Some(status) = &raw.status {
            compare.status = status.value;
        }
        if let Some(headers) = &raw.headers {
            self.few(place, "headers", headers)?;
            compare.headers.clear();
            for name in &headers.value {
                if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
                    let message = format!("{place}: {:?} is no header field", name.value);
                    self.problems.add("invalid_value", name.span.clone(), message);
                    return None;
                }
                compare.headers.push(name.value.to_ascii_lowercase());
            }
        }
        if let Some(body) = &raw.body {
            const KINDS: [(&str, Bodies); 3] =
                [("auto", Bodies::Auto), ("bytes", Bodies::Bytes), ("ignore", Bodies::Ignore)];
            let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == body.value) else {
                let message = format!("{place}: body {:?} is not known", body.value);
                let near = did_you_mean(&body.value, KINDS.iter().map(|(name, _)| *name));
                self.problems
                    .add("invalid_value", body.span.clone(), message)
                    .help(near.unwrap_or_else(|| "write \"auto\", \"bytes\" or \"ignore\"".to_owned()));
                return None;
            };
            compare.body = *kind;
        }
        if let Some(ignore) = &raw.ignore {
            self.few(place, "ignore", ignore)?;
            if let Some(wrong) = ignore.value.iter().find(|pointer| !pointer.value.starts_with('/')) {
                let message = format!("{place}: ignore {:?} is no JSON pointer", wrong.value);
                self.problems
                    .add("invalid_value", wrong.span.clone(), message)
                    .help("write \"/id\", or \"/items/*/id\" for one member of all");
                return None;
            }
            compare.ignore = ignore.value.iter().map(|pointer| pointer.value.clone()).collect();
        }
        Some(compare)
    }

    fn few(&mut self, place: &str, key: &str, list: &At<Vec<At<String>>>) -> Option<()> {
        if list.value.len() <= COMPARED_MAX {
            return Some(());
        }
        let message = format!("{place}: {key} has {} entries, the limit is {COMPARED_MAX}", list.value.len());
        self.problems.add("out_of_range", list.span.clone(), message);
        None
    }

    fn copies(&mut self, place: &str, raw: Option<&raw::Copies>) -> Option<Copies> {
        let mut copies = Copies::default();
        let Some(raw) = raw else { return Some(copies) };
        if raw.concurrency.is_some() {
            copies.concurrency = self.count(place, "concurrency", raw.concurrency.as_ref(), COPIES_MAX)?;
        }
        if raw.max_body.is_some() {
            copies.max_body = self.size(place, "max_body", raw.max_body.as_ref(), 0..=COPIED_BODY_MAX)?;
        }
        if raw.timeout.is_some() {
            let range: RangeInclusive<Duration> = COPY_TIMEOUT_MIN..=COPY_TIMEOUT_MAX;
            copies.timeout = self.duration(place, "timeout", raw.timeout.as_ref(), range)?;
        }
        Some(copies)
    }

    fn in_range(
        &mut self,
        place: &str,
        key: &str,
        number: &At<i64>,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        if range.contains(&number.value) {
            return Some(number.value);
        }
        let (least, most) = (range.start(), range.end());
        let message = format!("{place}: {key} {} is outside of {least} to {most}", number.value);
        self.problems.add("out_of_range", number.span.clone(), message);
        None
    }
}
