//! SQLite has signed integers only; what Evoke counts is far below 2^63.

use evoke_core::time::Timestamp;

/// For the database. Saturates.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// From the database.
pub(crate) fn num(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// For a `LIMIT`.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// For the database.
pub(crate) fn us(at: Timestamp) -> i64 {
    int(at.0)
}

/// From the database.
pub(crate) fn time(us: i64) -> Timestamp {
    Timestamp(num(us))
}
