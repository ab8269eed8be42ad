//! The objects: each file has the digest it is named by, and each that is referred to is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::Report;
use crate::object::{self, UNFINISHED};
use crate::table::entries;

const PLACE: &str = "objects";

/// Looks at the files below `root`.
pub(crate) fn scan(root: &Path, conn: &Connection, report: &mut Report) {
    let mut intact = BTreeSet::new();
    for file in files(root, report) {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        match object::of_file(root, &file) {
            Ok(Some(digest)) => drop(intact.insert(digest)),
            Ok(None) => report.damage(PLACE, Some(name), "its bytes have another digest than its name"),
            // A server that runs may have removed it since.
            Err(error) if report.in_use && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => report.damage(PLACE, Some(name), format!("it cannot be read: {error}")),
        }
    }
    report.records.insert(PLACE, intact.len() as u64);
    match entries::objects(conn) {
        Ok(wanted) => {
            for (entry, digest) in wanted.into_iter().filter(|(_, digest)| !intact.contains(digest)) {
                report.damage(
                    PLACE,
                    Some(digest),
                    format!("it is not there, or damaged, and {entry} needs it"),
                );
            }
        }
        Err(trouble) => report.trouble("entries", trouble),
    }
}

/// All files there are, two levels deep.
pub(crate) fn files(root: &Path, report: &mut Report) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                report.damage(
                    PLACE,
                    Some(folder.display().to_string()),
                    format!("it cannot be read: {error}"),
                );
                continue;
            }
        };
        for entry in entries.flatten() {
            let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && folder == root => folders.push(entry.path()),
                Ok(_) if is_unfinished && folder == root => {
                    if !report.in_use {
                        report.note(PLACE, "a file that was not finished is left; the next start removes it");
                    }
                }
                _ => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}
