//! How many invocations each start has caused: what came from outside once, and all that goes back to it.
//!
//! A start is known by its trace id. A correlation id would not do: a sender may use one for days of work.

use parking_lot::Mutex;

use crate::recent::Recent;

/// The counts of the latest starts. Kept in memory only: after a restart a loop is counted anew, and its depth is not.
pub(crate) struct Starts(Mutex<Recent<u64>>);

impl Starts {
    /// For at most `max` starts at a time.
    pub fn new(max: usize) -> Self {
        Self(Mutex::new(Recent::new(max)))
    }

    /// Counts one more, and says how many that makes.
    pub fn count(&self, trace_id: &str) -> u64 {
        let mut counts = self.0.lock();
        let count = counts.entry(trace_id, || 0);
        *count += 1;
        *count
    }
}
