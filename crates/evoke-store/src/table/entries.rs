//! `entries`: key-value state.

use std::collections::HashSet;

use evoke_core::store::{Entry, ListQuery, Space, Value, ValueKind, Write};
use evoke_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Table, verify};
use crate::crc::Crc;
use crate::number::{num, rows, time, us};
use crate::trouble::Trouble;

const PUT: &str = "INSERT INTO entries (space, key, kind, value, revision, expires_at, crc)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (space, key) DO UPDATE SET kind = ?3, value = ?4, revision = ?5, expires_at = ?6, crc = ?7";
const LIST: &str = "SELECT space, key, kind, value, revision, expires_at, crc FROM entries
    WHERE space = ?1 AND key >= ?2 AND key > ?3 ORDER BY key";
const LIST_FROM: &str = "SELECT space, key, kind, value, revision, expires_at, crc FROM entries
    WHERE space = ?1 AND key >= ?2 ORDER BY key";

pub(crate) const TABLE: Table = Table {
    name: "entries",
    key: "id",
    columns: "space, key, kind, value, revision, expires_at, crc",
    check: |row| decode(row).map(drop),
};

/// Carries out a write at `revision`.
pub(crate) fn apply(conn: &Connection, write: &Write, revision: i64) -> Result<(), Trouble> {
    let Write { space, key, value, expires_at, .. } = write;
    let Some(value) = value else {
        conn.prepare_cached("DELETE FROM entries WHERE space = ?1 AND key = ?2")?.execute([&space.0, key])?;
        return Ok(());
    };
    let (kind, expires_at) = (code(value.kind), expires_at.map(us));
    let crc = sum(&space.0, key, kind, &value.bytes, expires_at, revision);
    conn.prepare_cached(PUT)?.execute(params![
        space.0,
        key,
        kind,
        &*value.bytes,
        revision,
        expires_at,
        crc
    ])?;
    Ok(())
}

/// The revision of a key, unless it expired by `now`.
pub(crate) fn revision(
    conn: &Connection,
    space: &Space,
    key: &str,
    now: Timestamp,
) -> Result<Option<u64>, Trouble> {
    let mut find =
        conn.prepare_cached("SELECT revision, expires_at FROM entries WHERE space = ?1 AND key = ?2")?;
    let found: Option<(i64, Option<i64>)> =
        find.query_row([&space.0, key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.filter(|(_, end)| end.is_none_or(|end| end > us(now))).map(|(revision, _)| num(revision)))
}

/// The entry at a key, unless it expired by `now`.
pub(crate) fn get(
    conn: &Connection,
    space: &Space,
    key: &str,
    now: Timestamp,
) -> Result<Option<Entry>, Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT space, key, kind, value, revision, expires_at, crc FROM entries WHERE space = ?1 AND key = ?2",
    )?;
    let found = find.query_row([&space.0, key], |row| Ok(decode(row))).optional()?.transpose()?;
    Ok(found.filter(|entry| is_alive(entry, now)))
}

/// A page of entries.
pub(crate) fn list(conn: &Connection, query: &ListQuery, now: Timestamp) -> Result<Vec<Entry>, Trouble> {
    let mut find = conn.prepare_cached(if query.after.is_some() { LIST } else { LIST_FROM })?;
    let mut read = match &query.after {
        Some(after) => find.query([&query.space.0, &query.prefix, after])?,
        None => find.query([&query.space.0, &query.prefix])?,
    };
    let mut found = Vec::new();
    while found.len() < query.limit {
        let Some(row) = read.next()? else { break };
        let entry = decode(row)?;
        if !entry.key.starts_with(&query.prefix) {
            break;
        }
        if is_alive(&entry, now) {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Deletes up to `limit` that expired by `now`.
pub(crate) fn delete_expired(conn: &Connection, now: Timestamp, limit: usize) -> Result<usize, Trouble> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM entries WHERE id IN (SELECT id FROM entries INDEXED BY entries_by_end
         WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
    )?;
    Ok(delete.execute([us(now), rows(limit)])?)
}

/// Deletes up to `limit` entries of a space whose keys begin with `prefix`, which ends in `/`.
pub(crate) fn delete_keys(
    conn: &Connection,
    space: &str,
    prefix: &str,
    limit: i64,
) -> Result<usize, Trouble> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE space = ?1 AND key >= ?2 AND key < ?3 LIMIT ?4)",
    )?;
    Ok(delete.execute(params![space, prefix, after_all(prefix), limit])?)
}

