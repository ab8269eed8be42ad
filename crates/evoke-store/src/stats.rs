//! What a store has in it, by table and by app.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evoke_core::archive::Archive;
use evoke_core::id::AppName;
use evoke_core::store::{Retention, Space};
use evoke_core::time::Timestamp;
use rusqlite::{Connection, Params, params};
use serde::Serialize;

use crate::dir;
use crate::number::{int, us};
use crate::open::OpenError;
use crate::rest::AtRest;
use crate::table::archive::EXPIRED;
use crate::verify::{Report, objects};

/// Counts and sizes. Times are microseconds since 1970.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    /// The format of the store.
    pub format: i64,
    /// A server has the directory.
    pub in_use: bool,
    /// Bytes of the database, of which `free_bytes` will be used again.
    pub database_bytes: i64,
    /// Bytes of pages that are not in use.
    pub free_bytes: i64,
    /// Bytes of the write-ahead log.
    pub log_bytes: i64,
    /// Objects.
    pub objects: i64,
    /// Their bytes.
    pub object_bytes: i64,
    /// By table.
    pub tables: BTreeMap<String, Size>,
    /// By app.
    pub apps: BTreeMap<String, App>,
    /// What the next sweeps will delete.
    pub expired: Expired,
}

/// How much a table takes.
#[derive(Debug, Default, Serialize)]
pub struct Size {
    /// Rows.
    pub rows: i64,
    /// With its indices.
    pub bytes: i64,
}

/// What an app has.
#[derive(Debug, Default, Serialize)]
pub struct App {
    /// Events in the log.
    pub events: i64,
    /// When the oldest of them was accepted.
    pub oldest_event: Option<i64>,
    /// When the newest was.
    pub newest_event: Option<i64>,
    /// The events that are kept, by type.
    pub archive: BTreeMap<String, Archived>,
    /// Events that are no longer kept, and of which only the attributes are left until their duplicates are forgotten.
    pub expired: Archived,
    /// Runs that wait, or are being attempted.
    pub pending: i64,
    /// Since when the one that is due longest could have been attempted, or will be.
    pub earliest_due: Option<i64>,
    /// Dead letters.
    pub dead: i64,
    /// Runs that are over.
    pub ended: i64,
    /// Bytes of their records.
    pub ended_bytes: i64,
    /// Log lines.
    pub log_lines: i64,
    /// Bytes of their text.
    pub log_line_bytes: i64,
    /// Keys of its state.
    pub entries: i64,
    /// Bytes of their values.
    pub entry_bytes: i64,
}

/// What the log has of the events of a type.
#[derive(Debug, Default, Serialize)]
pub struct Archived {
    /// Events.
    pub events: i64,
    /// Their bytes, in JSON format.
    pub bytes: i64,
    /// When the oldest of them was accepted.
    pub oldest: Option<i64>,
    /// When the newest was.
    pub newest: Option<i64>,
}

/// What retention no longer keeps.
#[derive(Debug, Default, Serialize)]
pub struct Expired {
    /// Events past their time that nothing needs.
    pub events: i64,
    /// Ended runs.
    pub runs: i64,
    /// Log lines.
    pub log_lines: i64,
    /// Keys whose time is over.
    pub entries: i64,
}

/// Counts all there is in the data directory `dir`. Blocks; reads the whole database.
pub fn stats(dir: &Path, keep: &Retention, now: Timestamp) -> Result<Stats, OpenError> {
    let rest = AtRest::open(dir)?;
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| int(metadata.len()));
    let mut ignored = Report { in_use: true, ..Report::default() };
    let files = objects::files(&dir::objects(dir), &mut ignored);
    let mut stats = Stats {
        format: rest.format,
        in_use: rest.in_use,
        database_bytes: size(&dir::database(dir)),
        log_bytes: size(&dir::log(dir)),
        objects: int(files.len() as u64),
        object_bytes: files.iter().map(|file| size(file)).sum(),
        ..Stats::default()
    };
    stats
        .count(&rest.conn, keep, now)
        .map_err(|error| OpenError::Corrupt { file: dir::database(dir), cause: error.to_string() })?;
    Ok(stats)
}

impl Stats {
    fn count(&mut self, conn: &Connection, keep: &Retention, now: Timestamp) -> rusqlite::Result<()> {
        let moment = conn.unchecked_transaction()?;
        let pragma = |name| moment.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        self.free_bytes = pragma("freelist_count")? * pragma("page_size")?;
        self.tables(&moment)?;
        self.apps(&moment)?;
        let before = |kept| us(now.before(kept));
        let count = |sql: &str, horizon: i64| moment.query_row(sql, [horizon], |row| row.get(0));
        self.expired = Expired {
            events: self.expired(&moment, &with_archives(&moment, keep)?, now)?,
            runs: count(
                "SELECT count(*) FROM runs WHERE state IN (2, 3) AND ended_at < ?1",
                before(keep.runs),
            )?,
            log_lines: count("SELECT count(*) FROM logs WHERE at < ?1", before(keep.logs))?,
            entries: count("SELECT count(*) FROM entries WHERE expires_at <= ?1", us(now))?,
        };
        Ok(())
    }

