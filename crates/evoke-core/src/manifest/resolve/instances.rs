//! How many instances a function has, and for how long: keys that must also fit each other.

use std::time::Duration;

use super::Resolver;
use crate::manifest::bounds::*;
use crate::manifest::{Function, RuntimeKind, raw};

/// What the manifest says of a function's instances.
pub(super) struct Instances {
    pub concurrency: u32,
    pub per_instance: u32,
    pub min: u32,
    pub idle: Option<Duration>,
    pub reuse: bool,
    pub keeps_instance: bool,
}

impl Resolver<'_, '_> {
    pub(super) fn instances(
        &mut self,
        place: &str,
        raw: &raw::Function,
        runtime: Option<RuntimeKind>,
    ) -> Instances {
        let concurrency = self.count(place, "concurrency", raw.concurrency.as_ref(), CONCURRENCY_MAX);
        let per_instance = raw.instance_concurrency.as_ref();
        let is_component = runtime == Some(RuntimeKind::Wasm);
        let found = Instances {
            concurrency: concurrency.unwrap_or(Function::CONCURRENCY_DEFAULT),
            per_instance: self
                .count(place, "instance_concurrency", per_instance, INSTANCE_CONCURRENCY_MAX)
                .unwrap_or(1),
            min: self.min_instances(place, raw),
            idle: self.duration(place, "idle", raw.idle.as_ref(), IDLE_MIN..=IDLE_MAX),
            // A component's connection is kept in any case: it is its instances that are fresh.
            reuse: is_component || raw.reuse.as_ref().is_none_or(|reuse| reuse.value),
            keeps_instance: is_component && raw.reuse.as_ref().is_some_and(|reuse| reuse.value),
        };
        let max = found.concurrency.div_ceil(found.per_instance);
        if let Some(min) = raw.min_instances.as_ref().filter(|_| found.min > max) {
            let message =
                format!("{place}: min_instances {} is above the {max} that there can be", found.min);
            let help = match found.per_instance {
                1 => format!("concurrency is {}: raise it, or keep fewer", found.concurrency),
                per => format!(
                    "concurrency is {} with {per} in each instance: raise it, or keep fewer",
                    found.concurrency
                ),
            };
            self.problems.add("out_of_range", min.span.clone(), message).help(help);
        }
        let one_at_a_time = match runtime {
            Some(RuntimeKind::Provided) => {
                Some("a client of the Lambda runtime API takes one call at a time")
            }
            Some(RuntimeKind::Wasm) => Some("each call of a component has an instance of its own"),
            _ => None,
        };
        if let Some((per, why)) = per_instance.filter(|_| found.per_instance > 1).zip(one_at_a_time) {
            let message = format!("{place}: instance_concurrency is {}, but {why}", found.per_instance);
            self.problems.add("invalid_value", per.span.clone(), message).help("leave it out");
        }
        if let Some(reuse) = raw.reuse.as_ref().filter(|reuse| !reuse.value && found.per_instance > 1) {
            let message = format!(
                "{place}: reuse = false gives each attempt an instance, instance_concurrency = {} gives an instance several attempts",
                found.per_instance
            );
            self.problems.add("invalid_value", reuse.span.clone(), message).help("leave out one of them");
        }
        found
    }

    fn min_instances(&mut self, place: &str, raw: &raw::Function) -> u32 {
        let Some(min) = &raw.min_instances else { return 0 };
        let range = 0..=i64::from(CONCURRENCY_MAX);
        let value = self.within(place, "min_instances", min, min.value, range, |n| n.to_string());
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
    }
}
