//! `usage`: how many ended runs and log lines each queue has, and their bytes, so that bounds on them cost no look at each.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Table, verify};
use crate::crc::Crc;
use crate::trouble::Trouble;

pub(crate) const TABLE: Table = Table {
    name: "usage",
    key: "queue",
    columns: "queue, runs, run_bytes, lines, line_bytes, crc",
    check: |row| decode(row).map(drop),
};

/// Counts. Of a run the bytes of its body, of a line those of its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Ended runs.
    pub runs: i64,
    pub run_bytes: i64,
    pub lines: i64,
    pub line_bytes: i64,
}

impl Usage {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            run_bytes: self.run_bytes + other.run_bytes,
            lines: self.lines + other.lines,
            line_bytes: self.line_bytes + other.line_bytes,
        }
    }

    fn sum(self, queue: i64) -> i64 {
        let crc = Crc::new().int(self.runs).int(self.run_bytes).int(self.lines).int(self.line_bytes);
        crc.int(queue).sum()
    }
}

/// Counts more of a queue, or less.
pub(crate) fn add(conn: &Connection, queue: i64, more: Usage) -> Result<(), Trouble> {
    let find = "SELECT queue, runs, run_bytes, lines, line_bytes, crc FROM usage WHERE queue = ?1";
    let former =
        conn.prepare_cached(find)?.query_row([queue], |row| Ok(decode(row))).optional()?.transpose()?;
    let now = former.map_or(Usage::default(), |(_, usage)| usage).and(more);
    if now == Usage::default() {
        conn.prepare_cached("DELETE FROM usage WHERE queue = ?1")?.execute([queue])?;
        return Ok(());
    }
    let Usage { runs, run_bytes, lines, line_bytes } = now;
    conn.prepare_cached("INSERT OR REPLACE INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        queue,
        runs,
        run_bytes,
        lines,
        line_bytes,
        now.sum(queue)
    ])?;
    Ok(())
}

/// That of each queue.
pub(crate) fn all(conn: &Connection) -> Result<BTreeMap<i64, Usage>, Trouble> {
    let mut find = conn.prepare_cached("SELECT queue, runs, run_bytes, lines, line_bytes, crc FROM usage")?;
    let mut rows = find.query([])?;
    let mut all = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (queue, usage) = decode(row)?;
        all.insert(queue, usage);
    }
    Ok(all)
}

/// Counts all runs and lines anew.
pub(crate) fn recount(conn: &Connection) -> Result<(), Trouble> {
    conn.execute("DELETE FROM usage", [])?;
    let mut counted: BTreeMap<i64, Usage> = BTreeMap::new();
    let mut find = conn.prepare(
        "SELECT queue, count(*), sum(length(body)) FROM runs WHERE state IN (2, 3) GROUP BY queue",
    )?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let usage = counted.entry(row.get(0)?).or_default();
        (usage.runs, usage.run_bytes) = (row.get(1)?, row.get(2)?);
    }
    let mut find = conn.prepare(
        "SELECT queue, count(*), sum(octet_length(line)) FROM logs WHERE queue <> 0 GROUP BY queue",
    )?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let usage = counted.entry(row.get(0)?).or_default();
        (usage.lines, usage.line_bytes) = (row.get(1)?, row.get(2)?);
    }
    counted.into_iter().try_for_each(|(queue, usage)| add(conn, queue, usage))
}

fn decode(row: &Row<'_>) -> Result<(i64, Usage), Trouble> {
    let queue: i64 = row.get(0)?;
    let usage =
        Usage { runs: row.get(1)?, run_bytes: row.get(2)?, lines: row.get(3)?, line_bytes: row.get(4)? };
    verify("usage", queue, row.get(5)?, usage.sum(queue))?;
    Ok((queue, usage))
}