    /// Events past their time that nothing needs.
    fn expired(&self, conn: &Connection, keep: &Retention, now: Timestamp) -> rusqlite::Result<i64> {
        let mut find = conn.prepare(
            "SELECT count(*) FROM log WHERE type = ?1 AND app = ?2 AND accepted_at < ?3
             AND seq NOT IN (SELECT seq FROM runs WHERE state NOT IN (2, 3))",
        )?;
        let mut all = 0;
        for (name, app) in &self.apps {
            let Ok(of) = AppName::new(name) else { continue };
            for ty in app.archive.keys() {
                let horizon = us(now.before(keep.keep(&of, ty)));
                all += find.query_row(params![ty, name, horizon], |row| row.get::<_, i64>(0))?;
            }
        }
        Ok(all)
    }

    fn tables(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let sizes = "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
            GROUP BY s.tbl_name";
        let sizes: Vec<(String, i64)> = rows(conn, sizes, [])?;
        for (name, bytes) in sizes {
            let count = conn.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0))?;
            self.tables.insert(name, Size { rows: count, bytes });
        }
        Ok(())
    }

    fn apps(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut find = conn.prepare(
            "SELECT app, count(*), min(accepted_at), max(accepted_at) FROM log WHERE type > '' GROUP BY app",
        )?;
        let mut read = find.query([])?;
        while let Some(row) = read.next()? {
            let app = self.app(row.get(0)?);
            (app.events, app.oldest_event, app.newest_event) = (row.get(1)?, row.get(2)?, row.get(3)?);
        }
        let mut find = conn.prepare(
            "SELECT a.app, a.type, a.events, a.bytes, min(l.accepted_at), max(l.accepted_at)
             FROM archive a JOIN log l ON l.type = a.type AND l.app = a.app GROUP BY a.id",
        )?;
        let mut read = find.query([])?;
        while let Some(row) = read.next()? {
            let ty: String = row.get(1)?;
            let archived = Archived {
                events: row.get(2)?,
                bytes: row.get(3)?,
                oldest: row.get(4)?,
                newest: row.get(5)?,
            };
            let app = self.app(row.get(0)?);
            if ty == EXPIRED {
                app.expired = archived;
            } else {
                app.archive.insert(ty, archived);
            }
        }
        let mut find = conn.prepare(
            "SELECT q.app, count(*), min(p.at) FROM pending p JOIN queues q ON q.id = p.queue GROUP BY q.app",
        )?;
        let mut read = find.query([])?;
        while let Some(row) = read.next()? {
            let app = self.app(row.get(0)?);
            (app.pending, app.earliest_due) = (row.get(1)?, row.get(2)?);
        }
        let of_queues = |table: &str, condition: &str| {
            format!(
                "SELECT q.app, count(*) FROM {table} t JOIN queues q ON q.id = t.queue WHERE {condition} GROUP BY q.app"
            )
        };
        for (app, count) in rows::<String, i64>(conn, &of_queues("runs", "t.state = 4"), [])? {
            self.app(app).dead = count;
        }
        let mut find = conn.prepare(
            "SELECT q.app, sum(u.runs), sum(u.run_bytes), sum(u.lines), sum(u.line_bytes)
             FROM usage u JOIN queues q ON q.id = u.queue GROUP BY q.app",
        )?;
        let mut read = find.query([])?;
        while let Some(row) = read.next()? {
            let app = self.app(row.get(0)?);
            (app.ended, app.ended_bytes) = (row.get(1)?, row.get(2)?);
            (app.log_lines, app.log_line_bytes) = (row.get(3)?, row.get(4)?);
        }
        let spaces = "SELECT space, count(*) FROM entries WHERE space GLOB 'app/*' GROUP BY space";
        for (space, count) in rows::<String, i64>(conn, spaces, [])? {
            let bytes: i64 = conn.query_row(
                "SELECT coalesce(sum(length(value)), 0) FROM entries WHERE space = ?1",
                params![space],
                |row| row.get(0),
            )?;
            let app = self.app(space.split('/').nth(1).unwrap_or_default().to_owned());
            app.entries += count;
            app.entry_bytes += bytes;
        }
        Ok(())
    }

    fn app(&mut self, name: String) -> &mut App {
        self.apps.entry(name).or_default()
    }
}

/// What the deployed apps say of their events.
fn with_archives(conn: &Connection, keep: &Retention) -> rusqlite::Result<Retention> {
    #[derive(serde::Deserialize)]
    struct Deployment {
        manifest: Manifest,
    }
    #[derive(serde::Deserialize)]
    struct Manifest {
        #[serde(default)]
        archive: Archive,
    }
    let mut keep = keep.clone();
    let find = "SELECT key, CAST(value AS TEXT) FROM entries WHERE space = ?1";
    for (app, document) in rows::<String, String>(conn, find, [Space::apps().0])? {
        let read = serde_json::from_str::<Deployment>(&document);
        if let (Ok(app), Ok(deployment)) = (AppName::new(&app), read) {
            keep.archives.insert(app, deployment.manifest.archive);
        }
    }
    Ok(keep)
}

fn rows<A, B>(conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<(A, B)>>
where
    A: rusqlite::types::FromSql,
    B: rusqlite::types::FromSql,
{
    conn.prepare(sql)?.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
