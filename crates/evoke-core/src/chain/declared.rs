//! What goes round by the manifest alone: a function emits what another one is subscribed to, says that it calls it, or has it
//! told how its work ended, and so on back to the first.
//!
//! Filters are not looked at, so what is found may never happen, and a function that calls without saying so is not found:
//! it is a hint at deploy, and what really goes round is stopped while it does ([`super::judge`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Bound;

use crate::id::FunctionName;
use crate::lifecycle;
use crate::manifest::{Destination, Fate, Manifest, TypePattern};

/// The most circles that are told.
pub const CYCLES_MAX: usize = 10;

/// A circle of functions, each with what leads from it to the next; the last leads to the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<(FunctionName, Way)>);

/// How one function can lead to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It may emit events that the other is subscribed to: the pattern of its `emits`.
    Emits(TypePattern),
    /// It says that it calls it.
    Calls,
    /// Its end is told to the other, directly or by an event of this type.
    Tells(Fate, Option<String>),
}

/// The circles of a manifest: for each group of functions that can all reach one another a shortest one, at most
/// [`CYCLES_MAX`].
pub fn cycles(manifest: &Manifest) -> Vec<Cycle> {
    let graph = Graph::of(manifest);
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for name in manifest.functions.keys() {
        if found.len() >= CYCLES_MAX {
            break;
        }
        // A circle through a function that is in one already would tell the same again.
        if told.contains(name) {
            continue;
        }
        if let Some(cycle) = graph.shortest_round(name) {
            told.extend(cycle.0.iter().map(|(name, _)| name.clone()));
            found.push(cycle);
        }
    }
    found
}

impl fmt::Display for Cycle {
    /// `a —order_placed→ b —call→ a`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, way) in &self.0 {
            match way {
                Way::Emits(pattern) => write!(f, "{name} —{}→ ", pattern.0)?,
                Way::Calls => write!(f, "{name} —call→ ")?,
                Way::Tells(fate, None) => write!(f, "{name} —{}→ ", fate.key())?,
                Way::Tells(fate, Some(ty)) => write!(f, "{name} —{} {ty}→ ", fate.key())?,
            }
        }
        self.0.first().map_or(Ok(()), |(first, _)| write!(f, "{first}"))
    }
}

/// From each function to those it can lead to.
struct Graph<'m>(BTreeMap<&'m FunctionName, BTreeMap<&'m FunctionName, Way>>);

impl<'m> Graph<'m> {
    fn of(manifest: &'m Manifest) -> Self {
        let subscribers = Subscribers::of(manifest);
        let ways = |(name, function): (&'m FunctionName, &'m crate::manifest::Function)| {
            let mut ways = BTreeMap::new();
            for callee in function.calls.iter().flatten() {
                if let Some((callee, _)) = manifest.functions.get_key_value(callee) {
                    ways.insert(callee, Way::Calls);
                }
            }
            for pattern in &function.emits {
                for other in subscribers.of_pattern(pattern) {
                    ways.entry(other).or_insert_with(|| Way::Emits(pattern.clone()));
                }
            }
            let of_deliveries = function.on.iter().flat_map(|on| on.destinations.each());
            for (fate, destination) in function.destinations.each().chain(of_deliveries) {
                match destination {
                    Destination::Event(ty) => {
                        for other in subscribers.of_pattern(&TypePattern(ty.clone())) {
                            ways.entry(other).or_insert_with(|| Way::Tells(fate, Some(ty.clone())));
                        }
                    }
                    Destination::Function(told) | Destination::Hook(told) => {
                        if let Some((told, _)) = manifest.functions.get_key_value(told) {
                            ways.entry(told).or_insert(Way::Tells(fate, None));
                        }
                    }
                }
            }
            (name, ways)
        };
        Self(manifest.functions.iter().map(ways).collect())
    }

    /// A shortest way from `start` back to it: breadth first.
    fn shortest_round(&self, start: &'m FunctionName) -> Option<Cycle> {
        let mut came_from: BTreeMap<&FunctionName, (&FunctionName, &Way)> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(name) = next.pop_front() {
            for (other, way) in self.0.get(name)? {
                if *other == start {
                    return Some(Self::walk_back(&came_from, start, (name, way)));
                }
                if !came_from.contains_key(other) {
                    came_from.insert(other, (name, way));
                    next.push_back(other);
                }
            }
        }
        None
    }

    fn walk_back(
        came_from: &BTreeMap<&FunctionName, (&FunctionName, &Way)>,
        start: &FunctionName,
        (last, way): (&FunctionName, &Way),
    ) -> Cycle {
        let mut links = vec![(last.clone(), way.clone())];
        let mut name = last;
        while name != start
            && let Some((before, way)) = came_from.get(name)
        {
            links.push(((*before).clone(), (*way).clone()));
            name = before;
        }
        links.reverse();
        Cycle(links)
    }
}

