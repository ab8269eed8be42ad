//! The tables, one file each: the row, its checksum, and the statements on it.

pub(crate) mod counters;
pub(crate) mod dead;
pub(crate) mod entries;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod pending;
pub(crate) mod queues;
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod seen;

use crate::trouble::Trouble;

/// Compares a row's checksum with what it should be.
pub(crate) fn verify(table: &str, key: impl std::fmt::Display, stored: i64, sum: i64) -> Result<(), Trouble> {
    if stored == sum { Ok(()) } else { Err(Trouble::corrupt(table, key)) }
}
