//! Who is behind whom: for each pending invocation with a key an entry in the space `sys/order`, named by queue, key and
//! number. The first of a key has its due time in `pending`; those behind it have [`BEHIND`] there, and their due time here.

use evoke_core::store::{Expect, ListQuery, Space, Value, ValueKind, Write};
use evoke_core::time::Timestamp;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::entries;
use super::pending::Pending;
use crate::trouble::Trouble;
use crate::write::tx::Tx;

/// The due time of an invocation that waits for its turn: never.
const BEHIND: i64 = i64::MAX;

/// What keys are told apart by: the first half of their SHA-256.
pub(crate) type Key = [u8; 16];

/// The key as it is kept.
pub(crate) fn key(text: &str) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(text)[..16]);
    key
}

/// Gets in line. When it is to be tried: `due` for the first of its key, else not before its turn.
pub(crate) fn join(tx: &mut Tx<'_>, queue: i64, key: &Key, n: i64, due: i64) -> Result<i64, Trouble> {
    let line = line(queue, key);
    let first = next(tx.conn, &line)?.is_none();
    let value = Value { kind: ValueKind::Json, bytes: due.to_string().into() };
    write(tx, &line, n, Some(value))?;
    Ok(if first { due } else { BEHIND })
}

/// Leaves the line, and lets the next one go.
pub(crate) fn leave(tx: &mut Tx<'_>, queue: i64, key: &Key, n: i64) -> Result<(), Trouble> {
    let line = line(queue, key);
    write(tx, &line, n, None)?;
    let Some((next, due)) = next(tx.conn, &line)? else { return Ok(()) };
    let Some(mut row) = Pending::read(tx.conn, next)? else { return Err(Trouble::missing("pending", next)) };
    if row.at == BEHIND {
        row.at = due;
        row.update(tx.conn)?;
    }
    Ok(())
}

fn line(queue: i64, key: &Key) -> String {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{queue}/{key}/")
}

fn write(tx: &mut Tx<'_>, line: &str, n: i64, value: Option<Value>) -> Result<(), Trouble> {
    let key = format!("{line}{n:016x}");
    let revision = tx.counters.next();
    let write = Write { space: Space::order(), key, value, expires_at: None, expect: Expect::Anything };
    entries::apply(tx.conn, &write, revision)
}

/// The number and the due time of the first in line.
fn next(conn: &Connection, line: &str) -> Result<Option<(i64, i64)>, Trouble> {
    let query = ListQuery { space: Space::order(), prefix: line.to_owned(), after: None, limit: 1 };
    let Some(entry) = entries::list(conn, &query, Timestamp(0))?.pop() else { return Ok(None) };
    let number = entry.key.strip_prefix(line).and_then(|number| i64::from_str_radix(number, 16).ok());
    let due = std::str::from_utf8(&entry.value.bytes).ok().and_then(|due| due.parse().ok());
    number.zip(due).map(Some).ok_or_else(|| Trouble::unreadable("entries", entry.key))
}
