//! The tables, one file each: the row, its checksum, and the statements on it.

pub(crate) mod archive;
pub(crate) mod caused;
pub(crate) mod counters;
pub(crate) mod dead;
pub(crate) mod entries;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod order;
pub(crate) mod pending;
pub(crate) mod queues;
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod seen;
pub(crate) mod slices;
pub(crate) mod usage;

use rusqlite::Row;

use crate::trouble::Trouble;

/// What is the same in all tables whose rows have a checksum.
pub(crate) struct Table {
    pub name: &'static str,
    /// Its integer key.
    pub key: &'static str,
    /// All columns, but the key where it says nothing.
    pub columns: &'static str,
    /// Compares a row of [`Table::columns`] with its checksum, and reads it.
    pub check: fn(&Row<'_>) -> Result<(), Trouble>,
}

/// All of them, each after those its rows refer to.
pub(crate) const ALL: &[Table] = &[
    counters::TABLE,
    queues::TABLE,
    usage::TABLE,
    log::TABLE,
    archive::TABLE,
    runs::TABLE,
    requests::TABLE,
    pending::TABLE,
    dead::TABLE,
    entries::TABLE,
    logs::TABLE,
];

/// Compares a row's checksum with what it should be.
pub(crate) fn verify(table: &str, key: impl std::fmt::Display, stored: i64, sum: i64) -> Result<(), Trouble> {
    if stored == sum { Ok(()) } else { Err(Trouble::corrupt(table, key)) }
}

/// Reads a column that is 0 or 1.
pub(crate) fn flag(row: &Row<'_>, column: usize) -> Result<bool, Trouble> {
    match row.get(column)? {
        0_i64 => Ok(false),
        1 => Ok(true),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(column, other).into()),
    }
}
