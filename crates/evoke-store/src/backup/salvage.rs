//! What is intact in a damaged store, in a new one that makes sense.
//!
//! Every row with its checksum is kept, as it is. What refers to something lost is mended where the rest says how: a
//! waiting run gets its place in the queue back, a queue its name from the runs in it. Where the input of an invocation is
//! lost, its run is kept as failed.

use std::path::Path;

use evoke_core::record::RunState;
use evoke_core::store::Queue;
use evoke_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::{BackupError, copy, empty};
use crate::dir;
use crate::number::{int, us};
use crate::object;
use crate::open::OpenError;
use crate::rest::AtRest;
use crate::schema;
use crate::table::counters::Counters;
use crate::table::dead::Dead;
use crate::table::log::Keys;
use crate::table::pending::Pending;
use crate::table::runs::{COMPLETED, DEAD, FAILED, QUEUED, Run};
use crate::table::{self, Table, archive, logs, order, queues, slices, usage};
use crate::trouble::Trouble;
use crate::verify::{Report, objects, scan};

/// Makes a store in `target`, which must be empty or not there, of what is intact in `dir`, which no server may have.
/// Blocks. The report counts what was kept; its findings are what was lost or mended.
pub fn salvage(dir: &Path, target: &Path, now: Timestamp) -> Result<Report, BackupError> {
    let rest = AtRest::open(dir)?;
    if rest.in_use {
        return Err(OpenError::Locked { dir: dir.to_owned(), pid: None }.into());
    }
    empty(target)?;
    let mut report = Report { format: rest.format, ..Report::default() };
    let database = dir::database(target);
    let mut save = || -> Result<(), Trouble> {
        let mut conn = schema::writer(&database)?;
        schema::create(&mut conn)?;
        let tx = conn.transaction()?;
        for table in table::ALL.iter().filter(|table| !matches!(table.name, "counters" | "archive" | "usage"))
        {
            rows(&rest.conn, &tx, table, &mut report)?;
        }
        mend(&tx, &mut report, now)?;
        count(&rest.conn, &tx)?;
        tx.commit()?;
        conn.close().map_err(|(_, error)| error.into())
    };
    dir::private(&database).map_err(|cause| BackupError::io(&database, cause))?;
    save().map_err(|trouble| BackupError::io(&database, trouble.error))?;
    let (from, to) = (dir::objects(dir), dir::objects(target));
    dir::create(&to).map_err(|cause| BackupError::io(&to, cause))?;
    for file in objects::files(&from, &mut report) {
        let name = file.strip_prefix(&from).expect("it was found below");
        match object::of_file(&from, &file) {
            Ok(Some(_)) => {
                copy(&file, &to.join(name)).map_err(|cause| BackupError::io(&file, cause))?;
                *report.records.entry("objects").or_default() += 1;
            }
            Ok(None) => report.damage(
                "objects",
                Some(name.display().to_string()),
                "its bytes have another digest: lost",
            ),
            Err(error) => {
                report.damage("objects", Some(name.display().to_string()), format!("lost: {error}"))
            }
        }
    }
    dir::sync(target).map_err(|cause| BackupError::io(target, cause))?;
    Ok(report)
}

/// All intact rows of a table.
fn rows(from: &Connection, to: &Connection, table: &Table, report: &mut Report) -> Result<(), Trouble> {
    let Table { name, columns, .. } = table;
    let marks = vec!["?"; columns.split(',').count()].join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {name} ({columns}) VALUES ({marks})"))?;
    let mut kept = 0;
    scan::rows(from, table, &mut |row| {
        match row {
            Ok(row) => kept += insert.execute(params_from_iter(row))? as u64,
            Err(trouble) => report.trouble(name, trouble),
        }
        Ok(())
    })?;
    report.records.insert(name, kept);
    Ok(())
}

