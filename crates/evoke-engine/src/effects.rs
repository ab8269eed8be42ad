//! What an attempt wants to change: buffered while it runs, so that it reads its own writes and nobody else does, and
//! committed in one transaction with its end.

use std::collections::{BTreeMap, HashMap};

use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::store::{Entry, Expect, Space, Write};

use crate::wait::Reserved;

/// Provisional revisions start here: above every revision the store gives, and exact in a JavaScript number.
const PROVISIONAL: u64 = 1 << 52;

/// The effects of one attempt that are not committed yet.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// At most one per key: a later write of a key replaces the earlier one and keeps its expectation.
    writes: Vec<Write>,
    by_key: HashMap<Space, BTreeMap<String, Own>>,
    events: Vec<Event>,
    /// Places for the waits among the writes.
    waits: Vec<Reserved>,
    /// Bytes and number of all that was ever added; the number also makes provisional revisions.
    bytes: u64,
    count: u64,
    /// What was handed over last: position and provisional revision of each write.
    handed_over: Vec<Own>,
    /// The store's revision for each provisional one that was committed.
    committed: HashMap<u64, u64>,
}

/// The attempt's last write of a key.
#[derive(Debug, Clone, Copy)]
struct Own {
    /// Among the writes.
    at: usize,
    /// The provisional revision the attempt was told.
    revision: u64,
}

/// A limit on effects was reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooLarge {
    #[error("an attempt may have at most {0} state writes and events")]
    Count(usize),
    #[error("the state writes and events of an attempt may have at most {0} bytes")]
    Bytes(u64),
}

/// A key as this attempt sees it before asking the store.
pub(crate) enum Seen<'a> {
    /// It wrote this, under this provisional revision.
    Written(&'a Write, u64),
    /// It did not write the key.
    Unknown,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty()
    }

    /// The key through the attempt's own writes.
    pub fn see(&self, space: &Space, key: &str) -> Seen<'_> {
        match self.by_key.get(space).and_then(|keys| keys.get(key)) {
            Some(own) => Seen::Written(&self.writes[own.at], own.revision),
            None => Seen::Unknown,
        }
    }

    /// Adds a write whose expectation was checked against what the attempt sees. Returns its provisional revision.
    pub fn write(&mut self, mut write: Write, limits: &Limits) -> Result<u64, TooLarge> {
        let size = write.key.len() as u64 + write.value.as_ref().map_or(0, |value| value.bytes.len() as u64);
        self.grow(1, size, limits)?;
        let revision = PROVISIONAL + self.count;
        let keys = self.by_key.entry(write.space.clone()).or_default();
        if let Some(own) = keys.get_mut(&write.key) {
            // What must hold in the store is what the first write of the key expected there.
            write.expect = self.writes[own.at].expect;
            self.writes[own.at] = write;
            own.revision = revision;
        } else {
            keys.insert(write.key.clone(), Own { at: self.writes.len(), revision });
            self.writes.push(write);
        }
        Ok(revision)
    }

    /// The store's number for what may be a provisional revision of something committed.
    pub fn resolve(&self, revision: u64) -> u64 {
        self.committed.get(&revision).copied().unwrap_or(revision)
    }

    /// Adds a write of Evoke's own, which no bound of the function holds back.
    pub fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Adds a wait, with the place that was reserved for it.
    pub fn wait(&mut self, wait: Write, place: Reserved, limits: &Limits) -> Result<(), TooLarge> {
        self.write(wait, limits)?;
        self.waits.push(place);
        Ok(())
    }

    /// Adds events.
    pub fn publish(&mut self, events: Vec<Event>, bytes: u64, limits: &Limits) -> Result<(), TooLarge> {
        self.grow(events.len(), bytes, limits)?;
        self.events.extend(events);
        Ok(())
    }

    fn grow(&mut self, count: usize, bytes: u64, limits: &Limits) -> Result<(), TooLarge> {
        if self.count as usize + count > limits.effects {
            return Err(TooLarge::Count(limits.effects));
        }
        if self.bytes + bytes > limits.effects_bytes {
            return Err(TooLarge::Bytes(limits.effects_bytes));
        }
        self.count += count as u64;
        self.bytes += bytes;
        Ok(())
    }

    /// Lays the attempt's own writes of `space` over a part of the store's entries, both by key: those that start with
    /// `prefix` and lie after `after` and not beyond `end`, where the part was cut.
    pub fn overlay(
        &self,
        space: &Space,
        stored: Vec<Entry>,
        prefix: &str,
        after: Option<&str>,
        end: Option<&str>,
    ) -> Vec<Entry> {
        let mut merged: BTreeMap<String, Entry> =
            stored.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        for (key, own) in self.by_key.get(space).into_iter().flatten() {
            let within = key.starts_with(prefix)
                && after.is_none_or(|after| key.as_str() > after)
                && end.is_none_or(|end| key.as_str() <= end);
            if !within {
                continue;
            }
            let write = &self.writes[own.at];
            match &write.value {
                Some(value) => {
                    let revision = own.revision;
                    let (value, expires_at) = (value.clone(), write.expires_at);
                    merged.insert(key.clone(), Entry { key: key.clone(), value, revision, expires_at });
                }
                None => drop(merged.remove(key)),
            }
        }
        merged.into_values().collect()
    }

    /// Hands everything over and starts empty; counts and bytes stay, so that the bounds hold for the whole attempt.
    pub fn take(&mut self) -> (Vec<Write>, Vec<Event>) {
        self.handed_over = self.by_key.drain().flat_map(|(_, keys)| keys.into_values()).collect();
        (std::mem::take(&mut self.writes), std::mem::take(&mut self.events))
    }

    /// Notes what became of the writes that were handed over last: the store's revision of each, in order.
    pub fn committed(&mut self, revisions: &[u64]) {
        let known = |own: &Own| Some((own.revision, *revisions.get(own.at)?));
        self.committed.extend(self.handed_over.drain(..).filter_map(|own| known(&own)));
    }
}

