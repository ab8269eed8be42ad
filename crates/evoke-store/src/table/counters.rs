//! `counters`: one row with the numbers given away so far.

use rusqlite::{Connection, Row, params};

use super::{Table, verify};
use crate::crc::Crc;
use crate::trouble::Trouble;

pub(crate) const TABLE: Table = Table {
    name: "counters",
    key: "id",
    columns: "last, log_lines, ended_runs, forgotten_before, crc",
    check: |row| Counters::decode(row).map(drop),
};

/// The row. Copied at the start of a transaction and written at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub last: i64,
    pub log_lines: i64,
    pub ended_runs: i64,
    pub forgotten_before: i64,
}

impl Counters {
    /// The next number of the one sequence.
    pub fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    fn sum(&self) -> i64 {
        Crc::new().int(self.last).int(self.log_lines).int(self.ended_runs).int(self.forgotten_before).sum()
    }

    pub fn insert(&self, conn: &Connection) -> Result<(), Trouble> {
        let row = params![self.last, self.log_lines, self.ended_runs, self.forgotten_before, self.sum()];
        conn.execute("INSERT INTO counters VALUES (1, ?1, ?2, ?3, ?4, ?5)", row)?;
        Ok(())
    }

    pub fn update(&self, conn: &Connection) -> Result<(), Trouble> {
        let row = params![self.last, self.log_lines, self.ended_runs, self.forgotten_before, self.sum()];
        conn.prepare_cached(
            "UPDATE counters SET last = ?1, log_lines = ?2, ended_runs = ?3, forgotten_before = ?4, crc = ?5",
        )?
        .execute(row)?;
        Ok(())
    }

    pub fn read(conn: &Connection) -> Result<Self, Trouble> {
        let read = "SELECT last, log_lines, ended_runs, forgotten_before, crc FROM counters";
        conn.query_row(read, [], |row| Ok(Self::decode(row)))?
    }

    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let counters = Self {
            last: row.get(0)?,
            log_lines: row.get(1)?,
            ended_runs: row.get(2)?,
            forgotten_before: row.get(3)?,
        };
        verify("counters", 1, row.get(4)?, counters.sum())?;
        Ok(counters)
    }
}
