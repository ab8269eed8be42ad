//! Deleting what nobody asks to keep any more, a little at a time, beside everything else.

mod deployments;
mod documents;
mod leftovers;
mod ready;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::store::{Retention, StoreError};

use crate::engine::Inner;
use crate::replay;

pub(crate) use documents::each;
pub(crate) use ready::Ready;

/// How often it is looked for what can go.
const BEAT: Duration = Duration::from_secs(30);

/// How often it is looked for deployments and files that nobody needs.
const FILES_BEAT: Duration = Duration::from_secs(60 * 60);

/// Removes deployments and files that nobody needs, until the engine ends. First marked, then removed: in between nobody wanted
/// them for [`Limits::files_grace`](evoke_core::limits::Limits).
pub(crate) async fn files(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(FILES_BEAT);
    while inner.ended.run_until_cancelled(beat.tick()).await.is_some() {
        if let Err(error) = remove_files(&inner).await {
            tracing::warn!(%error, "what nobody needs could not be removed");
        }
    }
}

async fn remove_files(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let grace = inner.limits.files_grace;
    let documents = deployments::prune(inner).await?;
    let objects = inner.store.sweep_objects(grace, inner.now()).await?;
    if documents > 0 || objects > 0 {
        tracing::info!(documents, objects, "deployments that nobody looks back at were removed");
    }
    ready::hold(inner).await?;
    let current = inner.directory.snapshot();
    let wanted: HashSet<String> = current.apps.values().map(|app| app.deployment.bundle.clone()).collect();
    let wanted = wanted.into_iter().chain(inner.files.in_use()).collect();
    inner.runtime.discard(wanted, grace).await;
    Ok(())
}

/// Sweeps until the engine ends.
pub(crate) async fn sweep(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(BEAT);
    while inner.ended.run_until_cancelled(beat.tick()).await.is_some() {
        let keep = match retention(&inner).await {
            Ok(keep) => keep,
            Err(error) => {
                tracing::warn!(%error, "nothing is swept: what replays need is not known");
                continue;
            }
        };
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

/// How long things are kept now: as the server says, and as the apps do that are deployed; and what replays have to come to.
async fn retention(inner: &Inner) -> Result<Retention, StoreError> {
    let held = replay::held(inner).await?;
    let snapshot = inner.directory.snapshot();
    let archives = snapshot.apps.iter().map(|(name, app)| (name.clone(), &app.deployment.manifest.archive));
    let archives = archives.filter(|(_, archive)| !archive.is_empty());
    let archives = archives.map(|(name, archive)| (name, archive.clone())).collect();
    Ok(Retention { archives, held, ..inner.retention.clone() })
}
