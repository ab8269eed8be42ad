//! `queues`: small numbers for pairs of app and function. Rows stay for good; there are as many as functions ever.

use evoke_core::id::{AppName, FunctionName};
use evoke_core::store::{Queue, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::trouble::Trouble;

/// A queue's number, made when it has none.
pub(crate) fn intern(conn: &Connection, queue: &Queue) -> Result<i64, Trouble> {
    if let Some(id) = find(conn, queue)? {
        return Ok(id);
    }
    conn.prepare_cached("INSERT INTO queues (app, function) VALUES (?1, ?2)")?
        .execute(params![queue.app.as_str(), queue.function.as_str()])?;
    Ok(conn.last_insert_rowid())
}

/// A queue's number.
pub(crate) fn find(conn: &Connection, queue: &Queue) -> Result<Option<i64>, Trouble> {
    let mut find = conn.prepare_cached("SELECT id FROM queues WHERE app = ?1 AND function = ?2")?;
    Ok(find.query_row(params![queue.app.as_str(), queue.function.as_str()], |row| row.get(0)).optional()?)
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

/// Reads a queue from two text columns.
pub(crate) fn decode(row: &Row<'_>, app: usize, function: usize) -> Result<Queue, Trouble> {
    let name = |column| row.get_ref(column).map_err(Trouble::from)?.as_str().map_err(|_| wrong());
    let app = AppName::new(name(app)?).map_err(|_| wrong())?;
    let function = FunctionName::new(name(function)?).map_err(|_| wrong())?;
    Ok(Queue { app, function })
}

fn wrong() -> Trouble {
    Trouble { error: StoreError::Corrupt("queues: a name is not one".to_owned()), fatal: false }
}
