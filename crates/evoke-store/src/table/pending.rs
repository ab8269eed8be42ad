//! `pending`: invocations that are neither done nor given up. Narrow rows, as leasing and settling rewrite them.

use evoke_core::id::RunId;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{Table, flag, verify};
use crate::crc::Crc;
use crate::trouble::Trouble;

const BY_N: &str = "SELECT n, queue, at, attempts, token, leased_at, request, crc FROM pending WHERE n = ?1";
const AVAILABLE: &str = "SELECT n, queue, at, attempts, token, leased_at, request, crc FROM pending
    WHERE queue = ?1 AND at <= ?2 ORDER BY at, n LIMIT ?3";
const LEASED: &str =
    "SELECT n, queue, at, attempts, token, leased_at, request, crc FROM pending INDEXED BY pending_leased
    WHERE token > 0 AND n > ?1 ORDER BY n LIMIT ?2";

pub(crate) const TABLE: Table = Table {
    name: "pending",
    key: "n",
    columns: "n, queue, at, attempts, token, leased_at, request, crc",
    check: |row| Pending::decode(row).map(drop),
};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub n: i64,
    pub queue: i64,
    /// Due, or the end of its lease.
    pub at: i64,
    pub attempts: i64,
    /// Of its lease; 0 without one.
    pub token: i64,
    /// When the attempt began that nobody has settled; 0 without one.
    pub leased_at: i64,
    pub request: bool,
}

impl Pending {
    fn sum(&self) -> i64 {
        let crc =
            Crc::new().int(self.queue).int(self.at).int(self.attempts).int(self.token).int(self.leased_at);
        crc.int(self.request.into()).int(self.n).sum()
    }

    pub fn insert(&self, conn: &Connection) -> Result<(), Trouble> {
        conn.prepare_cached("INSERT INTO pending VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
            params![
                self.n,
                self.queue,
                self.at,
                self.attempts,
                self.token,
                self.leased_at,
                self.request,
                self.sum()
            ],
        )?;
        Ok(())
    }

    pub fn update(&self, conn: &Connection) -> Result<(), Trouble> {
        let sql =
            "UPDATE pending SET at = ?2, attempts = ?3, token = ?4, leased_at = ?5, crc = ?6 WHERE n = ?1";
        let row = params![self.n, self.at, self.attempts, self.token, self.leased_at, self.sum()];
        conn.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    pub fn delete(&self, conn: &Connection) -> Result<(), Trouble> {
        Self::delete_of(conn, self.n)
    }

    /// Deletes the row of a run, if there is one.
    pub fn delete_of(conn: &Connection, n: i64) -> Result<(), Trouble> {
        conn.prepare_cached("DELETE FROM pending WHERE n = ?1")?.execute([n])?;
        Ok(())
    }

    pub fn read(conn: &Connection, n: i64) -> Result<Option<Self>, Trouble> {
        conn.prepare_cached(BY_N)?.query_row([n], |row| Ok(Self::decode(row))).optional()?.transpose()
    }

    /// The row, if `token` is that of its lease.
    pub fn held(conn: &Connection, run: &RunId, token: i64) -> Result<Option<Self>, Trouble> {
        let Some((n, ..)) = super::runs::place(conn, run.as_str())? else { return Ok(None) };
        Ok(Self::read(conn, n)?.filter(|row| row.token == token && token > 0))
    }

    /// Those of a queue that can be leased at `now`, longest available first.
    pub fn available(conn: &Connection, queue: i64, now: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        collect(conn, AVAILABLE, [queue, now, limit])
    }

    /// How many there are of a queue, up to `max`: all, those with a lease at `now`, those that were attempted and have none; and
    /// the number of the first of them.
    pub fn count(
        conn: &Connection,
        queue: i64,
        now: i64,
        max: i64,
    ) -> Result<(i64, i64, i64, Option<i64>), Trouble> {
        let sql = "SELECT count(*), coalesce(sum(leased), 0), coalesce(sum(attempts > 0 AND NOT leased), 0), min(n) FROM
            (SELECT n, attempts, token > 0 AND at > ?2 AS leased FROM pending WHERE queue = ?1 ORDER BY at LIMIT ?3)";
        let mut count = conn.prepare_cached(sql)?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        Ok(count.query_row([queue, now, max], row)?)
    }

    /// How many of a queue can be leased at `now`, up to `max`, and since when the first can be.
    pub fn count_available(
        conn: &Connection,
        queue: i64,
        now: i64,
        max: i64,
    ) -> Result<(i64, Option<i64>), Trouble> {
        let sql = "SELECT count(*), min(at) FROM
            (SELECT at FROM pending WHERE queue = ?1 AND at <= ?2 ORDER BY at LIMIT ?3)";
        let mut count = conn.prepare_cached(sql)?;
        Ok(count.query_row([queue, now, max], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// The `limit` first leased ones after `n`.
    pub fn leased(conn: &Connection, after: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        collect(conn, LEASED, [after, limit])
    }

    /// Ends its lease; the attempt stays unsettled.
    pub fn void(&mut self) {
        self.at = self.leased_at;
        self.token = 0;
    }

    /// Ends its attempt; it is due at `at`.
    pub fn wait(&mut self, at: i64) {
        self.at = at;
        self.token = 0;
        self.leased_at = 0;
    }

    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let read = Self {
            n: row.get(0)?,
            queue: row.get(1)?,
            at: row.get(2)?,
            attempts: row.get(3)?,
            token: row.get(4)?,
            leased_at: row.get(5)?,
            request: flag(row, 6)?,
        };
        verify("pending", read.n, row.get(7)?, read.sum())?;
        Ok(read)
    }
}

fn collect(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Pending>, Trouble> {
    let mut find = conn.prepare_cached(sql)?;
    let mut rows = find.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Pending::decode(row)?);
    }
    Ok(found)
}
