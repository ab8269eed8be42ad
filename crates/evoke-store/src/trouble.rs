//! What can go wrong with SQLite, in the words of the seam.

use evoke_core::store::{SettleError, StoreError};
use rusqlite::ErrorCode;

/// Why a piece of work stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It found that it must not be done; it had changed nothing yet.
    Refused(SettleError),
    /// It failed and may have changed something: its transaction must be rolled back.
    Failed(Trouble),
}

/// A failure, and what it means for the store.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub error: StoreError,
    /// The disk cannot be trusted any more: no further work.
    pub fatal: bool,
}

impl Trouble {
    pub fn corrupt(table: &str, key: impl std::fmt::Display) -> Self {
        let what =
            format!("{table} {key}: the checksum does not match; restore the data directory from a copy");
        Self { error: StoreError::Corrupt(what), fatal: false }
    }
}

impl Trouble {
    /// A row that another one points at is not there.
    pub fn missing(table: &str, key: impl std::fmt::Display) -> Self {
        Self { error: StoreError::Corrupt(format!("{table} {key}: the row is missing")), fatal: false }
    }

    /// A row has its checksum and yet cannot be read.
    pub fn unreadable(table: &str, key: impl std::fmt::Display) -> Self {
        Self { error: StoreError::Corrupt(format!("{table} {key}: the row cannot be read")), fatal: false }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        let text = error.to_string();
        if let InvalidColumnType(..)
        | FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | Utf8Error(..) = error
        {
            return Self { error: StoreError::Corrupt(text), fatal: false };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self { error: StoreError::Full(text), fatal: false },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self { error: StoreError::Corrupt(text), fatal: true }
            }
            Some(ErrorCode::SystemIoFailure) => Self { error: StoreError::Unavailable(text), fatal: true },
            _ => Self { error: StoreError::Unavailable(text), fatal: false },
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.error
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<SettleError> for Stop {
    fn from(refusal: SettleError) -> Self {
        Self::Refused(refusal)
    }
}