/// Deletes up to `limit` entries of the spaces whose names begin with `prefix`, which ends in `/`.
pub(crate) fn delete_spaces(conn: &Connection, prefix: &str, limit: i64) -> Result<usize, Trouble> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE space >= ?1 AND space < ?2 LIMIT ?3)",
    )?;
    Ok(delete.execute(params![prefix, after_all(prefix), limit])?)
}

/// How many entries the spaces have whose names begin with `prefix`, which ends in `/`, and the bytes of their values.
pub(crate) fn total(conn: &Connection, prefix: &str) -> Result<(u64, u64), Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT count(*), coalesce(sum(length(value)), 0) FROM entries WHERE space >= ?1 AND space < ?2",
    )?;
    let found =
        find.query_row(params![prefix, after_all(prefix)], |row| Ok((num(row.get(0)?), num(row.get(1)?))))?;
    Ok(found)
}

/// The first text that sorts after all that begin with `prefix`, which ends in `/`.
fn after_all(prefix: &str) -> String {
    format!("{}0", prefix.trim_end_matches('/'))
}

/// A document of Evoke's own refers to an object by this member.
#[derive(serde::Deserialize)]
struct Refers {
    bundle: Option<String>,
}

/// What the documents of Evoke's own spaces (`sys/…`) refer to: where, and the object's digest. Damaged ones are left out.
pub(crate) fn objects(conn: &Connection) -> Result<Vec<(String, String)>, Trouble> {
    let mut find = conn.prepare(
        "SELECT space, key, kind, value, revision, expires_at, crc FROM entries WHERE space GLOB 'sys/*'",
    )?;
    let mut rows = find.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(entry) = decode(row) else { continue };
        let Ok(Refers { bundle: Some(digest) }) = serde_json::from_slice(&entry.value.bytes) else {
            continue;
        };
        found.push((format!("{} {:?}", row.get::<_, String>(0)?, entry.key), digest));
    }
    Ok(found)
}

/// The digests of those. A damaged document is an error: nobody knows what it refers to.
pub(crate) fn needed_objects(conn: &Connection) -> Result<HashSet<String>, Trouble> {
    let mut find = conn.prepare(
        "SELECT space, key, kind, value, revision, expires_at, crc FROM entries WHERE space GLOB 'sys/*'",
    )?;
    let mut rows = find.query([])?;
    let mut found = HashSet::new();
    while let Some(row) = rows.next()? {
        let entry = decode(row)?;
        if let Ok(Refers { bundle: Some(digest) }) = serde_json::from_slice(&entry.value.bytes) {
            found.insert(digest);
        }
    }
    Ok(found)
}

fn is_alive(entry: &Entry, now: Timestamp) -> bool {
    entry.expires_at.is_none_or(|end| end > now)
}

fn code(kind: ValueKind) -> i64 {
    match kind {
        ValueKind::Json => 0,
        ValueKind::Bytes => 1,
    }
}

fn decode(row: &Row<'_>) -> Result<Entry, Trouble> {
    let (space, key): (String, String) = (row.get(0)?, row.get(1)?);
    let (kind, value): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
    let (revision, expires_at): (i64, Option<i64>) = (row.get(4)?, row.get(5)?);
    let crc = sum(&space, &key, kind, &value, expires_at, revision);
    verify("entries", format_args!("{space} {key:?}"), row.get(6)?, crc)?;
    let kind = if kind == 0 { ValueKind::Json } else { ValueKind::Bytes };
    let value = Value { kind, bytes: value.into() };
    Ok(Entry { key, value, revision: num(revision), expires_at: expires_at.map(time) })
}

fn sum(space: &str, key: &str, kind: i64, value: &[u8], expires_at: Option<i64>, revision: i64) -> i64 {
    let crc = Crc::new().text(space).text(key).int(kind).bytes(value).maybe_int(expires_at);
    crc.int(revision).sum()
}
