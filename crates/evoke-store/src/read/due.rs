//! When each queue wants attention.

use evoke_core::store::{Queue, QueueDue, Waiting};
use evoke_core::time::Timestamp;
use rusqlite::Connection;

use crate::number::{num, time, us};
use crate::table::pending::Pending;
use crate::table::queues;
use crate::table::runs::Run;
use crate::trouble::Trouble;

/// One look-up per queue there ever was, however many invocations wait.
const EARLIEST: &str =
    "SELECT id, app, function, crc, (SELECT at FROM pending WHERE queue = queues.id ORDER BY at LIMIT 1) AS earliest
    FROM queues WHERE earliest IS NOT NULL";

/// The queues that have invocations, with the earliest time of each.
pub(crate) fn due(conn: &Connection) -> Result<Vec<QueueDue>, Trouble> {
    let mut find = conn.prepare_cached(EARLIEST)?;
    let mut rows = find.query([])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(QueueDue { queue: queues::decode(row, 0)?, at: time(row.get(4)?) });
    }
    Ok(due)
}

/// How many invocations are in a queue, up to `max`.
pub(crate) fn waiting(
    conn: &Connection,
    queue: &Queue,
    now: Timestamp,
    max: i64,
) -> Result<Waiting, Trouble> {
    let Some(queue) = queues::find(conn, queue)? else { return Ok(Waiting::default()) };
    let (available, since) = Pending::count_available(conn, queue, us(now), max)?;
    let (pending, leased, retrying, first) = Pending::count(conn, queue, us(now), max)?;
    let oldest = first.map(|n| Run::read(conn, n)).transpose()?.map(|run| run.created_at);
    Ok(Waiting {
        pending: num(pending),
        available: num(available),
        since: since.map(time),
        leased: num(leased),
        retrying: num(retrying),
        oldest: oldest.map(time),
    })
}
