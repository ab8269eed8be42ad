//! How much a store has of one app: what goes when the app is removed.

use serde::{Deserialize, Serialize};

/// Counted at one moment. Documents of Evoke's own (deployments, secrets, waits) are not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Events of the log that are kept.
    pub events: u64,
    /// Their bytes in JSON format.
    pub event_bytes: u64,
    /// Invocations that are queued, leased ones included.
    pub pending: u64,
    /// Invocations that were given up and can be redriven.
    pub dead_letters: u64,
    /// Run records, those of pending invocations and of dead letters included.
    pub runs: u64,
    /// Log lines.
    pub log_lines: u64,
    /// Entries of its functions' key-value state.
    pub entries: u64,
    /// Bytes of their values.
    pub entry_bytes: u64,
}
