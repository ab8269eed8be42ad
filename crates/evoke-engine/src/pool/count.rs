//! What a pool looks like from outside.

use std::time::Duration;

use tokio::time::Instant;

use super::Pool;

/// A function's instances at one moment. All zero and not preloaded: absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instances {
    /// A process is kept from which the next instance is forked.
    pub preloaded: bool,
    /// On their way: they wait for a place, are forked, or load the function.
    pub starting: usize,
    /// Kept for the next call.
    pub idle: usize,
    /// Running at least one.
    pub busy: usize,
    /// Ending with the calls they still have, those of replaced revisions among them.
    pub draining: usize,
    /// It fails to start.
    pub failing: Option<Failing>,
}

/// Starts failed several times in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// How often.
    pub times: u32,
    /// When it is tried again, from now, if there is a call.
    pub again_in: Duration,
    /// Why.
    pub message: String,
}

impl Pool {
    pub fn count(&self) -> Instances {
        let state = self.state.lock();
        let (idle, busy) = state.idle_and_busy();
        let (starting, draining, preloaded) = (state.starting, state.draining, false);
        let failing = state.closed().map(|closed| Failing {
            times: state.failures,
            again_in: closed.until.saturating_duration_since(Instant::now()),
            message: closed.failure.message.clone(),
        });
        match state.retired {
            false => Instances { preloaded, starting, idle, busy, draining, failing },
            true => Instances { starting, draining: busy + draining, ..Instances::default() },
        }
    }
}
