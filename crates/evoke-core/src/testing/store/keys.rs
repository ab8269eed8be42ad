//! Key-value state: compare-and-set, expiry, watching.

use std::collections::HashMap;
use std::ops::Bound;

use super::All;
use crate::store::{Entry, Expect, ListQuery, SettleError, Space, Write};
use crate::time::Timestamp;

impl All {
    pub(super) fn entry(&self, space: &Space, key: &str, now: Timestamp) -> Option<&Entry> {
        let entry = self.entries.get(&(space.clone(), key.to_owned()))?;
        alive(entry, now).then_some(entry)
    }

    pub(super) fn list(&self, query: &ListQuery, now: Timestamp) -> Vec<Entry> {
        let after = query.after.clone().filter(|after| *after >= query.prefix);
        let first = match after {
            Some(after) => Bound::Excluded((query.space.clone(), after)),
            None => Bound::Included((query.space.clone(), query.prefix.clone())),
        };
        self.entries
            .range((first, Bound::Unbounded))
            .take_while(|((space, key), _)| *space == query.space && key.starts_with(&query.prefix))
            .map(|(_, entry)| entry)
            .filter(|entry| alive(entry, now))
            .take(query.limit)
            .cloned()
            .collect()
    }

    /// Whether all expectations hold, each seeing the writes before it.
    pub(super) fn check_writes(&self, writes: &[Write], now: Timestamp) -> Result<(), SettleError> {
        /// What a key will be after the writes so far. Nobody can name the revision of a write still to come.
        #[derive(Clone, Copy, PartialEq)]
        enum Found {
            Absent,
            At(u64),
            Fresh,
        }
        let mut changed: HashMap<(&Space, &str), Found> = HashMap::new();
        for write in writes {
            let place = (&write.space, write.key.as_str());
            let found = changed.get(&place).copied().unwrap_or_else(|| {
                self.entry(&write.space, &write.key, now)
                    .map_or(Found::Absent, |entry| Found::At(entry.revision))
            });
            let holds = match write.expect {
                Expect::Anything => true,
                Expect::Absent => found == Found::Absent,
                Expect::Revision(revision) => found == Found::At(revision),
            };
            if !holds {
                return Err(SettleError::Conflict {
                    space: write.space.clone(),
                    key: write.key.clone(),
                    expected: write.expect,
                    found: match found {
                        Found::At(revision) => Some(revision),
                        Found::Absent => None,
                        Found::Fresh => Some(self.last + 1),
                    },
                });
            }
            let expired = write.expires_at.is_some_and(|at| at <= now);
            let gone = write.value.is_none() || expired;
            changed.insert(place, if gone { Found::Absent } else { Found::Fresh });
        }
        Ok(())
    }

    pub(super) fn apply_writes(&mut self, writes: Vec<Write>) -> Vec<u64> {
        writes.into_iter().map(|write| self.apply(write)).collect()
    }

    fn apply(&mut self, write: Write) -> u64 {
        let revision = self.next();
        let Write { space, key, value, expires_at, .. } = write;
        if let Some(watched) = self.watched.get(&space) {
            watched.send_replace(revision);
        }
        match value {
            Some(value) => {
                let entry = Entry { key: key.clone(), value, revision, expires_at };
                self.entries.insert((space, key), entry);
            }
            None => {
                self.entries.remove(&(space, key));
            }
        }
        revision
    }
}

fn alive(entry: &Entry, now: Timestamp) -> bool {
    entry.expires_at.is_none_or(|at| at > now)
}
