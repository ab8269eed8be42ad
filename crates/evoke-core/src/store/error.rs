//! Why the store did not do something.

use super::{Expect, Space};
use crate::id::RunId;

/// A platform failure of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Whether it happened is unknown: the write may or may not have become durable. Repeating with the same ids is safe.
    #[error("store: outcome unknown: {0}")]
    Outcome(String),
    /// It did not happen; the disk is full.
    #[error("store: no space left: {0}")]
    Full(String),
    /// It did not happen and never will: the call breaks a rule of this seam.
    #[error("store: invalid call: {0}")]
    Invalid(String),
    /// It did not happen.
    #[error("store: unavailable: {0}")]
    Unavailable(String),
    /// A stored record does not have the checksum it was written with.
    #[error("store: corrupt record: {0}")]
    Corrupt(String),
    /// The store was closed, or refuses to go on after a failed write.
    #[error("store: closed: {0}")]
    Closed(String),
}

/// Why a settlement or write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettleError {
    /// Somebody else holds the invocation now, or it was settled before. Nothing was done.
    #[error("lease of {run} is no longer held")]
    StaleLease {
        /// The invocation.
        run: RunId,
    },
    /// A write's expectation does not hold. Nothing was done.
    #[error("key {key:?} changed: expected {expected:?}, found revision {found:?}")]
    Conflict {
        /// Where.
        space: Space,
        /// The key.
        key: String,
        /// What the write expected.
        expected: Expect,
        /// The revision there; `None` when absent.
        found: Option<u64>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// Stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Outcome(_) => "store_outcome_unknown",
            Self::Full(_) => "store_full",
            Self::Invalid(_) => "store_invalid_call",
            Self::Unavailable(_) => "store_unavailable",
            Self::Corrupt(_) => "store_corrupt",
            Self::Closed(_) => "store_closed",
        }
    }

    /// Whether repeating the same call can help.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Outcome(_) | Self::Full(_) | Self::Unavailable(_))
    }
}
