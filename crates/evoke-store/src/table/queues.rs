//! `queues`: small numbers for queues: pairs of app and function, and of app and `function/subscription`. Rows go
//! when nothing refers to them (`write/sweep/queues.rs`).

use std::borrow::Cow;

use evoke_core::id::{AppName, FunctionName, SubscriptionName};
use evoke_core::store::Queue;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Table, verify};
use crate::crc::Crc;
use crate::trouble::Trouble;

pub(crate) const TABLE: Table = Table {
    name: "queues",
    key: "id",
    columns: "id, app, function, crc",
    check: |row| decode(row, 0).map(drop),
};

/// A queue's number, made when it has none.
pub(crate) fn intern(conn: &Connection, queue: &Queue) -> Result<i64, Trouble> {
    if let Some(id) = find(conn, queue)? {
        return Ok(id);
    }
    let (app, function) = (queue.app.as_str(), &*text(queue));
    let id: i64 = conn.query_row("SELECT coalesce(max(id), 0) + 1 FROM queues", [], |row| row.get(0))?;
    conn.prepare_cached("INSERT INTO queues (id, app, function, crc) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, app, function, sum(app, function, id)])?;
    Ok(id)
}

/// A queue's number.
pub(crate) fn find(conn: &Connection, queue: &Queue) -> Result<Option<i64>, Trouble> {
    let (app, function) = (queue.app.as_str(), &*text(queue));
    let mut find = conn.prepare_cached("SELECT id, crc FROM queues WHERE app = ?1 AND function = ?2")?;
    let found: Option<(i64, i64)> =
        find.query_row([app, function], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((id, crc)) = found else { return Ok(None) };
    verify("queues", id, crc, sum(app, function, id))?;
    Ok(Some(id))
}

/// The `limit` numbers after `after`.
pub(crate) fn after(conn: &Connection, after: i64, limit: i64) -> Result<Vec<i64>, Trouble> {
    let mut find = conn.prepare_cached("SELECT id FROM queues WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let found = find.query_map([after, limit], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Whether anything refers to a queue.
pub(crate) fn is_used(conn: &Connection, id: i64) -> Result<bool, Trouble> {
    let find = "SELECT EXISTS (SELECT 1 FROM runs WHERE queue = ?1 AND state NOT IN (2, 3))
        OR EXISTS (SELECT 1 FROM slices WHERE queue = ?1) OR EXISTS (SELECT 1 FROM pending WHERE queue = ?1)
        OR EXISTS (SELECT 1 FROM logs WHERE queue = ?1)";
    Ok(conn.prepare_cached(find)?.query_row([id], |row| row.get(0))?)
}

/// Forgets a queue: nothing may refer to it.
pub(crate) fn delete(conn: &Connection, id: i64) -> Result<(), Trouble> {
    conn.prepare_cached("DELETE FROM queues WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// The checksum of a row.
pub(crate) fn sum(app: &str, function: &str, id: i64) -> i64 {
    Crc::new().text(app).text(function).int(id).sum()
}

/// The numbers of the queues of an app, of a function, or of all.
pub(crate) fn matching(
    conn: &Connection,
    app: Option<&AppName>,
    function: Option<&FunctionName>,
) -> Result<Vec<i64>, Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT id FROM queues WHERE (?1 IS NULL OR app = ?1) AND (?2 IS NULL OR function = ?2)",
    )?;
    let found = find
        .query_map(params![app.map(AppName::as_str), function.map(FunctionName::as_str)], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// The numbers of all queues, with their apps.
pub(crate) fn by_app(conn: &Connection) -> Result<Vec<(String, i64)>, Trouble> {
    let mut find = conn.prepare_cached("SELECT app, id FROM queues ORDER BY app, id")?;
    let found = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Reads a queue from its columns `id`, `app`, `function` and `crc`, which begin at `first`.
pub(crate) fn decode(row: &Row<'_>, first: usize) -> Result<Queue, Trouble> {
    let id: i64 = row.get(first)?;
    let name = |column| row.get_ref(column).map_err(Trouble::from)?.as_str().map_err(|_| wrong(id));
    let (app, function) = (name(first + 1)?, name(first + 2)?);
    verify("queues", id, row.get(first + 3)?, sum(app, function, id))?;
    let app = AppName::new(app).map_err(|_| wrong(id))?;
    let (function, subscription) = match function.split_once('/') {
        Some((function, subscription)) => (function, Some(SubscriptionName::from_text(subscription))),
        None => (function, None),
    };
    let function = FunctionName::new(function).map_err(|_| wrong(id))?;
    Ok(Queue { app, function, subscription })
}

/// The function, and behind a slash, which no function has in its name, the subscription.
fn text(queue: &Queue) -> Cow<'_, str> {
    match &queue.subscription {
        Some(subscription) => Cow::Owned(format!("{}/{subscription}", queue.function)),
        None => Cow::Borrowed(queue.function.as_str()),
    }
}

fn wrong(id: i64) -> Trouble {
    Trouble::unreadable("queues", id)
}
