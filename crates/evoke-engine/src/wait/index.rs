//! Which waits of an app an event may end, found without trying all of them: by its type first, then by a value that
//! the pattern of a wait must find in it ([`Anchor`]), where it names one.

use std::collections::{BTreeSet, HashMap};

use evoke_core::event::Event;
use evoke_core::filter::Allowance;
use evoke_core::filter::pattern::{Anchor, Exact};
use evoke_core::id::AppName;
use evoke_core::manifest::bounds::PATTERN_CHARS_MAX;
use evoke_core::time::Timestamp;
use evoke_core::wait::{Awaited, Wait};

use super::Key;

/// What has to be known of a wait in memory.
#[derive(Debug)]
pub(super) struct Known {
    pub key: Key,
    pub app: AppName,
    pub until: Timestamp,
    /// The newest position of the log when its attempt began.
    pub after_seq: u64,
    /// Where the log was searched to.
    pub searched: u64,
    awaited: Awaited,
}

impl Known {
    pub fn of(wait: Wait) -> Self {
        let Wait { id, app, awaited, until, after_seq, .. } = wait;
        Self { key: super::key_of(&app, &id), app, until, after_seq, searched: after_seq, awaited }
    }

    /// The type it waits for, unless that is a prefix.
    pub fn exact_type(&self) -> Option<&str> {
        self.awaited.event.exact()
    }
}

/// The waits of one app.
#[derive(Debug, Default)]
pub(super) struct Index {
    known: HashMap<Key, (Known, u64)>,
    exact: HashMap<String, Bucket>,
    prefixes: HashMap<String, Bucket>,
}

/// Those for one type, or one beginning of types.
#[derive(Debug, Default)]
struct Bucket {
    anchored: HashMap<Vec<String>, HashMap<Exact, BTreeSet<Key>>>,
    others: BTreeSet<Key>,
}

impl Index {
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn get(&self, key: &Key) -> Option<&Known> {
        self.known.get(key).map(|(known, _)| known)
    }

    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Known> {
        self.known.get_mut(key).map(|(known, _)| known)
    }

    /// Adds it, and says of which generation it was if it was there before.
    pub fn insert(&mut self, known: Known, generation: u64) -> Option<u64> {
        let former = self.remove(&known.key).map(|(_, generation)| generation);
        let key = known.key.clone();
        let bucket = self.buckets_of(&known.awaited).0;
        match anchor(&known.awaited) {
            Some(Anchor { path, values }) => {
                let by_value = bucket.anchored.entry(path).or_default();
                for value in values {
                    by_value.entry(value).or_default().insert(key.clone());
                }
            }
            None => drop(bucket.others.insert(key.clone())),
        }
        self.known.insert(key, (known, generation));
        former
    }

    /// Takes it out, with its generation.
    pub fn remove(&mut self, key: &Key) -> Option<(Known, u64)> {
        let (known, generation) = self.known.remove(key)?;
        let (bucket, name) = self.buckets_of(&known.awaited);
        match anchor(&known.awaited) {
            Some(Anchor { path, values }) => {
                if let Some(by_value) = bucket.anchored.get_mut(&path) {
                    for value in values {
                        let Some(keys) = by_value.get_mut(&value) else { continue };
                        keys.remove(key);
                        if keys.is_empty() {
                            by_value.remove(&value);
                        }
                    }
                    if by_value.is_empty() {
                        bucket.anchored.remove(&path);
                    }
                }
            }
            None => drop(bucket.others.remove(key)),
        }
        if bucket.others.is_empty() && bucket.anchored.is_empty() {
            match name.strip_suffix('*') {
                Some(prefix) => self.prefixes.remove(prefix),
                None => self.exact.remove(name),
            };
        }
        Some((known, generation))
    }

    /// The waits that this event may end, as far as what is left of `allowance` can tell.
    pub fn find(&self, event: &Event, allowance: &mut Allowance) -> Vec<Key> {
        let ty = event.ty();
        // A type can be much longer than any prefix.
        let beginnings = ty.char_indices().map(|(at, _)| &ty[..at]).chain([ty]).take(PATTERN_CHARS_MAX + 1);
        let prefixes = beginnings.filter_map(|beginning| self.prefixes.get(beginning));
        let mut found = BTreeSet::new();
        for bucket in self.exact.get(ty).into_iter().chain(prefixes) {
            bucket.candidates(event, |key| {
                if self.get(key).is_some_and(|known| known.awaited.may_take(event, allowance)) {
                    found.insert(key.clone());
                }
            });
        }
        found.into_iter().collect()
    }

    fn buckets_of<'w>(&mut self, awaited: &'w Awaited) -> (&mut Bucket, &'w str) {
        let name = awaited.event.0.as_str();
        let bucket = match name.strip_suffix('*') {
            Some(prefix) => self.prefixes.entry(prefix.to_owned()).or_default(),
            None => self.exact.entry(name.to_owned()).or_default(),
        };
        (bucket, name)
    }
}

impl Bucket {
    fn candidates(&self, event: &Event, mut each: impl FnMut(&Key)) {
        self.others.iter().for_each(&mut each);
        for (path, by_value) in &self.anchored {
            for value in Exact::values_at(event, path) {
                by_value.get(&value).into_iter().flatten().for_each(&mut each);
            }
        }
    }
}

fn anchor(awaited: &Awaited) -> Option<Anchor> {
    awaited.pattern.as_ref()?.anchor()
}
