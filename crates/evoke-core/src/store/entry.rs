//! State: what is written, on which condition, and what is read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Space;
use crate::time::Timestamp;

/// A state write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Space,
    /// The key.
    pub key: String,
    /// The new value, or `None` to delete.
    pub value: Option<Value>,
    /// The entry disappears at this time.
    pub expires_at: Option<Timestamp>,
    /// What must hold, at the time of the transaction.
    pub expect: Expect,
}

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// How to read the bytes.
    pub kind: ValueKind,
    /// The bytes.
    pub bytes: Bytes,
}

/// How a value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// A JSON value.
    Json,
    /// Opaque bytes.
    Bytes,
}

/// A precondition of a write. An expired entry counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// None.
    Anything,
    /// The key must be absent.
    Absent,
    /// The key must be at this revision.
    Revision(u64),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Grows with every write to the store; at least 1, below 2^52.
    pub revision: u64,
    /// When it disappears.
    pub expires_at: Option<Timestamp>,
}