/// Whether `expect` holds for a key that is at `revision` (`None`: absent).
pub(crate) fn holds(expect: Expect, revision: Option<u64>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => revision.is_none(),
        Expect::Revision(wanted) => revision == Some(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use evoke_core::store::{Value, ValueKind};

    fn put(key: &str, text: &str, expect: Expect) -> Write {
        let value = Value { kind: ValueKind::Bytes, bytes: Bytes::copy_from_slice(text.as_bytes()) };
        Write {
            space: Space("s".to_owned()),
            key: key.to_owned(),
            value: Some(value),
            expires_at: None,
            expect,
        }
    }

    #[test]
    fn a_second_write_of_a_key_replaces_the_first_and_keeps_its_expectation() {
        let mut effects = Effects::default();
        let limits = Limits::default();
        let first = effects.write(put("a", "1", Expect::Revision(7)), &limits).unwrap();
        let second = effects.write(put("a", "2", Expect::Revision(first)), &limits).unwrap();
        assert!(first < second);
        let (writes, _) = effects.take();
        assert_eq!(writes, [put("a", "2", Expect::Revision(7))]);
    }

    #[test]
    fn the_bounds_hold_for_the_whole_attempt_also_after_a_commit() {
        let mut effects = Effects::default();
        let limits = Limits { effects: 2, ..Limits::default() };
        effects.write(put("a", "1", Expect::Anything), &limits).unwrap();
        drop(effects.take());
        effects.write(put("b", "1", Expect::Anything), &limits).unwrap();
        assert_eq!(effects.write(put("c", "1", Expect::Anything), &limits), Err(TooLarge::Count(2)));
    }

    #[test]
    fn a_list_shows_own_writes_and_hides_own_deletions() {
        let mut effects = Effects::default();
        let limits = Limits::default();
        let space = Space("s".to_owned());
        effects.write(put("k/2", "new", Expect::Anything), &limits).unwrap();
        effects.write(Write { value: None, ..put("k/1", "", Expect::Anything) }, &limits).unwrap();
        let entry = |key: &str| Entry {
            key: key.to_owned(),
            value: Value { kind: ValueKind::Bytes, bytes: Bytes::new() },
            revision: 1,
            expires_at: None,
        };
        let seen = effects.overlay(&space, vec![entry("k/1"), entry("k/3")], "k/", None, None);
        assert_eq!(seen.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["k/2", "k/3"]);
    }
}
