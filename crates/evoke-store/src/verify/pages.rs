//! The database as SQLite sees it: the header of the file, its pages, its indices, its tables.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::Connection;

use super::Report;
use crate::limit::FINDINGS;
use crate::schema;
use crate::trouble::Trouble;

const PLACE: &str = "evoke.db";

/// The first hundred bytes (<https://sqlite.org/fileformat2.html#the_database_header>): SQLite takes some of what is
/// there on trust, and these are always the same in a store of Evoke.
const FIXED: [(usize, &[u8]); 5] = [
    (18, &[2, 2]),          // written and read with a write-ahead log
    (20, &[0, 64, 32, 32]), // no bytes reserved in a page; the payload fractions, which are constants
    (44, &[0, 0, 0, 4]),    // of the schema
    (48, &[0; 4]),          // no default cache size
    (56, &[0, 0, 0, 1]),    // UTF-8
];
/// Counts the changes of tables; 0 before there is one.
const SCHEMA_COOKIE: usize = 40;
/// What is 0 as well until then.
const OF_TABLES: [usize; 2] = [44, 56];
/// Reserved for later.
const RESERVED: std::ops::Range<usize> = 72..92;

/// Looks at the header of a database at rest, whose write-ahead log is `log`.
pub(crate) fn header(file: &Path, log: &Path, report: &mut Report) {
    let mut header = [0; 100];
    let size = match File::open(file).and_then(|mut file| {
        file.read_exact(&mut header)?;
        file.metadata()
    }) {
        Ok(metadata) => metadata.len(),
        Err(error) => return report.damage(PLACE, None, format!("its header cannot be read: {error}")),
    };
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    // While pages are carried over from the log the file is longer or shorter than its header says, and who dies then leaves
    // it so: whoever opens it next carries them over again.
    let is_carried_over = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    // Who dies soon after a store was made leaves its tables, and what follows from them, in the log alone.
    let is_blank = number(SCHEMA_COOKIE) == 0 && is_carried_over;
    for (at, expected) in FIXED {
        let found = &header[at..at + expected.len()];
        if found != expected && !(is_blank && OF_TABLES.contains(&at) && found == [0; 4]) {
            report.damage(
                PLACE,
                None,
                format!("bytes {at} to {} of the header changed", at + expected.len() - 1),
            );
        }
    }
    if header[RESERVED].iter().any(|byte| *byte != 0) {
        report.damage(PLACE, None, "bytes 72 to 91 of the header changed");
    }
    // Both are written by whoever changes the file.
    if number(24) != number(92) {
        report.damage(PLACE, None, "the two counts of its changes in the header differ");
    }
    // The largest root page where pages can be given back, and whether that is done when told to. Neither in a store that is
    // older than that; and that the page is the right one, the check of the structure says.
    if !matches!((number(52), number(64)), (0, 0) | (1.., 1)) {
        report.damage(PLACE, None, "what the header says of giving pages back is neither of two ways");
    }
    let page = u64::from(u16::from_be_bytes([header[16], header[17]]));
    let page = if page == 1 { 65_536 } else { page };
    let pages = u64::from(number(28));
    if pages * page != size && !is_carried_over {
        let what = format!("it has {size} bytes, but by its header {pages} pages of {page}");
        report.damage(PLACE, None, what);
    }
}

/// Has SQLite look at every page and compare every index with its table, and compares the tables with those of the format.
pub(crate) fn structure(conn: &Connection, report: &mut Report) {
    let integrity = || -> rusqlite::Result<Vec<String>> {
        let mut check = conn.prepare(&format!("PRAGMA integrity_check({FINDINGS})"))?;
        let found = check.query_map([], |row| row.get(0))?;
        found.collect()
    };
    match integrity() {
        Ok(found) => {
            let found = found.iter().flat_map(|text| text.lines());
            found.filter(|line| *line != "ok").for_each(|line| report.damage(PLACE, None, line));
        }
        Err(error) => report.damage(PLACE, None, format!("the pages cannot be looked at: {error}")),
    }
    match schema::is_as_expected(conn) {
        Ok(true) => {}
        Ok(false) => report.damage(PLACE, None, "its tables and indices are not those of the format"),
        Err(error) => report.trouble(PLACE, Trouble::from(error)),
    }
}
