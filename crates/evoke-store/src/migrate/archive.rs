//! Format 2 → 3: the events of each type are counted.

use rusqlite::Connection;

use super::Step;
use crate::table::archive;
use crate::trouble::Trouble;

pub(super) const STEPS: [Step; 2] =
    [Step { name: "add archive", round: add }, Step { name: "count the events", round: count }];

fn add(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    conn.execute_batch(
        "CREATE TABLE archive (
            id INTEGER PRIMARY KEY,
            app TEXT NOT NULL,
            type TEXT NOT NULL,
            events INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            UNIQUE (app, type)
        );
        CREATE INDEX log_of_calls ON log (seq) WHERE type IS NULL;",
    )?;
    Ok(None)
}

fn count(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    archive::recount(conn)?;
    Ok(None)
}
