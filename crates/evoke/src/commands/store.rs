//! `evoke store`: the files of a store, without the server or beside it.

use std::path::Path;

use evoke_core::store::Retention;
use evoke_core::time::{Clock as _, Timestamp};
use evoke_store::backup::{BackupError, Manifest, backup, restore, salvage};
use evoke_store::stats::{Stats, stats};
use evoke_store::{Finding, Report, Severity, compact, verify};
use serde_json::json;

use crate::cli::StoreVerb;
use crate::clock::SystemClock;
use crate::exit::{Detail, Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};
use crate::serve::failure;

/// Looks at a store, saves it, or makes one of what was saved.
pub fn run(verb: &StoreVerb, format: Format) -> Result {
    match verb {
        StoreVerb::Verify { data } => {
            let report = verify(&data.data).map_err(|cause| failure::store(&cause))?;
            show(&report, format)?;
            Ok(if report.is_intact() { Exit::Done } else { Exit::Failed })
        }
        StoreVerb::Backup { to, data } => {
            let manifest = backup(&data.data, to, SystemClock.now()).map_err(|cause| failed(&cause))?;
            say("saved", to, &manifest, format)
        }
        StoreVerb::Restore { from, data } => {
            let manifest = restore(from, &data.data).map_err(|cause| failed(&cause))?;
            say("restored", &data.data, &manifest, format)
        }
        StoreVerb::Salvage { to, data } => {
            let report = salvage(&data.data, to, SystemClock.now()).map_err(|cause| failed(&cause))?;
            show(&report, format)?;
            Ok(Exit::Done)
        }
        StoreVerb::Compact { data } => {
            let done = compact(&data.data).map_err(|cause| failure::store(&cause))?;
            if format.is_json() {
                output::json(&done)?;
            } else {
                let [before, after] = [done.before_bytes, done.after_bytes].map(words::size);
                format.talk(format_args!("compacted: {before} before, {after} now"));
            }
            Ok(Exit::Done)
        }
        StoreVerb::Stats { data } => {
            let counted = stats(&data.data, &Retention::default(), SystemClock.now())
                .map_err(|cause| failure::store(&cause))?;
            if format.is_json() {
                output::json(&counted)?
            } else {
                print(&counted)?
            }
            Ok(Exit::Done)
        }
    }
}

fn show(report: &Report, format: Format) -> Result<()> {
    if format.is_json() {
        let intact = report.is_intact();
        let Report { format, in_use, records, findings, more } = report;
        output::json(&json!({
            "intact": intact, "format": format, "in_use": in_use, "records": records, "findings": findings,
            "more": more,
        }))?;
        return Ok(());
    }
    let mut table = Table::new(&["SEVERITY", "PLACE", "KEY", "WHAT"]);
    for Finding { severity, place, key, what } in &report.findings {
        let severity = match severity {
            Severity::Damage => Cell::styled("damage", words::BAD),
            Severity::Note => Cell::styled("note", words::BUSY),
        };
        table.row([
            severity,
            Cell::styled(place, words::NAME),
            key.clone().unwrap_or_default().into(),
            what.into(),
        ]);
    }
    if !report.findings.is_empty() {
        table.print("")?;
    }
    let records: u64 = report.records.values().sum();
    let beside = if report.in_use { ", read beside the server that has it" } else { "" };
    let found = match report.is_intact() {
        true => words::good("intact"),
        false => words::bad(words::count(report.findings.len() + report.more as usize, "finding")),
    };
    format.talk(format_args!(
        "{found}: {} of format {}{beside}",
        words::count(records as usize, "intact record"),
        report.format
    ));
    Ok(())
}

fn say(done: &str, place: &Path, manifest: &Manifest, format: Format) -> Result {
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    if format.is_json() {
        output::json(&json!({
            done: place, "format": manifest.format, "made_at": manifest.made_at, "files": manifest.files.len(),
            "bytes": bytes,
        }))?;
    } else {
        output::line(place.display())?;
        let files = words::count(manifest.files.len(), "file");
        format.talk(format_args!("{done}: {files}, {bytes} bytes, format {}", manifest.format));
    }
    Ok(Exit::Done)
}

