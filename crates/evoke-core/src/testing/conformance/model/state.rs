//! What the model remembers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Expectation, StateWrite};
use crate::id::RunId;
use crate::store::{Entry, Expect, Lease, Value, Write};
use crate::testing::conformance::samples::{START, json, run_id, space};
use crate::time::Timestamp;

/// Everything that should be so.
#[derive(Debug)]
pub(super) struct Model {
    pub now: Timestamp,
    /// By event key: position and runs.
    pub accepted: BTreeMap<u8, (u64, Vec<RunId>)>,
    /// Those of them that a sweep took.
    pub expired: BTreeSet<u8>,
    pub runs: BTreeMap<RunId, Run>,
    pub entries: BTreeMap<String, Entry>,
    /// Leases given since the last restart, also ended ones.
    pub leases: Vec<Lease>,
    pub newest_revision: u64,
    numbers: u64,
}

#[derive(Debug)]
pub(super) struct Run {
    pub queue: u8,
    pub place: Place,
    /// Since it was queued or redriven.
    pub attempts: u32,
    /// Attempts that ended with their lease.
    pub lost: usize,
    pub newest_token: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Waiting(Timestamp),
    Held {
        token: u64,
        until: Timestamp,
    },
    /// Leased by a former process: available then at the latest.
    Orphaned(Timestamp),
    Dead,
    Done,
    Cancelled,
}

impl Model {
    pub fn new() -> Self {
        Self {
            now: START,
            accepted: BTreeMap::new(),
            expired: BTreeSet::new(),
            runs: BTreeMap::new(),
            entries: BTreeMap::new(),
            leases: Vec::new(),
            newest_revision: 0,
            numbers: 0,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn fresh_runs(&mut self, count: u8) -> Vec<u64> {
        (0..count).map(|_| self.number()).collect()
    }

    pub fn enqueue(&mut self, numbers: &[u64], queue: u8, due: Timestamp) {
        for n in numbers {
            let run = Run { queue, place: Place::Waiting(due), attempts: 0, lost: 0, newest_token: 0 };
            self.runs.insert(run_id(*n), run);
        }
    }

    /// Another process has the data now.
    pub fn restart(&mut self) {
        self.leases.clear();
        for run in self.runs.values_mut() {
            if let Place::Held { until, .. } = run.place {
                run.place = Place::Orphaned(until);
            }
        }
    }

    pub fn holder(&mut self, lease: &Lease) -> Option<&mut Run> {
        let held = |run: &&mut Run| matches!(run.place, Place::Held { token, .. } if token == lease.token);
        self.runs.get_mut(&lease.run).filter(held)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.expires_at.is_none_or(|at| at > self.now))
    }

    /// The writes with their expectations made out of what is there before any of them.
    pub fn writes(&mut self, wanted: &[StateWrite]) -> Vec<Write> {
        let mut writes = Vec::new();
        for StateWrite { key, delete, expect, ttl } in wanted {
            let key = format!("k{key}");
            let there = self.entry(&key).map(|entry| entry.revision);
            let expect = match expect {
                Expectation::Anything => Expect::Anything,
                Expectation::Absent => Expect::Absent,
                Expectation::Right => Expect::Revision(there.unwrap_or(1)),
                Expectation::Wrong => Expect::Revision(there.unwrap_or(1) + 1),
            };
            let value: Option<Value> = (!delete).then(|| json(&self.number().to_string()));
            let expires_at =
                ttl.map(|seconds| self.now.after(std::time::Duration::from_secs(seconds.into())));
            writes.push(Write { space: space(), key, value, expires_at, expect });
        }
        writes
    }

    /// The key of the first write whose expectation fails, if one does.
    pub fn conflict(&self, writes: &[Write]) -> Option<String> {
        let mut seen: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for write in writes {
            let there = match seen.get(write.key.as_str()) {
                Some(there) => *there,
                None => self.entry(&write.key).map(|entry| entry.revision),
            };
            let holds = match write.expect {
                Expect::Anything => true,
                Expect::Absent => there.is_none(),
                Expect::Revision(revision) => there == Some(revision),
            };
            if !holds {
                return Some(write.key.clone());
            }
            let stays = write.value.is_some() && write.expires_at.is_none_or(|at| at > self.now);
            seen.insert(&write.key, stays.then_some(u64::MAX));
        }
        None
    }

    /// Takes the writes over with the revisions the store gave them; `false` if those do not grow.
    pub fn apply(&mut self, writes: &[Write], revisions: &[u64]) -> bool {
        let mut grow = writes.len() == revisions.len();
        for (write, revision) in writes.iter().zip(revisions) {
            grow &= *revision > self.newest_revision;
            self.newest_revision = *revision;
            let entry = write.value.clone().map(|value| Entry {
                key: write.key.clone(),
                value,
                revision: *revision,
                expires_at: write.expires_at,
            });
            match entry {
                Some(entry) => drop(self.entries.insert(write.key.clone(), entry)),
                None => drop(self.entries.remove(&write.key)),
            }
        }
        grow
    }

    /// When it can be leased at the latest; `None` if never.
    pub fn available(place: Place) -> Option<Timestamp> {
        match place {
            Place::Waiting(at) | Place::Held { until: at, .. } | Place::Orphaned(at) => Some(at),
            Place::Dead | Place::Done | Place::Cancelled => None,
        }
    }
}
