//! Who is behind whom: for each pending invocation with a key an entry in the space `sys/order`, named by queue, key and
//! number. The first of a key has its due time in `pending`; those behind it have [`BEHIND`] there, and their due time here.

use std::collections::{HashMap, HashSet};

use evoke_core::store::{Expect, ListQuery, Space, Value, ValueKind, Write};
use evoke_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::entries;
use super::pending::Pending;
use super::runs::Run;
use crate::number::us;
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

/// Makes all lines anew from what is pending: an entry may have been lost, or who was before it. Due times that were lost
/// are `now`.
pub(crate) fn rebuild(conn: &Connection, now: Timestamp) -> Result<(), Trouble> {
    let mut due = HashMap::new();
    let mut find = conn.prepare("SELECT key, CAST(value AS TEXT) FROM entries WHERE space = ?1")?;
    let mut read = find.query([Space::order().0])?;
    while let Some(row) = read.next()? {
        let (key, text): (String, String) = (row.get(0)?, row.get(1)?);
        let number = key.rsplit('/').next().and_then(|number| i64::from_str_radix(number, 16).ok());
        due.extend(number.zip(text.parse::<i64>().ok()));
    }
    drop(read);
    conn.execute("DELETE FROM entries WHERE space = ?1", [Space::order().0])?;
    let mut revision: i64 =
        conn.query_row("SELECT coalesce(max(revision), 0) FROM entries", [], |row| row.get(0))?;
    let mut lines = HashSet::new();
    let mut after = 0;
    while let Some(n) = pending_after(conn, after)? {
        after = n;
        let (Some(mut row), Some(text)) = (Pending::read(conn, n)?, Run::read(conn, n)?.record()?.key) else {
            continue;
        };
        let line = line(row.queue, &key(&text));
        let own = if row.at == BEHIND { due.get(&n).copied().unwrap_or(us(now)) } else { row.at };
        revision += 1;
        let value = Value { kind: ValueKind::Json, bytes: own.to_string().into() };
        entries::apply(conn, &entry(&line, n, Some(value)), revision)?;
        row.at = if lines.insert(line) { own } else { BEHIND };
        row.update(conn)?;
    }
    Ok(())
}

fn pending_after(conn: &Connection, after: i64) -> Result<Option<i64>, Trouble> {
    let find = "SELECT n FROM pending WHERE n > ?1 ORDER BY n LIMIT 1";
    Ok(conn.prepare_cached(find)?.query_row([after], |row| row.get(0)).optional()?)
}

fn line(queue: i64, key: &Key) -> String {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{queue}/{key}/")
}

fn write(tx: &mut Tx<'_>, line: &str, n: i64, value: Option<Value>) -> Result<(), Trouble> {
    let revision = tx.counters.next();
    entries::apply(tx.conn, &entry(line, n, value), revision)
}

fn entry(line: &str, n: i64, value: Option<Value>) -> Write {
    let key = format!("{line}{n:016x}");
    Write { space: Space::order(), key, value, expires_at: None, expect: Expect::Anything }
}

/// The number and the due time of the first in line.
fn next(conn: &Connection, line: &str) -> Result<Option<(i64, i64)>, Trouble> {
    let query = ListQuery { space: Space::order(), prefix: line.to_owned(), after: None, limit: 1 };
    let Some(entry) = entries::list(conn, &query, Timestamp(0))?.pop() else { return Ok(None) };
    let number = entry.key.strip_prefix(line).and_then(|number| i64::from_str_radix(number, 16).ok());
    let due = std::str::from_utf8(&entry.value.bytes).ok().and_then(|due| due.parse().ok());
    number.zip(due).map(Some).ok_or_else(|| Trouble::unreadable("entries", entry.key))
}
