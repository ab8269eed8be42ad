//! `dead`: why and when an invocation was given up.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Table, flag, verify};
use crate::crc::Crc;
use crate::trouble::Trouble;

pub(crate) const TABLE: Table = Table {
    name: "dead",
    key: "n",
    columns: "n, at, reason, request, crc",
    check: |row| Dead::decode(row).map(drop),
};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dead {
    pub n: i64,
    pub at: i64,
    pub reason: String,
    pub request: bool,
}

impl Dead {
    fn sum(&self) -> i64 {
        Crc::new().int(self.at).text(&self.reason).int(self.request.into()).int(self.n).sum()
    }

    pub fn insert(&self, conn: &Connection) -> Result<(), Trouble> {
        conn.prepare_cached("INSERT INTO dead VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            self.n,
            self.at,
            self.reason,
            self.request,
            self.sum()
        ])?;
        Ok(())
    }

    pub fn delete(&self, conn: &Connection) -> Result<(), Trouble> {
        Self::delete_of(conn, self.n)
    }

    /// Deletes the row of a run, if there is one.
    pub fn delete_of(conn: &Connection, n: i64) -> Result<(), Trouble> {
        conn.prepare_cached("DELETE FROM dead WHERE n = ?1")?.execute([n])?;
        Ok(())
    }

    pub fn read(conn: &Connection, n: i64) -> Result<Option<Self>, Trouble> {
        let mut find = conn.prepare_cached("SELECT n, at, reason, request, crc FROM dead WHERE n = ?1")?;
        find.query_row([n], |row| Ok(Self::decode(row))).optional()?.transpose()
    }

    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let read = Self { n: row.get(0)?, at: row.get(1)?, reason: row.get(2)?, request: flag(row, 3)? };
        verify("dead", read.n, row.get(4)?, read.sum())?;
        Ok(read)
    }
}
