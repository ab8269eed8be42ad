//! `slices`: in which slices of time runs of a function ended well, or failed.
//!
//! A slice is all runs whose ids begin alike, in [`CHARS`] characters: after the tag, nine digits of the time in milliseconds, so 32 ms
//! of it. An entry is made when the first run of a function in a state gets into a slice, and goes with the last one: under load that
//! is one for hundreds of runs, where an index over them would have an entry each. A list goes from slice to slice and through
//! the runs of each by their ids. Runs that have not ended are few, and have an index (`runs_open`).

use rusqlite::{Connection, params};

use crate::trouble::Trouble;

/// Characters of an id; the statements have the number as it is.
const CHARS: usize = 13;
/// What ids of runs begin with.
const TAG: &str = "run_";

/// A question for ended runs `r` by the slices `s` they are in: what of them, and of which.
macro_rules! ended_runs {
    ($what:literal, $which:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM slices s CROSS JOIN runs r INDEXED BY runs_by_id
              ON r.id >= s.slice AND r.id < s.slice || char(1114111) AND substr(r.id, 1, 13) = s.slice
              AND r.queue = s.queue AND r.state = s.state WHERE ",
            $which
        )
    };
}
pub(crate) use ended_runs;

/// The slice a run is in.
pub(crate) fn of(id: &str) -> &str {
    id.char_indices().nth(CHARS).map_or(id, |(end, _)| &id[..end])
}

/// Whether a run is in the slice in which its root was made, as nearly all calls from outside are: who looks for the runs of a root
/// looks through that slice. An id of Evoke's own tells when it was made, whatever it is of, in the same place.
pub(crate) fn has_root(id: &str, root: &str) -> bool {
    id.starts_with(TAG)
        && root.get(TAG.len()..CHARS).is_some_and(|time| id.get(TAG.len()..CHARS) == Some(time))
}

/// That slice; none for a root that is too short to tell.
pub(crate) fn of_root(root: &str) -> Option<String> {
    root.get(TAG.len()..CHARS).map(|time| format!("{TAG}{time}"))
}

/// Notes that runs of a queue ended in a state are in a slice.
pub(crate) fn add(conn: &Connection, queue: i64, state: i64, slice: &str) -> Result<(), Trouble> {
    let sql = "INSERT OR IGNORE INTO slices VALUES (?1, ?2, ?3)";
    conn.prepare_cached(sql)?.execute(params![queue, state, slice])?;
    Ok(())
}

/// Forgets a slice if no such run is in it any more. Says whether it did.
pub(crate) fn forget_empty(conn: &Connection, queue: i64, state: i64, slice: &str) -> Result<bool, Trouble> {
    let sql = concat!(
        "DELETE FROM slices WHERE queue = ?1 AND state = ?2 AND slice = ?3 AND NOT EXISTS (",
        ended_runs!("1", "s.queue = ?1 AND s.state = ?2 AND s.slice = ?3"),
        ")"
    );
    Ok(conn.prepare_cached(sql)?.execute(params![queue, state, slice])? > 0)
}

/// Makes all of them anew.
pub(crate) fn rebuild(conn: &Connection) -> Result<(), Trouble> {
    conn.execute_batch(
        "DELETE FROM slices;
         INSERT OR IGNORE INTO slices SELECT queue, state, substr(id, 1, 13) FROM runs WHERE state IN (2, 3);",
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_what_an_id_begins_with() {
        assert_eq!(of("run_01kabcdefghjkmnpqrstvwxyz0"), "run_01kabcdef");
        assert_eq!(of("run_01kabcdef"), "run_01kabcdef");
        assert_eq!(of("short"), "short");
        assert_eq!(of(&"ä".repeat(20)), "ä".repeat(CHARS));
    }

    #[test]
    fn a_root_leads_to_the_runs_of_its_time() {
        let (run, root) = ("run_01kabcdefghjkmnpqrstvwxyz0", "evt_01kabcdefzzzzzzzzzzzzzzzz0");
        assert!(has_root(run, root) && has_root(run, run));
        assert_eq!(of_root(root).as_deref(), Some(of(run)));
        for other in ["evt_01kabcdegzzzzzzzzzzzzzzzz0", "evt_01kabcde", "", "ääääääääääääää"] {
            assert!(!has_root(run, other), "{other}");
        }
        assert!(!has_root("job_01kabcdefghjkmnpqrstvwxyz0", root));
    }
}
