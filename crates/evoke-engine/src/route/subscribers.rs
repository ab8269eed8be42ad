//! Which subscriptions of an app may take an event, found by its type: what an event costs depends on those, not on
//! how many there are for other types.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use evoke_core::event::Event;
use evoke_core::filter::{Allowance, Decision};
use evoke_core::id::FunctionName;
use evoke_core::manifest::Subscription;

use super::Target;

/// The subscriptions of an app by what they name.
#[derive(Default)]
pub(crate) struct Subscribers {
    /// By function, in the order of the manifest: the position among the function's `on` entries.
    all: Vec<(Arc<Target>, u32)>,
    exact: HashMap<String, Vec<usize>>,
    prefixes: HashMap<String, Vec<usize>>,
    /// Bytes of those prefixes. A type can be long, and they are few.
    lengths: BTreeSet<usize>,
}

impl Subscribers {
    pub fn of(functions: &BTreeMap<FunctionName, Arc<Target>>) -> Self {
        let mut found = Self::default();
        for target in functions.values() {
            for (at, on) in (0..).zip(&target.settings.on) {
                found.add(target, at, on);
            }
        }
        found
    }

    fn add(&mut self, target: &Arc<Target>, at: u32, on: &Subscription) {
        let place = self.all.len();
        self.all.push((target.clone(), at));
        let name = on.event.0.as_str();
        match name.strip_suffix('*') {
            Some(prefix) => {
                self.lengths.insert(prefix.len());
                self.prefixes.entry(prefix.to_owned()).or_default().push(place);
            }
            None => self.exact.entry(name.to_owned()).or_default().push(place),
        }
    }

    /// Those that take the event, and those of which nobody knows, in the order of the manifest.
    pub fn find(&self, event: &Event, allowance: &mut Allowance) -> Vec<(&Arc<Target>, u32, Decision)> {
        let ty = event.ty();
        let beginnings = self.lengths.range(..=ty.len()).filter_map(|length| ty.get(..*length));
        let prefixes = beginnings.filter_map(|beginning| self.prefixes.get(beginning));
        let mut places: Vec<usize> =
            self.exact.get(ty).into_iter().chain(prefixes).flatten().copied().collect();
        places.sort_unstable();
        let candidates = places.into_iter().filter_map(|place| {
            let (target, at) = self.all.get(place)?;
            let on = target.settings.on.get(*at as usize).filter(|on| on.event.matches(ty))?;
            Some((target, *at, on.decide(event, allowance)))
        });
        candidates.filter(|(_, _, decision)| *decision != Decision::Leaves).collect()
    }
}
