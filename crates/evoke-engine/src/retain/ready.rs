//! Versions that can come back at once: their files are kept as they were made, packages included.

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::id::AppName;
use evoke_core::store::StoreError;
use parking_lot::Mutex;

use crate::deploy::{BundleFiles, made_ready};
use crate::engine::Inner;
use crate::rollout;

/// The files of versions before the current one, by app. Whoever holds them keeps them on disk.
#[derive(Default)]
pub(crate) struct Ready(Mutex<BTreeMap<AppName, Vec<Arc<BundleFiles>>>>);

/// Holds those that may come back next, and lets go of the others. After a restart they are made again where they are gone,
/// beside everything else.
pub(super) async fn hold(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let apps: Vec<_> = inner.directory.snapshot().apps.values().map(|app| app.deployment.clone()).collect();
    let mut held = BTreeMap::new();
    for current in apps {
        let app = &current.manifest.app;
        let mut files = Vec::new();
        let mut bundles = vec![current.bundle.clone()];
        for former in rollout::former(inner, &current).await? {
            if bundles.len() > inner.limits.deployments_ready {
                break;
            }
            if bundles.contains(&former.bundle) {
                continue;
            }
            bundles.push(former.bundle.clone());
            match made_ready(inner, former).await {
                Ok((_, made)) => files.push(made),
                Err(error) => tracing::warn!(%app, %error, "a former version is not ready to come back"),
            }
        }
        held.insert(app.clone(), files);
    }
    *inner.ready.0.lock() = held;
    Ok(())
}
