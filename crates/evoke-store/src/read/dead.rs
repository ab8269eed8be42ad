//! Dead letters.

use evoke_core::record::RunState;
use evoke_core::store::{DeadLetter, DeadLetterQuery, RunQuery};
use rusqlite::Connection;

use super::runs;
use crate::input::Input;
use crate::number::time;
use crate::table::dead::Dead;
use crate::table::runs::Run;
use crate::trouble::Trouble;

/// By run id, newest first.
pub(crate) fn letters(conn: &Connection, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, Trouble> {
    let DeadLetterQuery { app, function, run, before, limit } = query.clone();
    let query =
        RunQuery { app, function, id: run, before, state: Some(RunState::DeadLettered), root: None, limit };
    runs::numbers(conn, &query)?.into_iter().map(|n| letter(conn, n)).collect()
}

fn letter(conn: &Connection, n: i64) -> Result<DeadLetter, Trouble> {
    let Dead { at, reason, request, .. } = Dead::read(conn, n)?.ok_or_else(|| Trouble::missing("dead", n))?;
    let run = Run::read(conn, n)?;
    let input = Input::read(conn, request, n, run.seq)?.decode(n)?;
    Ok(DeadLetter { run: run.record()?, reason, at: time(at), input })
}
