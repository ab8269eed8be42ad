//! `logs`: the lines that runs wrote.

use evoke_core::id::RunId;
use evoke_core::record::{LogRecord, LogStream};
use evoke_core::store::Queue;
use rusqlite::{Connection, Params, Row, params};

use super::{queues, verify};
use crate::crc::Crc;
use crate::number::{num, time, us};
use crate::trouble::Trouble;

/// The columns [`decode`] reads.
pub(crate) const COLUMNS: &str =
    "l.position, l.at, l.queue, l.run, l.attempt, l.stream, l.line, l.crc, q.id, q.app, q.function, q.crc";

/// Adds a line.
pub(crate) fn insert(conn: &Connection, position: i64, queue: i64, line: &LogRecord) -> Result<(), Trouble> {
    let (at, stream) = (us(line.at), code(line.stream));
    let crc = sum(at, queue, line.run.as_str(), line.attempt.into(), stream, &line.line, position);
    conn.prepare_cached("INSERT INTO logs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        position,
        at,
        queue,
        line.run.as_str(),
        line.attempt,
        stream,
        line.line,
        crc
    ])?;
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

/// Deletes up to `limit` of the oldest lines: those up to a position, and then those before a time.
pub(crate) fn delete_oldest(
    conn: &Connection,
    up_to: i64,
    before: i64,
    limit: i64,
) -> Result<usize, Trouble> {
    let mut find = conn.prepare_cached("SELECT position, at FROM logs ORDER BY position LIMIT ?1")?;
    let mut rows = find.query([limit])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (position, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        if position > up_to && at >= before {
            break;
        }
        last = Some(position);
    }
    let Some(last) = last else { return Ok(0) };
    Ok(conn.prepare_cached("DELETE FROM logs WHERE position <= ?1")?.execute([last])?)
}

fn code(stream: LogStream) -> i64 {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
        LogStream::Platform => 2,
    }
}

fn decode(row: &Row<'_>) -> Result<(u64, LogRecord), Trouble> {
    let position: i64 = row.get(0)?;
    let (at, queue, attempt, stream): (i64, i64, u32, i64) =
        (row.get(1)?, row.get(2)?, row.get(4)?, row.get(5)?);
    let (run, line): (String, String) = (row.get(3)?, row.get(6)?);
    verify("logs", position, row.get(7)?, sum(at, queue, &run, attempt.into(), stream, &line, position))?;
    let Queue { app, function } = queues::decode(row, 8)?;
    let stream = match stream {
        0 => LogStream::Stdout,
        1 => LogStream::Stderr,
        _ => LogStream::Platform,
    };
    let run = RunId::from_text(run);
    Ok((num(position), LogRecord { at: time(at), run, app, function, attempt, stream, line }))
}

fn sum(at: i64, queue: i64, run: &str, attempt: i64, stream: i64, line: &str, position: i64) -> i64 {
    Crc::new().int(at).int(queue).text(run).int(attempt).int(stream).text(line).int(position).sum()
}
