//! Runs, by id, newest first.
//!
//! First the numbers of the runs that are wanted, from indices alone; then the rows. Where an index has several
//! places that qualify (each queue of an app, each state), the page of each is taken, and of those the page of all.

use evoke_core::id::RunId;
use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::RunQuery;
use rusqlite::{Connection, Params, params};

use crate::number::{rows, time};
use crate::table::pending::Pending;
use crate::table::queues;
use crate::table::runs::{self, QUEUED, Run};
use crate::table::slices::{self, ended_runs};
use crate::trouble::Trouble;

const ALL: &str = "SELECT id, n FROM runs WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
const OPEN: &str = "SELECT id, n FROM runs INDEXED BY runs_open
    WHERE queue = ?3 AND state = ?4 AND state NOT IN (2, 3) AND id < ?1 ORDER BY id DESC LIMIT ?2";
const WAITING: &str = "SELECT r.id, r.n FROM runs r INDEXED BY runs_open LEFT JOIN pending p ON p.n = r.n
    WHERE r.queue = ?3 AND r.state = ?4 AND r.state NOT IN (2, 3) AND r.id < ?1 AND coalesce(p.token, 0) = 0
    ORDER BY r.id DESC LIMIT ?2";
const ENDED: &str = ended_runs!(
    "r.id, r.n",
    "s.queue = ?3 AND s.state = ?4 AND s.slice <= substr(?1, 1, 13) AND r.id < ?1
     ORDER BY s.slice DESC, r.id DESC LIMIT ?2"
);
const OF_ROOT: &str = "SELECT id, n FROM runs INDEXED BY runs_by_root
    WHERE root = ?1 AND root <> '' AND id < ?2 ORDER BY id DESC";
/// Those of a slice that have no root in their column, and the one that is wanted in their body.
const OF_ROOT_IN_SLICE: &str = "SELECT id, n FROM runs INDEXED BY runs_by_id
    WHERE id >= ?3 AND id < ?3 || char(1114111) AND id < ?2 AND root = ''
    AND (id = ?1 OR instr(body, CAST(?1 AS BLOB)) > 0) ORDER BY id DESC";

/// Sorts after every id.
const NO_ID: &str = "\u{10ffff}";

/// The records that are wanted.
pub(crate) fn runs(conn: &Connection, query: &RunQuery) -> Result<Vec<RunRecord>, Trouble> {
    numbers(conn, query)?.into_iter().map(|n| record(conn, n)).collect()
}

/// Their numbers.
pub(crate) fn numbers(conn: &Connection, query: &RunQuery) -> Result<Vec<i64>, Trouble> {
    if query.id.is_some() || query.root.is_some() {
        return few(conn, query);
    }
    let (before, limit) = (before(query), rows(query.limit));
    let mut found = Vec::new();
    if query.app.is_none() && query.function.is_none() && query.state.is_none() {
        found = collect(conn, ALL, params![before, limit])?;
    } else {
        for queue in queues::matching(conn, query.app.as_ref(), query.function.as_ref())? {
            for state in states(query) {
                let sql = match query.state {
                    Some(RunState::Queued) => WAITING,
                    _ if runs::is_ended(state) => ENDED,
                    _ => OPEN,
                };
                found.extend(collect(conn, sql, params![before, limit, queue, state])?);
            }
        }
        if query.state == Some(RunState::Running) {
            found.extend(leased(conn, query)?);
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(query.limit);
    Ok(found.into_iter().map(|(_, n)| n).collect())
}

/// One run, or those of one root: there each row is looked at.
fn few(conn: &Connection, query: &RunQuery) -> Result<Vec<i64>, Trouble> {
    let found = match (&query.id, &query.root) {
        (Some(id), _) => {
            runs::place(conn, id.as_str())?.map(|(n, ..)| (id.as_str().to_owned(), n)).into_iter().collect()
        }
        (None, Some(root)) => of_root(conn, root.as_str(), before(query))?,
        (None, None) => Vec::new(),
    };
    let mut wanted = Vec::new();
    for (_, n) in found {
        if wanted.len() >= query.limit {
            break;
        }
        let record = record(conn, n)?;
        let is_wanted = runs::is_of(&record, query.app.as_ref(), query.function.as_ref())
            && query.state.is_none_or(|state| state == record.state)
            && query.root.as_ref().is_none_or(|root| *root == record.cause.root)
            && query.before.as_ref().is_none_or(|before| record.id < *before);
        if is_wanted {
            wanted.push(n);
        }
    }
    Ok(wanted)
}

/// Runs that may be of a root, newest first.
fn of_root(conn: &Connection, root: &str, before: &str) -> Result<Vec<(String, i64)>, Trouble> {
    let mut found = collect(conn, OF_ROOT, params![root, before])?;
    if let Some(slice) = slices::of_root(root) {
        found.extend(collect(conn, OF_ROOT_IN_SLICE, params![root, before, slice])?);
        found.sort_unstable_by(|a, b| b.cmp(a));
    }
    Ok(found)
}

/// The leased ones: few, as each has an attempt under way.
fn leased(conn: &Connection, query: &RunQuery) -> Result<Vec<(String, i64)>, Trouble> {
    let queues = queues::matching(conn, query.app.as_ref(), query.function.as_ref())?;
    let mut found = Vec::new();
    for row in Pending::leased(conn, 0, i64::MAX)? {
        if queues.contains(&row.queue) {
            let run = Run::read(conn, row.n)?;
            if query.before.as_ref().is_none_or(|before| run.id.as_str() < before.as_str()) {
                found.push((run.id, row.n));
            }
        }
    }
    Ok(found)
}

fn record(conn: &Connection, n: i64) -> Result<RunRecord, Trouble> {
    let run = Run::read(conn, n)?;
    let mut record = run.record()?;
    if run.state == QUEUED
        && let Some(pending) = Pending::read(conn, n)?
    {
        runs::overlay(&mut record, time(pending.at), pending.token > 0);
    }
    Ok(record)
}

fn states(query: &RunQuery) -> Vec<i64> {
    const ALL: [RunState; 5] =
        [RunState::Queued, RunState::Running, RunState::Completed, RunState::Failed, RunState::DeadLettered];
    query.state.map_or_else(|| ALL.map(runs::code).to_vec(), |state| vec![runs::code(state)])
}

fn before(query: &RunQuery) -> &str {
    query.before.as_ref().map_or(NO_ID, RunId::as_str)
}

fn collect(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<(String, i64)>, Trouble> {
    let mut find = conn.prepare_cached(sql)?;
    let found = find.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn lists_are_read_in_their_order_and_no_further_than_wanted() {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::create(&mut conn).unwrap();
        for sql in [ALL, OPEN, WAITING, ENDED, OF_ROOT, OF_ROOT_IN_SLICE] {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nothing = vec![0; explain.parameter_count()];
            let plan = explain.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap();
            let plan: Vec<String> = plan.collect::<rusqlite::Result<_>>().unwrap();
            let reads_all = |step: &String| step.contains("TEMP B-TREE") || step.starts_with("SCAN");
            assert!(!plan.iter().any(reads_all), "{sql}: {plan:#?}");
        }
    }
}
