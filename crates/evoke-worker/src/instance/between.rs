//! What is written while no call runs. It belongs to none, and goes to the server's own log: in moderation.

use evoke_core::rate::Bucket;
use evoke_core::record::LogStream;
use tokio::time::Instant;

/// Lines a second of one process; ten times that at once.
const LINES_PER_SECOND: u64 = 10;

/// One process's lines between calls.
#[derive(Debug)]
pub(crate) struct Between {
    function: String,
    budget: Bucket,
    dropped: u64,
}

impl Between {
    pub(crate) fn new(function: String) -> Self {
        Self { function, budget: Bucket::new(LINES_PER_SECOND, 10 * LINES_PER_SECOND), dropped: 0 }
    }

    /// Whose lines they are.
    pub(crate) fn function(&self) -> &str {
        &self.function
    }

    /// Passes a line on, unless there were too many.
    pub(crate) fn line(&mut self, stream: LogStream, line: &str) {
        if !self.budget.take(1, Instant::now()) {
            self.dropped += 1;
            return;
        }
        let (function, dropped) = (&self.function, std::mem::take(&mut self.dropped));
        if dropped > 0 {
            tracing::warn!(function, dropped, "lines written outside of any call were dropped: too many");
        }
        tracing::info!(function, stream = stream.as_str(), line, "written outside of any call");
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let Self { function, dropped, .. } = self;
        if *dropped > 0 {
            tracing::warn!(function, dropped, "lines written outside of any call were dropped: too many");
        }
    }
}
