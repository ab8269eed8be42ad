//! Format 2 → 3: ended runs and log lines of each queue are counted.

use rusqlite::Connection;

use super::Step;
use crate::table::usage;
use crate::trouble::Trouble;

pub(super) const STEPS: [Step; 2] =
    [Step { name: "add usage", round: add }, Step { name: "count runs and lines", round: count }];

fn add(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    conn.execute_batch(
        "CREATE TABLE usage (
            queue INTEGER PRIMARY KEY,
            runs INTEGER NOT NULL,
            run_bytes INTEGER NOT NULL,
            lines INTEGER NOT NULL,
            line_bytes INTEGER NOT NULL,
            crc INTEGER NOT NULL
        );",
    )?;
    Ok(None)
}

fn count(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    usage::recount(conn)?;
    Ok(None)
}