/// Makes the tables fit together.
fn mend(conn: &Connection, report: &mut Report, now: Timestamp) -> Result<(), Trouble> {
    // The newest position has a key that several took.
    let mut find = conn.prepare("SELECT seq, keys FROM log ORDER BY seq")?;
    let mut read = find.query([])?;
    while let Some(row) = read.next()? {
        let (seq, keys): (i64, Keys) = (row.get(0)?, Keys(row.get(1)?));
        for key in keys.each() {
            conn.execute("INSERT OR REPLACE INTO seen (key, seq) VALUES (?1, ?2)", params![key, seq])?;
        }
    }
    for n in numbers(conn, "SELECT n FROM runs WHERE queue NOT IN (SELECT id FROM queues)")? {
        let run = Run::read(conn, n)?;
        let record = run.record()?;
        let (app, function) = (record.app.as_str(), record.function.as_str());
        let row = params![run.queue, app, function, queues::sum(app, function, run.queue)];
        conn.execute("INSERT OR IGNORE INTO queues (id, app, function, crc) VALUES (?1, ?2, ?3, ?4)", row)?;
        report.note("queues", "a name was lost, and found in the runs of the queue");
    }
    let waiting = format!("SELECT n FROM runs WHERE state = {QUEUED} AND n NOT IN (SELECT n FROM pending)");
    for n in numbers(conn, &waiting)? {
        let run = Run::read(conn, n)?;
        let record = run.record()?;
        let queue = queues::intern(conn, &Queue::of(&record))?;
        let attempts = int(record.attempts.len() as u64);
        let request = has_request(conn, n)?;
        Pending { n, queue, at: us(now), attempts, token: 0, leased_at: 0, request }.insert(conn)?;
        report.damage("pending", Some(run.id), "lost when it is due: it is due now");
    }
    let given_up = format!("SELECT n FROM runs WHERE state = {DEAD} AND n NOT IN (SELECT n FROM dead)");
    for n in numbers(conn, &given_up)? {
        let run = Run::read(conn, n)?;
        let reason = "given up; the reason was lost with a damaged record".to_owned();
        let at = run.ended_at.unwrap_or(us(now));
        Dead { n, at, reason, request: has_request(conn, n)? }.insert(conn)?;
        report.damage("dead", Some(run.id), "lost why it was given up");
    }
    for (table, state) in [("pending", QUEUED), ("dead", DEAD)] {
        let alone =
            format!("SELECT n FROM {table} WHERE n NOT IN (SELECT n FROM runs WHERE state = {state})");
        for n in numbers(conn, &alone)? {
            conn.execute(&format!("DELETE FROM {table} WHERE n = ?1"), [n])?;
            report.damage(table, Some(n.to_string()), "its run was lost");
        }
        let without_input = format!(
            "SELECT t.n FROM {table} t JOIN runs r ON r.n = t.n
             WHERE t.request = 1 AND NOT EXISTS (SELECT 1 FROM requests q WHERE q.n = t.n)
             OR t.request = 0 AND NOT EXISTS (SELECT 1 FROM log l WHERE l.seq = r.seq AND l.event IS NOT NULL AND l.type > '')"
        );
        for n in numbers(conn, &without_input)? {
            conn.execute(&format!("DELETE FROM {table} WHERE n = ?1"), [n])?;
            let mut run = Run::read(conn, n)?;
            run.change(|record| {
                record.state = RunState::Failed;
                record.due_at = None;
                record.ended_at = Some(now);
            })?;
            run.update(conn)?;
            report.damage("runs", Some(run.id), "its input was lost: it has failed");
        }
    }
    // Names of queues of subscriptions are in no run's row.
    let nameless = "SELECT n FROM pending WHERE queue NOT IN (SELECT id FROM queues)";
    for n in numbers(conn, nameless)? {
        let record = Run::read(conn, n)?.record()?;
        let queue = queues::intern(conn, &Queue::of(&record))?;
        if let Some(mut row) = Pending::read(conn, n)? {
            row.queue = queue;
            row.update(conn)?;
            report.note("queues", "a name was lost, and found in the runs that wait in the queue");
        }
    }
    order::rebuild(conn, now)?;
    conn.execute(
        "DELETE FROM requests WHERE n NOT IN (SELECT n FROM pending UNION ALL SELECT n FROM dead)",
        [],
    )?;
    conn.execute("DELETE FROM logs WHERE queue = ?1", [logs::BLANK])?;
    let lines = conn.execute("DELETE FROM logs WHERE queue NOT IN (SELECT id FROM queues)", [])?;
    if lines > 0 {
        report.damage("logs", None, format!("{lines} lines of functions whose names were lost"));
    }
    archive::recount(conn)?;
    slices::rebuild(conn)?;
    logs::close_gaps(conn)?;
    usage::recount(conn)
}

/// As many as there are now, and beyond all numbers that were given.
fn count(from: &Connection, to: &Connection) -> Result<(), Trouble> {
    let former = Counters::read(from).unwrap_or_default();
    let most = |sql: &str| to.query_row(sql, [], |row| row.get::<_, i64>(0));
    let used = most(
        "SELECT max((SELECT coalesce(max(seq), 0) FROM log), (SELECT coalesce(max(n), 0) FROM runs),
         (SELECT coalesce(max(token), 0) FROM pending), (SELECT coalesce(max(revision), 0) FROM entries))",
    )?;
    let ended = format!("SELECT count(*) FROM runs WHERE state IN ({COMPLETED}, {FAILED})");
    Counters {
        // What was lost may have had higher numbers than what is left.
        last: former.last.max(used + (1 << 20)),
        log_lines: most("SELECT coalesce(max(position), 0) FROM logs")?,
        ended_runs: most(&ended)?,
        forgotten_before: former.forgotten_before,
    }
    .update(to)
}

fn has_request(conn: &Connection, n: i64) -> Result<bool, Trouble> {
    let find = "SELECT 1 FROM requests WHERE n = ?1";
    Ok(conn.query_row(find, [n], |_| Ok(())).optional()?.is_some())
}

fn numbers(conn: &Connection, sql: &str) -> Result<Vec<i64>, Trouble> {
    let mut find = conn.prepare(sql)?;
    let found = find.query_map([], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
