//! Looking for damage: every page, every record, every reference and every object.
//!
//! Reads only, and never stops at what it finds: a damaged page costs the records on it, and the search goes on after it.
//! While a server has the directory, all is read as of one moment beside it; what can only be said of files at rest (the
//! header of the database, the write-ahead log) is left out then.

pub(crate) mod objects;
pub(crate) mod pages;
mod reference;
pub(crate) mod scan;
mod wal;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use crate::dir;
use crate::limit::FINDINGS;
use crate::migrate;
use crate::open::OpenError;
use crate::rest::AtRest;
use crate::table;
use crate::trouble::Trouble;

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The format of the store.
    pub format: i64,
    /// A server has the directory: it was read as of one moment, beside it.
    pub in_use: bool,
    /// Intact records by table, and objects.
    pub records: BTreeMap<&'static str, u64>,
    /// What is wrong, at most [`FINDINGS`].
    pub findings: Vec<Finding>,
    /// How much more is wrong.
    pub more: u64,
}

/// One thing that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// A table, or a file of the directory.
    pub place: String,
    /// The key of the record, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong, and with which consequence.
    pub what: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As an interrupted process or a power cut leaves it; the next start puts it right.
    Note,
    /// Something that was written is gone or changed.
    Damage,
}

impl Report {
    /// Whether nothing that was written is gone or changed.
    pub fn is_intact(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    pub(crate) fn damage(&mut self, place: &str, key: Option<String>, what: impl Into<String>) {
        self.find(Severity::Damage, place, key, what.into());
    }

    pub(crate) fn note(&mut self, place: &str, what: impl Into<String>) {
        self.find(Severity::Note, place, None, what.into());
    }

    /// A failure met while looking is a finding too.
    pub(crate) fn trouble(&mut self, place: &str, trouble: Trouble) {
        self.damage(place, None, trouble.error.to_string());
    }

    fn find(&mut self, severity: Severity, place: &str, key: Option<String>, what: String) {
        let finding = Finding { severity, place: place.to_owned(), key, what };
        if self.findings.contains(&finding) {
            return;
        }
        // Damage is never pushed out by notes.
        if self.findings.len() < FINDINGS || severity == Severity::Damage && self.is_intact() {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Looks at everything in the data directory `dir`, or in a copy of one. Blocks; it reads all there is.
///
/// A directory that is no store, or of a format this version does not know, is an error; everything else is a finding.
pub fn verify(dir: &Path) -> Result<Report, OpenError> {
    let rest = AtRest::open(dir)?;
    let mut report = Report { format: rest.format, in_use: rest.in_use, ..Report::default() };
    if !rest.in_use {
        pages::header(&dir::database(dir), &dir::log(dir), &mut report);
        wal::scan(&dir::log(dir), &mut report);
    }
    if let Err(trouble) = database(&rest.conn, &mut report) {
        report.trouble("evoke.db", trouble);
    }
    objects::scan(&dir::objects(dir), &rest.conn, &mut report);
    Ok(report)
}

/// All of it as of one moment.
fn database(conn: &Connection, report: &mut Report) -> Result<(), Trouble> {
    let moment = conn.unchecked_transaction()?;
    pages::structure(&moment, report);
    if migrate::is_unfinished(&moment)? {
        report.note("evoke.db", "a migration to this format was interrupted; the next start goes on with it");
        return Ok(());
    }
    for table in table::ALL {
        let mut intact = 0;
        scan::rows(&moment, table, &mut |row| {
            match row {
                Ok(_) => intact += 1,
                Err(trouble) => report.trouble(table.name, trouble),
            }
            Ok(())
        })?;
        report.records.insert(table.name, intact);
    }
    reference::check(&moment, report);
    Ok(())
}
