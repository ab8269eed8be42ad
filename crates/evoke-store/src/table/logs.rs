//! `logs`: the lines that runs wrote.

use std::collections::BTreeMap;

use evoke_core::id::RunId;
use evoke_core::record::{LogRecord, LogStream};
use evoke_core::store::Queue;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{Table, queues, verify};
use crate::crc::Crc;
use crate::number::{num, time, us};
use crate::trouble::Trouble;

pub(crate) const TABLE: Table = Table {
    name: "logs",
    key: "position",
    columns: "position, at, queue, run, attempt, stream, line, crc",
    check: |row| Line::decode(row).map(drop),
};

/// The columns [`decode`] reads.
pub(crate) const COLUMNS: &str =
    "l.position, l.at, l.queue, l.run, l.attempt, l.stream, l.line, l.crc, q.id, q.app, q.function, q.crc";

/// Adds a line.
pub(crate) fn insert(conn: &Connection, position: i64, queue: i64, line: &LogRecord) -> Result<(), Trouble> {
    let row = Line {
        position,
        at: us(line.at),
        queue,
        run: line.run.as_str().to_owned(),
        attempt: line.attempt,
        stream: code(line.stream),
        line: line.line.clone(),
    };
    row.insert(conn)
}

/// The queue of a line that is blank: what it said is gone, and it keeps its place, so that a line that is missing is noticed.
pub(crate) const BLANK: i64 = 0;

/// Positions of up to `limit` of the oldest lines of a queue, and the bytes of their text.
pub(crate) fn oldest(conn: &Connection, queue: i64, limit: i64) -> Result<Vec<(i64, i64)>, Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT position, octet_length(line) FROM logs WHERE queue = ?1 ORDER BY position LIMIT ?2",
    )?;
    let found = find.query_map([queue, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Makes the line at a position blank.
pub(crate) fn blank(conn: &Connection, position: i64) -> Result<(), Trouble> {
    let mut find = conn.prepare_cached("SELECT at FROM logs WHERE position = ?1")?;
    let at = find.query_row([position], |row| row.get(0))?;
    let stream = code(LogStream::Platform);
    let (run, line) = (String::new(), String::new());
    let row = Line { position, at, queue: BLANK, run, attempt: 0, stream, line };
    conn.prepare_cached(
        "UPDATE logs SET queue = ?2, run = '', attempt = 0, stream = ?3, line = '', crc = ?4 WHERE position = ?1",
    )?
    .execute(params![position, BLANK, stream, row.sum()])?;
    Ok(())
}

/// Runs a query that gives [`COLUMNS`].
pub(crate) fn collect(
    conn: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Vec<(u64, LogRecord)>, Trouble> {
    let mut find = conn.prepare_cached(sql)?;
    let mut rows = find.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row)?);
    }
    Ok(found)
}

/// What is too old, or too much.
pub(crate) struct Over {
    /// Up to this position.
    pub up_to: i64,
    /// Before this time.
    pub before: i64,
    /// So many bytes.
    pub bytes: i64,
}

/// Deletes up to `limit` of the oldest lines, as long as they are over one of the bounds or blank. How many of each queue, and
/// their bytes.
pub(crate) fn delete_oldest(
    conn: &Connection,
    mut over: Over,
    limit: i64,
) -> Result<BTreeMap<i64, (i64, i64)>, Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT position, at, queue, octet_length(line) FROM logs ORDER BY position LIMIT ?1",
    )?;
    let mut rows = find.query([limit])?;
    let (mut last, mut gone) = (0, BTreeMap::<i64, (i64, i64)>::new());
    while let Some(row) = rows.next()? {
        let (position, at, queue): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if position > over.up_to && at >= over.before && over.bytes <= 0 && queue != BLANK {
            break;
        }
        let bytes: i64 = row.get(3)?;
        over.bytes -= bytes;
        last = position;
        let of_queue = gone.entry(queue).or_default();
        *of_queue = (of_queue.0 + 1, of_queue.1 + bytes);
    }
    conn.prepare_cached("DELETE FROM logs WHERE position <= ?1")?.execute([last])?;
    Ok(gone)
}

/// Moves lines down so that there is one at every position up to the last. Only for a store that is being made.
pub(crate) fn close_gaps(conn: &Connection) -> Result<(), Trouble> {
    let Table { columns, .. } = TABLE;
    let mut next =
        conn.prepare(&format!("SELECT {columns} FROM logs WHERE position >= ?1 ORDER BY position LIMIT 1"))?;
    let mut position = 1;
    loop {
        let found = next.query_row([position], |row| Ok(Line::decode(row))).optional()?.transpose()?;
        let Some(mut line) = found else { return Ok(()) };
        if line.position != position {
            conn.prepare_cached("DELETE FROM logs WHERE position = ?1")?.execute([line.position])?;
            line.position = position;
            line.insert(conn)?;
        }
        position += 1;
    }
}

fn code(stream: LogStream) -> i64 {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
        LogStream::Platform => 2,
    }
}

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub position: i64,
    at: i64,
    queue: i64,
    run: String,
    attempt: u32,
    stream: i64,
    line: String,
}

impl Line {
    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let read = Self {
            position: row.get(0)?,
            at: row.get(1)?,
            queue: row.get(2)?,
            run: row.get(3)?,
            attempt: row.get(4)?,
            stream: row.get(5)?,
            line: row.get(6)?,
        };
        verify("logs", read.position, row.get(7)?, read.sum())?;
        Ok(read)
    }

    pub fn insert(&self, conn: &Connection) -> Result<(), Trouble> {
        conn.prepare_cached("INSERT INTO logs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            self.position,
            self.at,
            self.queue,
            self.run,
            self.attempt,
            self.stream,
            self.line,
            self.sum()
        ])?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        let crc = Crc::new().int(self.at).int(self.queue).text(&self.run).int(self.attempt.into());
        crc.int(self.stream).text(&self.line).int(self.position).sum()
    }
}

fn decode(row: &Row<'_>) -> Result<(u64, LogRecord), Trouble> {
    let Line { position, at, run, attempt, stream, line, .. } = Line::decode(row)?;
    let Queue { app, function, .. } = queues::decode(row, 8)?;
    let stream = match stream {
        0 => LogStream::Stdout,
        1 => LogStream::Stderr,
        _ => LogStream::Platform,
    };
    let run = RunId::from_text(run);
    Ok((num(position), LogRecord { at: time(at), run, app, function, attempt, stream, line }))
}