/// Who is subscribed to what, sorted by type, so that a large manifest costs no comparison of all with all.
#[derive(Default)]
struct Subscribers<'m> {
    exact: BTreeMap<&'m str, Vec<&'m FunctionName>>,
    prefix: BTreeMap<&'m str, Vec<&'m FunctionName>>,
}

impl<'m> Subscribers<'m> {
    fn of(manifest: &'m Manifest) -> Self {
        let mut all = Self::default();
        for (name, function) in &manifest.functions {
            for on in &function.on {
                let pattern = on.event.0.as_str();
                match pattern.strip_suffix('*') {
                    Some(prefix) => all.prefix.entry(prefix).or_default().push(name),
                    None => all.exact.entry(pattern).or_default().push(name),
                }
            }
        }
        all
    }

    /// Those that get events of a type that the pattern means.
    fn of_pattern(&self, pattern: &TypePattern) -> BTreeSet<&'m FunctionName> {
        let text = pattern.0.as_str();
        let (text, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        // Prefixes of it take it, whatever it goes on with.
        let shorter = text.char_indices().map(|(at, _)| &text[..at]).chain([text]);
        let mut found: BTreeSet<_> =
            shorter.filter_map(|prefix| self.prefix.get(prefix)).flatten().copied().collect();
        match is_prefix {
            false => found.extend(self.exact.get(text).into_iter().flatten().copied()),
            true => {
                for longer in [&self.exact, &self.prefix] {
                    let from = longer.range::<str, _>((Bound::Included(text), Bound::Unbounded));
                    let from = from.take_while(|(name, _)| name.starts_with(text));
                    // The platform's own types are nobody's to emit.
                    let from = from.filter(|(name, _)| !lifecycle::is_own(name));
                    found.extend(from.flat_map(|(_, names)| names.iter().copied()));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{FileKind, parse};

    fn told(functions: &str) -> Vec<String> {
        let text = format!("evoke = \"1\"\n[app]\nname = \"shop\"\n{functions}");
        let manifest = parse(&text, "evoke.toml", &|_| Some(FileKind::File)).expect("it is a manifest");
        cycles(&manifest).iter().map(Cycle::to_string).collect()
    }

    fn function(name: &str, emits: &str, on: &str, calls: &str) -> String {
        let on: String =
            on.split_whitespace().map(|ty| format!("[[functions.{name}.on]]\nevent = \"{ty}\"\n")).collect();
        let list =
            |texts: &str| texts.split_whitespace().map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(", ");
        let calls = if calls.is_empty() { String::new() } else { format!("calls = [{}]\n", list(calls)) };
        format!("[functions.{name}]\nsource = \"{name}.py\"\nemits = [{}]\n{calls}{on}", list(emits))
    }

    #[test]
    fn a_pipeline_is_no_circle() {
        let steps = ["", "s1", "s2", "s3"];
        let app: String =
            (1..4).map(|n| function(&format!("f{n}"), &format!("s{n}"), steps[n - 1], "")).collect();
        assert_eq!(told(&app), Vec::<String>::new());
    }

    #[test]
    fn events_and_calls_make_circles_also_by_prefixes() {
        let app = [
            function("a", "order.*", "paid", ""),
            function("b", "", "order.placed", "c"),
            function("c", "paid", "", ""),
            function("selfish", "tick.x", "tick.*", ""),
            function("wide", "w.a.*", "w.*", ""),
        ];
        let expected = ["a —order.*→ b —call→ c —paid→ a", "selfish —tick.x→ selfish", "wide —w.a.*→ wide"];
        assert_eq!(told(&app.concat()), expected);
    }

    #[test]
    fn destinations_make_circles_of_functions_and_of_events() {
        let app = [
            function("a", "", "", "") + "on_success = { function = \"b\" }\n",
            function("b", "", "", "") + "on_failure = { event = \"b.failed\" }\n",
            function("c", "", "b.failed on_success", "") + "on_failure = { function = \"a\" }\n",
            function("d", "", "", "") + "on_failure = { function = \"d\" }\n",
        ];
        let expected = ["a —on_success→ b —on_failure b.failed→ c —on_failure→ a", "d —on_failure→ d"];
        assert_eq!(told(&app.concat()), expected);
    }

    #[test]
    fn the_platforms_own_events_close_no_circle() {
        let app = function("a", "*", "evoke.function.failing", "");
        assert_eq!(told(&app), Vec::<String>::new());
    }

    #[test]
    fn a_manifest_of_the_largest_size_is_looked_through() {
        let app: String =
            (0..1_000).map(|n| function(&format!("f{n}"), "e*", &format!("e{n}"), "")).collect();
        assert_eq!(told(&app).len(), CYCLES_MAX);
    }
}