fn failed(cause: &BackupError) -> Error {
    let exit = match cause {
        BackupError::NotEmpty { .. } | BackupError::Newer { .. } => Exit::Refused,
        BackupError::NoBackup { .. } => Exit::NotFound,
        _ => Exit::Failed,
    };
    let mut error = Error::new(exit, cause.code(), cause.to_string());
    if let BackupError::Damaged(findings) = cause {
        for Finding { place, key, what, .. } in findings.iter().take(20) {
            let key = key.as_ref().map_or(String::new(), |key| format!(" {key}"));
            error = error.detail(Detail::from(format!("{place}{key}: {what}")));
        }
    }
    error
}

/// Types shown; JSON has all.
const TYPES_SHOWN: usize = 30;

/// How old and how large what is kept of each type is, the largest first.
fn archives(counted: &Stats, now: Timestamp) -> Result<()> {
    let at =
        |time: Option<i64>| time.map_or(String::new(), |us| words::age(Timestamp(us.unsigned_abs()), now));
    let types = counted.apps.iter().flat_map(|(app, held)| held.archive.iter().map(move |one| (app, one)));
    let mut types: Vec<_> = types.collect();
    types.sort_by_key(|(app, (ty, held))| (std::cmp::Reverse(held.bytes), *app, *ty));
    let mut table = Table::new(&["APP", "TYPE", "EVENTS", "BYTES", "OLDEST", "NEWEST"]);
    for (app, (ty, held)) in types.iter().take(TYPES_SHOWN) {
        table.row([
            Cell::styled(*app, words::NAME),
            ty.as_str().into(),
            held.events.to_string().into(),
            held.bytes.to_string().into(),
            at(held.oldest).into(),
            at(held.newest).into(),
        ]);
    }
    table.print("no events are kept")?;
    if types.len() > TYPES_SHOWN {
        output::line(format_args!("and {} more types", types.len() - TYPES_SHOWN))?;
    }
    output::line("")?;
    Ok(())
}

fn print(counted: &Stats) -> Result<()> {
    let now = SystemClock.now();
    let mut apps = Table::new(&[
        "APP", "EVENTS", "OLDEST", "NEWEST", "PENDING", "DUE", "DEAD", "ENDED", "BYTES", "LINES", "BYTES",
        "KEYS", "BYTES",
    ]);
    let at =
        |time: Option<i64>| time.map_or(String::new(), |us| words::age(Timestamp(us.unsigned_abs()), now));
    for (name, app) in &counted.apps {
        apps.row([
            Cell::styled(name, words::NAME),
            app.events.to_string().into(),
            at(app.oldest_event).into(),
            at(app.newest_event).into(),
            app.pending.to_string().into(),
            at(app.earliest_due).into(),
            app.dead.to_string().into(),
            app.ended.to_string().into(),
            app.ended_bytes.to_string().into(),
            app.log_lines.to_string().into(),
            app.log_line_bytes.to_string().into(),
            app.entries.to_string().into(),
            app.entry_bytes.to_string().into(),
        ]);
    }
    apps.print("no app has anything in the store")?;
    output::line("")?;
    archives(counted, now)?;
    let mut tables = Table::new(&["TABLE", "ROWS", "BYTES"]);
    for (name, size) in &counted.tables {
        tables.row([
            Cell::styled(name, words::NAME),
            size.rows.to_string().into(),
            size.bytes.to_string().into(),
        ]);
    }
    tables.row([
        Cell::styled("objects", words::NAME),
        counted.objects.to_string().into(),
        counted.object_bytes.to_string().into(),
    ]);
    tables.print("")?;
    output::line("")?;
    let Stats { database_bytes, free_bytes, log_bytes, expired, format, .. } = counted;
    output::line(format_args!(
        "format {format}, {database_bytes} bytes ({free_bytes} free), write-ahead log {log_bytes} bytes"
    ))?;
    output::line(format_args!(
        "kept no longer: {} events, {} runs, {} log lines, {} keys",
        expired.events, expired.runs, expired.log_lines, expired.entries
    ))?;
    Ok(())
}
