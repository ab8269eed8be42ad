//! Events.

use evoke_core::id::Correlation;
use evoke_core::store::{EventQuery, StoredEvent};
use rusqlite::Connection;

use crate::number::{int, rows};
use crate::table::log::Accepted;
use crate::table::seen;
use crate::trouble::Trouble;

/// Newest first; from a position on, oldest first.
pub(crate) fn events(conn: &Connection, query: &EventQuery) -> Result<Vec<StoredEvent>, Trouble> {
    let root = query.root.as_ref().map(Correlation::as_str);
    let before = query.before.map_or(i64::MAX, int);
    if let (Some(after), None, None) = (query.after, &query.id, root) {
        let range = (int(after), before);
        let found =
            Accepted::oldest(conn, query.app.as_ref(), query.ty.as_deref(), range, rows(query.limit))?;
        return found.iter().filter_map(|row| row.event().transpose()).collect();
    }
    let Some(id) = &query.id else {
        let found =
            Accepted::newest(conn, query.app.as_ref(), query.ty.as_deref(), root, before, rows(query.limit))?;
        return found.iter().filter_map(|row| row.event().transpose()).collect();
    };
    let mut found = Vec::new();
    for seq in seen::by_id(conn, id, before)? {
        if found.len() >= query.limit {
            break;
        }
        let Some(row) = Accepted::read(conn, seq)? else { continue };
        found.extend(row.event()?.filter(|stored| is_wanted(stored, query)));
    }
    Ok(found)
}

fn is_wanted(stored: &StoredEvent, query: &EventQuery) -> bool {
    query.id.as_ref().is_none_or(|id| id == stored.event.id())
        && query.app.as_ref().is_none_or(|app| *app == stored.app)
        && query.ty.as_ref().is_none_or(|ty| ty == stored.event.ty())
        && query
            .root
            .as_ref()
            .is_none_or(|root| stored.event.extension_str("correlationid") == Some(root.as_str()))
}
