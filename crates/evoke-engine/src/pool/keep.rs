//! What happens to instances as time passes: idle ones end, those that ended by themselves are noticed, and as many are
//! there as are to be kept warm.

use std::sync::Arc;
use std::time::Duration;

use super::{Pool, end_longest_idle};
use crate::engine::Inner;

/// How often pools are looked at.
const BEAT: Duration = Duration::from_secs(1);

impl Pool {
    /// Starts what is to be kept warm, if it is not there. Ends idle instances of others for that.
    pub fn warm(self: &Arc<Self>, inner: &Inner) {
        loop {
            let missing = {
                let mut state = self.state.lock();
                self.restock(&mut state);
                !state.retired
                    && state.closed().is_none()
                    && state.instances + state.starting < self.terms.min
                    && self.never_fits().is_none()
            };
            if !missing || inner.stopping.is_cancelled() || !end_longest_idle(inner) {
                return;
            }
        }
    }

    fn evict(&self) {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        state.evict(self.terms.idle, self.terms.min, &mut ended);
    }
}

/// Looks after all pools until the end.
pub(crate) async fn keep(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(BEAT);
    while inner.ended.run_until_cancelled(beat.tick()).await.is_some() {
        let snapshot = inner.directory.snapshot();
        for pool in snapshot.pools() {
            pool.evict();
            pool.warm(&inner);
        }
        inner.directory.forget_ended();
    }
}
