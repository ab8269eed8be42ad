//! Format 2 → 3: ended runs of a function are found by slices of time instead of an index, and a run that began with its root by the
//! slice of that.
//! Rows of runs stay as they are: what is written from now on has a shorter body, and tells an old one from its first byte.

use rusqlite::Connection;

use super::Step;
use crate::table::slices;
use crate::trouble::Trouble;

pub(super) const STEPS: [Step; 2] =
    [Step { name: "add slices", round: add }, Step { name: "find the slices of ended runs", round: find }];

fn add(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    conn.execute_batch(
        "CREATE TABLE slices (
            queue INTEGER NOT NULL,
            state INTEGER NOT NULL,
            slice TEXT NOT NULL,
            PRIMARY KEY (queue, state, slice)
        ) WITHOUT ROWID;
        DROP INDEX runs_by_queue;
        CREATE INDEX runs_open ON runs (queue, state, id) WHERE state NOT IN (2, 3);
        DROP INDEX runs_by_root;
        CREATE INDEX runs_by_root ON runs (root, id) WHERE root <> '';",
    )?;
    Ok(None)
}

fn find(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    slices::rebuild(conn)?;
    Ok(None)
}
