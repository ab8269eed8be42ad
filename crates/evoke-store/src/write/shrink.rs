//! Giving free pages back to the file system, a few at a time, so that no publish waits for long.
//!
//! What sweeping frees is used again first. Where much more is free than that takes, the last pages of the file move to free
//! ones before them, and the file becomes shorter at the next checkpoint.

use rusqlite::Connection;

use crate::limit::{FREE_PAGES, FREE_SHARE, SHRINK_PAGES};
use crate::trouble::Trouble;

/// Gives back up to [`SHRINK_PAGES`] if too many are free; how many. A store of before this was possible gives none back:
/// see [`compact`](crate::compact()).
pub(super) fn shrink(conn: &Connection) -> Result<usize, Trouble> {
    let pragma = |name: &str| -> rusqlite::Result<i64> {
        conn.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
    };
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    let over = free - FREE_PAGES.max(pages / FREE_SHARE);
    if over <= 0 {
        return Ok(0);
    }
    let mut step = conn.prepare_cached(&format!("PRAGMA incremental_vacuum({})", over.min(SHRINK_PAGES)))?;
    let mut rows = step.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    Ok(usize::try_from(pages - pragma("page_count")?).unwrap_or(0))
}
