//! The answers of one decorator, in bounded memory: what was not asked for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use http::request;
use parking_lot::Mutex;

use super::entry::{Entry, Found};
use super::turn::Turns;

/// Answers for one address that differ by the fields that `Vary` names.
const VARIANTS: usize = 16;

/// Bytes of all answers that are kept, by any decorator, and how many they may be.
#[derive(Debug)]
pub(crate) struct Cached {
    used: AtomicU64,
    limit: u64,
}

impl Cached {
    pub fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The answers of one decorator.
pub(crate) struct Memory {
    limit: u64,
    all: Arc<Cached>,
    shelves: Mutex<Shelves>,
    /// Who asks what is next.
    pub(super) turns: Turns,
}

#[derive(Default)]
struct Shelves {
    by_key: HashMap<Arc<str>, Shelf>,
    /// The longest unused first.
    by_use: BTreeMap<u64, Arc<str>>,
    bytes: u64,
    uses: u64,
}

struct Shelf {
    entries: Vec<Arc<Entry>>,
    bytes: u64,
    used: u64,
}

impl Memory {
    pub fn new(limit: u64, all: Arc<Cached>) -> Self {
        Self { limit, all, shelves: Mutex::default(), turns: Turns::default() }
    }

    /// Bytes that one answer may have: a quarter of all, so that one does not drive out the rest.
    pub(super) fn entry_bytes(&self) -> u64 {
        self.limit / 4
    }

    /// What is kept for a request.
    pub(super) fn find(&self, key: &str, asked: &request::Parts, now: SystemTime) -> Found {
        let mut shelves = self.shelves.lock();
        shelves.touch(key);
        let Some(shelf) = shelves.by_key.get(key) else { return Found::Nothing };
        let mut found = Found::Nothing;
        for entry in &shelf.entries {
            match entry.find(asked, now) {
                Found::Fresh(entry, age) => return Found::Fresh(entry, age),
                Found::Other if !matches!(found, Found::Nothing) => {}
                other => found = other,
            }
        }
        found
    }

    /// Keeps an answer, in place of those for requests like this. Whether there was room.
    pub(super) fn put(&self, key: &str, entry: Entry, asked: &request::Parts, now: SystemTime) -> bool {
        let bytes = (entry.bytes() + key.len()) as u64;
        if bytes > self.entry_bytes() {
            return false;
        }
        let mut shelves = self.shelves.lock();
        let mut kept: Vec<Arc<Entry>> =
            shelves.remove(key, &self.all).map_or_else(Vec::new, |shelf| shelf.entries);
        kept.retain(|other| !entry.replaces(other, asked, now));
        kept.truncate(VARIANTS - 1);
        kept.insert(0, Arc::new(entry));
        let bytes: u64 = kept.iter().map(|entry| (entry.bytes() + key.len()) as u64).sum();
        while shelves.bytes + bytes > self.limit {
            if !shelves.evict(&self.all) {
                return false;
            }
        }
        while !self.all.take(bytes) {
            if !shelves.evict(&self.all) {
                return false;
            }
        }
        shelves.insert(key.into(), kept, bytes);
        true
    }

    /// Forgets what is kept for an address.
    pub(super) fn forget(&self, key: &str) {
        self.shelves.lock().remove(key, &self.all);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.all.give(self.shelves.get_mut().bytes);
    }
}

impl Shelves {
    fn touch(&mut self, key: &str) {
        self.uses += 1;
        let Some(shelf) = self.by_key.get_mut(key) else { return };
        if let Some(key) = self.by_use.remove(&std::mem::replace(&mut shelf.used, self.uses)) {
            self.by_use.insert(self.uses, key);
        }
    }

    fn insert(&mut self, key: Arc<str>, entries: Vec<Arc<Entry>>, bytes: u64) {
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, key.clone());
        self.by_key.insert(key, Shelf { entries, bytes, used: self.uses });
    }

    fn remove(&mut self, key: &str, all: &Cached) -> Option<Shelf> {
        let shelf = self.by_key.remove(key)?;
        self.by_use.remove(&shelf.used);
        self.bytes -= shelf.bytes;
        all.give(shelf.bytes);
        Some(shelf)
    }

    fn evict(&mut self, all: &Cached) -> bool {
        let Some(key) = self.by_use.first_key_value().map(|(_, key)| key.clone()) else { return false };
        self.remove(&key, all).is_some()
    }
}
