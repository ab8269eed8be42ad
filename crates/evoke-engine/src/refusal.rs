//! A store that refuses to go on, after a write whose outcome nobody knows: only a restart helps.

use std::sync::OnceLock;

use evoke_core::store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// Whether the store has refused.
#[derive(Default)]
pub(crate) struct Refusal {
    why: OnceLock<String>,
    known: CancellationToken,
}

impl Refusal {
    /// Takes note of an error of the store.
    pub fn note(&self, error: &StoreError) {
        if let StoreError::Closed(why) = error {
            // The first reason counts.
            let _ = self.why.set(why.clone());
            self.known.cancel();
        }
    }
}

impl Engine {
    /// Waits until the store refuses to go on, and says why. That is noticed within seconds, also when nobody asks anything.
    pub async fn store_refused(&self) -> String {
        let refusal = &self.0.refusal;
        refusal.known.cancelled().await;
        refusal.why.get().cloned().unwrap_or_default()
    }
}
