//! Key-value writes.

use std::collections::HashMap;

use evoke_core::store::{Expect, SettleError, Space, Write};
use evoke_core::time::Timestamp;

use super::Work;
use super::tx::Tx;
use crate::number::num;
use crate::table::entries;
use crate::trouble::{Stop, Trouble};

/// Writes outside of any attempt.
pub(crate) struct WriteAll {
    pub writes: Vec<Write>,
    pub now: Timestamp,
}

impl Work for WriteAll {
    type Answer = Vec<u64>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u64>, Stop> {
        check(tx, &self.writes, self.now)?;
        Ok(apply(tx, &self.writes)?)
    }
}

/// About how many bytes they take.
pub(crate) fn size(writes: &[Write]) -> usize {
    let value = |write: &Write| write.value.as_ref().map_or(0, |value| value.bytes.len());
    writes.iter().map(|write| write.key.len() + value(write)).sum()
}

/// What a key will be after the writes before; nobody can name a revision that is still to come.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    Absent,
    At(u64),
    Fresh,
}

/// Whether all expectations hold, each seeing the writes before it. Changes nothing.
pub(crate) fn check(tx: &Tx<'_>, writes: &[Write], now: Timestamp) -> Result<(), Stop> {
    let mut changed: HashMap<(&Space, &str), Found> = HashMap::new();
    for write in writes {
        let place = (&write.space, write.key.as_str());
        if write.expect != Expect::Anything {
            let found = match changed.get(&place) {
                Some(found) => *found,
                None => entries::revision(tx.conn, &write.space, &write.key, now)?
                    .map_or(Found::Absent, Found::At),
            };
            hold(write, found, tx)?;
        }
        if writes.len() > 1 {
            let gone = write.value.is_none() || write.expires_at.is_some_and(|end| end <= now);
            changed.insert(place, if gone { Found::Absent } else { Found::Fresh });
        }
    }
    Ok(())
}

fn hold(write: &Write, found: Found, tx: &Tx<'_>) -> Result<(), SettleError> {
    let holds = match write.expect {
        Expect::Anything => true,
        Expect::Absent => found == Found::Absent,
        Expect::Revision(revision) => found == Found::At(revision),
    };
    if holds {
        return Ok(());
    }
    let found = match found {
        Found::Absent => None,
        Found::At(revision) => Some(revision),
        Found::Fresh => Some(num(tx.counters.last + 1)),
    };
    let Write { space, key, expect, .. } = write;
    Err(SettleError::Conflict { space: space.clone(), key: key.clone(), expected: *expect, found })
}

/// Carries them out; the revision of each.
pub(crate) fn apply(tx: &mut Tx<'_>, writes: &[Write]) -> Result<Vec<u64>, Trouble> {
    let mut revisions = Vec::with_capacity(writes.len());
    for write in writes {
        let revision = tx.counters.next();
        entries::apply(tx.conn, write, revision)?;
        tx.touch(&write.space, revision);
        revisions.push(num(revision));
    }
    Ok(revisions)
}
