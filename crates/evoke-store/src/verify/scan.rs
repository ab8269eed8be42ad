//! All rows of a table, in the order of their keys, past whatever is damaged.

use rusqlite::{Connection, Row, types::Value};

use crate::number::rows as int;
use crate::table::Table;
use crate::trouble::Trouble;

/// Rows read at once.
const PAGE: usize = 256;

/// The columns of a row, as [`Table::columns`] has them.
pub(crate) type Columns = Vec<Value>;

/// Calls `each` with every intact row and with the trouble each damaged one gives. Where a page cannot be read, the
/// rows on it are one trouble, and it goes on with the first row behind them.
pub(crate) fn rows(
    conn: &Connection,
    table: &Table,
    each: &mut dyn FnMut(Result<Columns, Trouble>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut after = i64::MIN;
    loop {
        let begin = after;
        match page(conn, table, &mut after, each)? {
            Page::Full if after > begin => {}
            Page::Last => return Ok(()),
            // Keys that do not grow are as unreadable as a page that is none.
            Page::Full => match next_readable(conn, table, after) {
                Some(next) => after = next,
                None => return Ok(()),
            },
            Page::Unreadable(trouble) => {
                let next = next_readable(conn, table, after);
                let from =
                    if after == i64::MIN { "the first row".to_owned() } else { format!("row {after}") };
                let to = next.map_or("the end".to_owned(), |next| format!("row {next}"));
                let what =
                    format!("{} between {from} and {to} cannot be read: {}", table.name, trouble.error);
                each(Err(Trouble { error: evoke_core::store::StoreError::Corrupt(what), fatal: false }))?;
                match next {
                    Some(next) => after = next,
                    None => return Ok(()),
                }
            }
        }
    }
}

enum Page {
    Full,
    Last,
    Unreadable(Trouble),
}

fn page(
    conn: &Connection,
    table: &Table,
    after: &mut i64,
    each: &mut dyn FnMut(Result<Columns, Trouble>) -> Result<(), Trouble>,
) -> Result<Page, Trouble> {
    let Table { name, key, columns, .. } = table;
    let sql =
        format!("SELECT {columns}, {key} FROM {name} NOT INDEXED WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
    let mut find = match conn.prepare_cached(&sql) {
        Ok(find) => find,
        Err(error) => return Ok(Page::Unreadable(error.into())),
    };
    let width = find.column_count() - 1;
    let mut read = find.query([*after, int(PAGE)])?;
    let mut count = 0;
    loop {
        match read.next() {
            Ok(Some(row)) => {
                count += 1;
                *after = (*after).max(row.get(width).unwrap_or(*after));
                each(checked(table, row, width))?;
            }
            Ok(None) => return Ok(if count < PAGE { Page::Last } else { Page::Full }),
            Err(error) => return Ok(Page::Unreadable(error.into())),
        }
    }
}

fn checked(table: &Table, row: &Row<'_>, width: usize) -> Result<Columns, Trouble> {
    (table.check)(row)?;
    Ok((0..width).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?)
}

/// A key behind `after` from which on reading goes on: the least one, as far as that can be told by looking further and
/// further and then halving.
fn next_readable(conn: &Connection, table: &Table, after: i64) -> Option<i64> {
    let start = after.max(0);
    let reads = |from: i64| readable(conn, table, from);
    let mut good = (0..62).map(|power| start.saturating_add(1 << power)).find(|from| reads(*from))?;
    let mut bad = start;
    while bad + 1 < good {
        let middle = bad + (good - bad) / 2;
        if reads(middle) { good = middle } else { bad = middle }
    }
    // Behind the last row everything reads well, as there is nothing.
    let Table { name, key, .. } = table;
    let more = format!("SELECT {key} FROM {name} NOT INDEXED WHERE {key} > ?1 ORDER BY {key} LIMIT 1");
    conn.query_row(&more, [good], |row| row.get::<_, i64>(0)).is_ok().then_some(good)
}

fn readable(conn: &Connection, table: &Table, from: i64) -> bool {
    let Table { name, key, columns, .. } = table;
    let sql = format!("SELECT {columns} FROM {name} NOT INDEXED WHERE {key} > ?1 ORDER BY {key} LIMIT 1");
    let read = || -> rusqlite::Result<()> {
        let mut find = conn.prepare_cached(&sql)?;
        let mut rows = find.query([from])?;
        let _ = rows.next()?;
        Ok(())
    };
    read().is_ok()
}
