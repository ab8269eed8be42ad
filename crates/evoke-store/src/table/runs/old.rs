//! Rows that are to go: the oldest, those of a function, and which of them somebody may still ask for.

use evoke_core::store::Space;
use rusqlite::{Connection, Params, Row, params};

use crate::table::slices::ended_runs;
use crate::trouble::Trouble;

/// What deleting needs of a row, which goes unverified.
pub(crate) struct Old {
    pub n: i64,
    pub id: String,
    pub queue: i64,
    pub state: i64,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    /// Of its body.
    pub bytes: i64,
}

impl Old {
    /// The `limit` oldest of all after number `after`.
    pub fn after(conn: &Connection, after: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        let sql = "SELECT n, id, queue, state, created_at, ended_at, length(body) FROM runs
            WHERE n > ?1 ORDER BY n LIMIT ?2";
        collect(conn, sql, [after, limit])
    }

    /// Up to `limit` of the oldest of a function in a state that is an end.
    pub fn ended(conn: &Connection, queue: i64, state: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        let sql = ended_runs!(
            "r.n, r.id, r.queue, r.state, r.created_at, r.ended_at, length(r.body)",
            "s.queue = ?1 AND s.state = ?2 ORDER BY s.slice, r.id LIMIT ?3"
        );
        collect(conn, sql, [queue, state, limit])
    }

    /// Up to `limit` of a function.
    pub fn of_queue(conn: &Connection, queue: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        let open =
            "SELECT n, id, queue, state, created_at, ended_at, length(body) FROM runs INDEXED BY runs_open
            WHERE queue = ?1 AND state NOT IN (2, 3) LIMIT ?2";
        let found = collect(conn, open, [queue, limit])?;
        if !found.is_empty() {
            return Ok(found);
        }
        let ended = ended_runs!(
            "r.n, r.id, r.queue, r.state, r.created_at, r.ended_at, length(r.body)",
            "s.queue = ?1 LIMIT ?2"
        );
        collect(conn, ended, [queue, limit])
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (n, id, queue, state) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Self { n, id, queue, state, created_at: row.get(4)?, ended_at: row.get(5)?, bytes: row.get(6)? })
    }
}

fn collect(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Old>, Trouble> {
    let mut find = conn.prepare_cached(sql)?;
    let found = find.query_map(params, Old::of)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Whether somebody may still ask for an ended run: by the `Idempotency-Key` of the call it is, or because it waits for an event.
pub(crate) fn is_needed(conn: &Connection, n: i64, forgotten_before: i64) -> Result<bool, Trouble> {
    let find = "SELECT EXISTS (SELECT 1 FROM runs r JOIN log l ON l.seq = r.seq
            WHERE r.n = ?1 AND l.type IS NULL AND length(l.keys) > 0 AND l.accepted_at >= ?2)
        OR EXISTS (SELECT 1 FROM runs r JOIN queues q ON q.id = r.queue JOIN entries e ON e.space = ?3
            AND e.key >= q.app || '/' || r.id || '.w' AND e.key < q.app || '/' || r.id || '.x' WHERE r.n = ?1)";
    let waits = Space::waits().0;
    Ok(conn.prepare_cached(find)?.query_row(params![n, forgotten_before, waits], |row| row.get(0))?)
}
