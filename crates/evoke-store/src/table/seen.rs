//! `seen`: by which keys an append is known. Its keys are random, so every insertion touches a page of its own: it is
//! kept as narrow as can be.

use evoke_core::id::AppName;
use evoke_core::store::Dedup;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::trouble::Trouble;

/// The first half is made of the id alone, so that events can be found by it.
pub(crate) type Key = [u8; 16];

/// The key by which a duplicate is recognised.
pub(crate) fn key(app: &AppName, dedup: &Dedup) -> Key {
    let mut whole = Sha256::new();
    for part in [app.as_str(), &dedup.scope, &dedup.id] {
        whole.update((part.len() as u64).to_le_bytes());
        whole.update(part);
    }
    join(half(&dedup.id), whole.finalize()[..8].try_into().expect("a digest has 32 bytes"))
}

/// A key that only serves to find the event at `seq` by its id.
pub(crate) fn key_of_event(id: &str, seq: i64) -> Key {
    join(half(id), seq.to_be_bytes())
}

fn half(id: &str) -> [u8; 8] {
    Sha256::digest(id)[..8].try_into().expect("a digest has 32 bytes")
}

fn join(id: [u8; 8], rest: [u8; 8]) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&id);
    key[8..].copy_from_slice(&rest);
    key
}

/// Claims `key` for `seq`; if it is taken, says by which position.
pub(crate) fn claim(conn: &Connection, key: &Key, seq: i64) -> Result<Option<i64>, Trouble> {
    let mut insert =
        conn.prepare_cached("INSERT INTO seen (key, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    if insert.execute(params![key, seq])? == 1 {
        return Ok(None);
    }
    let mut find = conn.prepare_cached("SELECT seq FROM seen WHERE key = ?1")?;
    Ok(Some(find.query_row([key], |row| row.get(0))?))
}

/// Gives a key that was claimed long ago to another position.
pub(crate) fn reclaim(conn: &Connection, key: &Key, seq: i64) -> Result<(), Trouble> {
    conn.prepare_cached("UPDATE seen SET seq = ?2 WHERE key = ?1")?.execute(params![key, seq])?;
    Ok(())
}

/// Forgets `key`, if it is still that of `seq`.
pub(crate) fn forget(conn: &Connection, key: &[u8], seq: i64) -> Result<(), Trouble> {
    conn.prepare_cached("DELETE FROM seen WHERE key = ?1 AND seq = ?2")?.execute(params![key, seq])?;
    Ok(())
}

/// The positions of events with this id, newest first (and, rarely, of others).
pub(crate) fn by_id(conn: &Connection, id: &str, before: i64) -> Result<Vec<i64>, Trouble> {
    let mut find = conn
        .prepare_cached("SELECT seq FROM seen WHERE key BETWEEN ?1 AND ?2 AND seq < ?3 ORDER BY seq DESC")?;
    let range = params![join(half(id), [0; 8]), join(half(id), [255; 8]), before];
    Ok(find.query_map(range, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}
