//! Deleting what nobody asks to keep any more, a little at a time, beside everything else.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::store::Retention;

use crate::engine::Inner;

/// How often it is looked for what can go.
const BEAT: Duration = Duration::from_secs(30);

/// Sweeps until the engine ends.
pub(crate) async fn sweep(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(BEAT);
    while inner.ended.run_until_cancelled(beat.tick()).await.is_some() {
        let keep = retention(&inner);
        // Each call does a bounded amount; go on while there is something to do, but let others in between.
        loop {
            match inner.store.sweep(&keep, inner.now()).await {
                Ok(0) => break,
                Ok(gone) => tracing::debug!(gone, "swept"),
                Err(error) => {
                    tracing::warn!(%error, "sweep failed");
                    break;
                }
            }
            if inner.ended.is_cancelled() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// How long things are kept now: as the server says, and as the apps do that are deployed.
fn retention(inner: &Inner) -> Retention {
    let snapshot = inner.directory.snapshot();
    let archives = snapshot.apps.iter().map(|(name, app)| (name.clone(), &app.deployment.manifest.archive));
    let archives = archives.filter(|(_, archive)| !archive.is_empty());
    let archives = archives.map(|(name, archive)| (name, archive.clone())).collect();
    Retention { archives, ..inner.retention.clone() }
}
