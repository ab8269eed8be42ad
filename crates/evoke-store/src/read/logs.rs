//! Log lines.

use evoke_core::record::LogRecord;
use evoke_core::store::LogQuery;
use rusqlite::{Connection, params};

use crate::number::{int, rows};
use crate::table::{logs, queues};
use crate::trouble::Trouble;

type Line = (u64, LogRecord);

/// Oldest first: those after a position, or the newest.
pub(crate) fn logs(conn: &Connection, query: &LogQuery) -> Result<Vec<Line>, Trouble> {
    let mut found = Vec::new();
    if let Some(run) = &query.run {
        found = page(conn, query, "l.run = ?3", &run.as_str())?;
        found.retain(|(_, line)| {
            query.app.as_ref().is_none_or(|app| *app == line.app)
                && query.function.as_ref().is_none_or(|function| *function == line.function)
        });
    } else if query.app.is_some() || query.function.is_some() {
        // The page of each queue, of which the page of all is a part.
        for queue in queues::matching(conn, query.app.as_ref(), query.function.as_ref())? {
            found.extend(page(conn, query, "l.queue = ?3", &queue)?);
        }
    } else {
        found = page(conn, query, "?3 IS NULL", &rusqlite::types::Null)?;
    }
    found.sort_unstable_by_key(|(position, _)| *position);
    match query.after {
        Some(_) => found.truncate(query.limit),
        None => drop(found.drain(..found.len().saturating_sub(query.limit))),
    }
    Ok(found)
}

fn page(
    conn: &Connection,
    query: &LogQuery,
    filter: &str,
    filtered: &dyn rusqlite::ToSql,
) -> Result<Vec<Line>, Trouble> {
    let columns = logs::COLUMNS;
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT {columns} FROM logs l JOIN queues q ON q.id = l.queue
         WHERE l.position > ?1 AND {filter} ORDER BY l.position {order} LIMIT ?2"
    );
    logs::collect(conn, &sql, params![query.after.map_or(0, int), rows(query.limit), filtered])
}
