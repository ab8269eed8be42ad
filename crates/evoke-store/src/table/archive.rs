//! `archive`: how many events of each type the log has, and their bytes, so that bounds on them cost no look at each. Those
//! that are no longer kept are counted under [`EXPIRED`].

use evoke_core::id::AppName;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Table, verify};
use crate::crc::Crc;
use crate::number::num;
use crate::trouble::Trouble;

/// The type in `log` of an event that is no longer kept: no event has it by itself.
pub(crate) const EXPIRED: &str = "";

pub(crate) const TABLE: Table = Table {
    name: "archive",
    key: "id",
    columns: "id, app, type, events, bytes, crc",
    check: |row| Held::decode(row).map(drop),
};

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub id: i64,
    pub app: String,
    pub ty: String,
    pub events: i64,
    pub bytes: i64,
}

impl Held {
    fn sum(&self) -> i64 {
        let crc = Crc::new().text(&self.app).text(&self.ty).int(self.events).int(self.bytes);
        crc.int(self.id).sum()
    }

    /// The first at `id` or after it.
    pub fn from(conn: &Connection, id: i64) -> Result<Option<Self>, Trouble> {
        let mut find = conn.prepare_cached(
            "SELECT id, app, type, events, bytes, crc FROM archive WHERE id >= ?1 ORDER BY id LIMIT 1",
        )?;
        find.query_row([id], |row| Ok(Self::decode(row))).optional()?.transpose()
    }

    fn find(conn: &Connection, app: &str, ty: &str) -> Result<Option<Self>, Trouble> {
        let mut find = conn.prepare_cached(
            "SELECT id, app, type, events, bytes, crc FROM archive WHERE app = ?1 AND type = ?2",
        )?;
        find.query_row([app, ty], |row| Ok(Self::decode(row))).optional()?.transpose()
    }

    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let read = Self {
            id: row.get(0)?,
            app: row.get(1)?,
            ty: row.get(2)?,
            events: row.get(3)?,
            bytes: row.get(4)?,
        };
        verify("archive", read.id, row.get(5)?, read.sum())?;
        Ok(read)
    }
}

/// Counts `events` more of a type (or fewer), and their `bytes`.
pub(crate) fn add(conn: &Connection, app: &str, ty: &str, events: i64, bytes: i64) -> Result<(), Trouble> {
    let Some(mut row) = Held::find(conn, app, ty)? else {
        let next = "SELECT coalesce(max(id), 0) + 1 FROM archive";
        let id = conn.prepare_cached(next)?.query_row([], |row| row.get(0))?;
        let row = Held { id, app: app.to_owned(), ty: ty.to_owned(), events, bytes };
        conn.prepare_cached("INSERT INTO archive VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            row.id,
            row.app,
            row.ty,
            row.events,
            row.bytes,
            row.sum()
        ])?;
        return Ok(());
    };
    row.events += events;
    row.bytes += bytes;
    if row.events <= 0 {
        conn.prepare_cached("DELETE FROM archive WHERE id = ?1")?.execute([row.id])?;
        return Ok(());
    }
    conn.prepare_cached("UPDATE archive SET events = ?2, bytes = ?3, crc = ?4 WHERE id = ?1")?
        .execute(params![row.id, row.events, row.bytes, row.sum()])?;
    Ok(())
}

/// Types of an app whose names begin with `prefix`, with their bytes; those that are no longer kept are left out.
pub(crate) fn of_app(conn: &Connection, app: &AppName, prefix: &str) -> Result<Vec<(String, i64)>, Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT type, bytes FROM archive WHERE app = ?1 AND type >= ?2 AND type > '' ORDER BY type",
    )?;
    let mut rows = find.query([app.as_str(), prefix])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let ty: String = row.get(0)?;
        if !ty.starts_with(prefix) {
            break;
        }
        found.push((ty, row.get(1)?));
    }
    Ok(found)
}

/// How many events an app has that are kept, and their bytes.
pub(crate) fn total(conn: &Connection, app: &AppName) -> Result<(u64, u64), Trouble> {
    let find =
        "SELECT coalesce(sum(events), 0), coalesce(sum(bytes), 0) FROM archive WHERE app = ?1 AND type > ''";
    let mut find = conn.prepare_cached(find)?;
    Ok(find.query_row([app.as_str()], |row| Ok((num(row.get(0)?), num(row.get(1)?))))?)
}

/// Counts all of the log anew.
pub(crate) fn recount(conn: &Connection) -> Result<(), Trouble> {
    conn.execute("DELETE FROM archive", [])?;
    let mut find = conn.prepare(
        "SELECT app, type, count(*), sum(length(event)) FROM log WHERE type IS NOT NULL GROUP BY app, type",
    )?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let (app, ty): (String, String) = (row.get(0)?, row.get(1)?);
        add(conn, &app, &ty, row.get(2)?, row.get(3)?)?;
    }
    Ok(())
}
