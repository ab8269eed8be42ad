//! What nobody has wanted for a while.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Names, and since when nobody has wanted them.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<HashMap<String, Instant>>);

impl Idle {
    /// Somebody wants it now.
    pub(crate) fn used(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// Nobody wants it now. If that has been so for `grace`, has it removed by `remove`, which must be short; nobody can begin to
    /// want it meanwhile.
    pub(crate) fn unused(&self, name: &str, grace: Duration, now: Instant, remove: impl FnOnce()) {
        let mut idle = self.0.lock();
        if now.saturating_duration_since(*idle.entry(name.to_owned()).or_insert(now)) >= grace {
            idle.remove(name);
            remove();
        }
    }
}
