//! Format 1 → 2: the rows of `queues` get a checksum, so that every row of the store has one or is compared with one
//! that has.

use rusqlite::{Connection, params};

use super::Step;
use crate::table::queues;
use crate::trouble::Trouble;

/// Rows of one round.
const ROUND: i64 = 16;

pub(super) const STEPS: &[Step] =
    &[Step { name: "add queues.crc", round: add }, Step { name: "sum the queues", round: sum }];

fn add(conn: &Connection, _: i64) -> Result<Option<i64>, Trouble> {
    conn.execute_batch("ALTER TABLE queues ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")?;
    Ok(None)
}

fn sum(conn: &Connection, after: i64) -> Result<Option<i64>, Trouble> {
    let mut find = conn.prepare("SELECT id, app, function FROM queues WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let mut rows = find.query([after, ROUND])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (id, app, function): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let crc = queues::sum(&app, &function, id);
        conn.execute("UPDATE queues SET crc = ?2 WHERE id = ?1", params![id, crc])?;
        last = Some(id);
    }
    Ok(last)
}
