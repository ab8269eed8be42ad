//! `on_success` and `on_failure`: each names one thing that there is.

use std::collections::BTreeMap;

use super::Resolver;
use crate::id::FunctionName;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{Destination, Destinations, Function, QUEUE_PREFIX, raw};

/// What destinations can name.
struct Names<'f> {
    functions: Vec<&'f str>,
    hooks: Vec<&'f str>,
    queues: Vec<&'f str>,
}

impl Resolver<'_, '_> {
    /// Gives functions and hooks their destinations, now that all there is has a name.
    pub(super) fn all_destinations(
        &mut self,
        file: &raw::File,
        functions: &mut BTreeMap<FunctionName, Function>,
    ) {
        fn names<T>(named: &[(At<String>, T)]) -> Vec<&str> {
            named.iter().map(|(name, _)| name.value.as_str()).collect()
        }
        let names = Names {
            functions: names(&file.functions),
            hooks: names(&file.hooks),
            queues: names(&file.queues),
        };
        for (name, raw) in &file.functions {
            let place = format!("function {}", name.value);
            let own = self.destinations(&place, [&raw.on_success, &raw.on_failure], &names);
            let on = self.of_subscriptions(&place, &raw.on, &names);
            let found = FunctionName::new(&name.value).ok().and_then(|name| functions.get_mut(&name));
            if let Some(function) = found {
                function.destinations = own;
                give(function, on);
            }
        }
        for (name, raw) in &file.hooks {
            let on = self.of_subscriptions(&format!("hook {}", name.value), &raw.on, &names);
            let found = FunctionName::new(&name.value).ok().and_then(|name| functions.get_mut(&name));
            found.into_iter().for_each(|hook| give(hook, on.clone()));
        }
    }

    fn of_subscriptions(
        &mut self,
        place: &str,
        on: &[raw::Subscription],
        names: &Names<'_>,
    ) -> Vec<Destinations> {
        let each = on.iter().enumerate();
        each.map(|(at, on)| {
            let place = format!("{place}: on {}", at + 1);
            self.destinations(&place, [&on.on_success, &on.on_failure], names)
        })
        .collect()
    }

    fn destinations(
        &mut self,
        place: &str,
        [success, failure]: [&Option<raw::Destination>; 2],
        names: &Names<'_>,
    ) -> Destinations {
        let mut read = |key, raw: &Option<raw::Destination>| {
            raw.as_ref().and_then(|raw| self.destination(&format!("{place}: {key}"), raw, names))
        };
        Destinations { on_success: read("on_success", success), on_failure: read("on_failure", failure) }
    }

    fn destination(&mut self, place: &str, raw: &raw::Destination, names: &Names<'_>) -> Option<Destination> {
        let raw::Destination { event, function, hook } = raw;
        let given = [("event", event), ("function", function), ("hook", hook)];
        let given: Vec<_> = given.iter().filter_map(|(key, name)| Some((*key, name.as_ref()?))).collect();
        if let [(first, _), (second, name), ..] = given.as_slice() {
            let message = format!("{place} names {second} {:?} beside its {first}", name.value);
            self.problems
                .add("duplicate", name.span.clone(), message)
                .help("name one of them; several can subscribe to an event");
            return None;
        }
        match given.first()? {
            ("event", ty) => self.told_type(place, ty, names).map(Destination::Event),
            ("function", name) => {
                self.told(place, "function", name, &names.functions).map(Destination::Function)
            }
            (_, name) => self.told(place, "hook", name, &names.hooks).map(Destination::Hook),
        }
    }

    fn told_type(&mut self, place: &str, ty: &At<String>, names: &Names<'_>) -> Option<String> {
        let place = format!("{place}: event");
        let pattern = self.pattern(&place, ty)?;
        let Some(exact) = pattern.exact() else {
            let message = format!("{place} {:?} is a prefix of types", ty.value);
            self.problems.add("invalid_value", ty.span.clone(), message).help("write one type");
            return None;
        };
        if let Some(queue) = exact.strip_prefix(QUEUE_PREFIX).filter(|name| !names.queues.contains(name)) {
            let message = format!("{place} {exact:?} is for a queue, and there is no queue {queue:?}");
            self.problems
                .add("unknown_queue", ty.span.clone(), message)
                .maybe_help(did_you_mean(queue, names.queues.iter().copied()));
            return None;
        }
        self.is_of_the_app(&place, ty).then(|| exact.to_owned())
    }

    fn told(&mut self, place: &str, kind: &str, name: &At<String>, known: &[&str]) -> Option<FunctionName> {
        if known.contains(&name.value.as_str()) {
            // What is wrong with the name is said where it is given.
            return FunctionName::new(&name.value).ok();
        }
        let message = format!("{place}: there is no {kind} {:?}", name.value);
        let code = if kind == "hook" { "unknown_hook" } else { "unknown_function" };
        self.problems
            .add(code, name.span.clone(), message)
            .maybe_help(did_you_mean(&name.value, known.iter().copied()));
        None
    }
}

fn give(function: &mut Function, destinations: Vec<Destinations>) {
    for (on, destinations) in function.on.iter_mut().zip(destinations) {
        on.destinations = destinations;
    }
}
