//! Bounds of chains, and what is said of who calls whom.

use std::ops::RangeInclusive;

use super::Resolver;
use crate::id::FunctionName;
use crate::manifest::bounds::*;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{ChainBounds, Chains, Loops, raw};

impl Resolver<'_, '_> {
    pub(super) fn chains(&mut self, app: Option<&raw::App>) -> Chains {
        let bounds = self.chain("app", app.and_then(|app| app.chain.as_ref()));
        let loops = app.and_then(|app| app.loops.as_ref());
        let loops = loops.and_then(|loops| match loops.value.as_str() {
            "warn" => Some(Loops::Warn),
            "deny" => Some(Loops::Deny),
            "allow" => Some(Loops::Allow),
            other => {
                let message = format!("app: loops {other:?} is not known");
                let found = self.problems.add("invalid_value", loops.span.clone(), message);
                found.help(r#"write "warn", "deny" or "allow""#);
                None
            }
        });
        Chains { bounds, loops: loops.unwrap_or_default() }
    }

    pub(super) fn chain(&mut self, place: &str, raw: Option<&raw::Chain>) -> ChainBounds {
        let Some(raw) = raw else { return ChainBounds::default() };
        let place = format!("{place}: chain");
        ChainBounds {
            depth: self.bound(&place, "depth", raw.depth.as_ref(), 1..=CHAIN_DEPTH_MAX),
            reentries: self.bound(&place, "reentries", raw.reentries.as_ref(), 0..=CHAIN_DEPTH_MAX),
            invocations: self
                .bound(&place, "invocations", raw.invocations.as_ref(), 1..=CHAIN_INVOCATIONS_MAX)
                .map(u64::from),
            rate: self.bound(&place, "rate", raw.rate.as_ref(), 1..=CHAIN_INVOCATIONS_MAX),
        }
    }

    fn bound(
        &mut self,
        place: &str,
        key: &str,
        number: Option<&At<i64>>,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = number?;
        match u32::try_from(number.value) {
            Ok(value) if range.contains(&value) => Some(value),
            _ => {
                let message = format!(
                    "{place}: {key} {} is not within {} to {}",
                    number.value,
                    range.start(),
                    range.end()
                );
                self.problems.add("out_of_range", number.span.clone(), message);
                None
            }
        }
    }

    /// The functions one may call; `declared` are those of the app.
    pub(super) fn calls(
        &mut self,
        place: &str,
        names: Option<&At<Vec<At<String>>>>,
        declared: &[&str],
    ) -> Option<Vec<FunctionName>> {
        let names = names?;
        self.at_most(place, "calls", names.value.len(), &names.span);
        let mut found: Vec<FunctionName> = Vec::with_capacity(names.value.len().min(PATTERNS_MAX));
        for text in names.value.iter().take(PATTERNS_MAX) {
            if !declared.contains(&text.value.as_str()) {
                let message = format!("{place}: calls {:?}, which is no function of the app", text.value);
                let problem = self.problems.add("unknown_function", text.span.clone(), message);
                problem.maybe_help(did_you_mean(&text.value, declared.iter().copied()));
                continue;
            }
            match FunctionName::new(&text.value) {
                Ok(name) if found.contains(&name) => {
                    let message = format!("{place}: calls names {name} twice");
                    self.problems.add("duplicate", text.span.clone(), message);
                }
                Ok(name) => found.push(name),
                // Said where the function has its name.
                Err(_) => {}
            }
        }
        Some(found)
    }
}
