//! What the latest attempts would be the cause of: whoever sends one of their spans along goes on with their chain.
//!
//! Only attempts that can send requests by the network are among them. A span is 64 random bits that nobody but the function
//! and those it sends requests to ever sees, so to know one is to have been sent it.

use std::sync::Arc;

use evoke_core::record::Cause;
use parking_lot::Mutex;

use crate::recent::Recent;

/// The causes of the latest spans. Kept in memory only: after a restart what comes back is known by its depth alone.
pub(crate) struct Spans(Mutex<Recent<Arc<Cause>>>);

impl Spans {
    /// For at most `max` spans at a time.
    pub fn new(max: usize) -> Self {
        Self(Mutex::new(Recent::new(max)))
    }

    /// From now on whatever carries the span of `cause` is caused by it.
    pub fn enter(&self, cause: Cause) {
        let cause = Arc::new(cause);
        self.0.lock().entry(&cause.span_id, || cause.clone());
    }

    /// What carries this span is caused by.
    pub fn find(&self, span: &str) -> Option<Arc<Cause>> {
        self.0.lock().peek(span).cloned()
    }
}
