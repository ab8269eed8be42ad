//! How much an app has.

use evoke_core::holdings::Holdings;
use evoke_core::id::AppName;
use rusqlite::Connection;

use crate::number::num;
use crate::table::runs::{DEAD, QUEUED};
use crate::table::{archive, entries};
use crate::trouble::Trouble;

pub(crate) fn of(conn: &Connection, app: &AppName) -> Result<Holdings, Trouble> {
    let look = |what: &str, of: &str| -> Result<u64, Trouble> {
        let sql = format!("SELECT {what} FROM queues q JOIN {of} WHERE q.app = ?1");
        Ok(conn.prepare_cached(&sql)?.query_row([app.as_str()], |row| row.get(0).map(num))?)
    };
    let open = "runs t ON t.queue = q.id AND t.state NOT IN (2, 3)";
    let in_state = |state: i64| look("count(*)", &format!("{open} AND t.state = {state}"));
    let ended = look("coalesce(sum(u.runs), 0)", "usage u ON u.queue = q.id")?;
    let (events, event_bytes) = archive::total(conn, app)?;
    let (entries, entry_bytes) = entries::total(conn, &format!("app/{app}/"))?;
    Ok(Holdings {
        events,
        event_bytes,
        pending: in_state(QUEUED)?,
        dead_letters: in_state(DEAD)?,
        runs: look("count(*)", open)? + ended,
        log_lines: look("count(*)", "logs t ON t.queue = q.id")?,
        entries,
        entry_bytes,
    })
}
