//! Deployments that nobody looks back at any more.
//!
//! Kept are the one that is current, the newest, and those since the one that the oldest event met, which
//! [`Engine::explain`](crate::Engine::explain) asks for; of these no more than a bound. What no deployment has any more that is
//! kept goes with the others.

use std::collections::BTreeSet;

use evoke_core::id::{FunctionName, RevisionId};
use evoke_core::store::{EventQuery, Space, StoreError};

use super::documents::{delete, each};
use super::leftovers::Names;
use crate::deploy::{Deployment, Revision, read_json};
use crate::engine::Inner;

/// Deletes the others of all apps, and the revisions that none of those kept has. How many documents went.
pub(super) async fn prune(inner: &Inner) -> Result<usize, StoreError> {
    let apps: Vec<_> = inner.directory.snapshot().apps.values().map(|app| app.deployment.clone()).collect();
    let mut gone = 0;
    for current in apps {
        gone += of_app(inner, &current).await?;
    }
    Ok(gone)
}

async fn of_app(inner: &Inner, current: &Deployment) -> Result<usize, StoreError> {
    let app = &current.manifest.app;
    // Oldest first, as the keys sort.
    let mut keys = Vec::new();
    each(inner, Space::deployments(), app, |entry| {
        keys.push(entry.key.clone());
        Ok(())
    })
    .await?;
    let oldest = EventQuery { app: Some(app.clone()), after: Some(0), limit: 1, ..EventQuery::default() };
    let met = match inner.store.events(&oldest).await?.pop() {
        Some(event) => event.version.unwrap_or(0),
        None => u64::MAX,
    };
    let met = Space::deployment_key(app.as_str(), met);
    let present = Space::deployment_key(app.as_str(), current.version);
    let newest_first = keys.iter().rev().enumerate();
    let (kept, limit) = (inner.limits.deployments_kept, inner.limits.deployments);
    let over = newest_first.filter(|(nth, key)| *nth >= kept && (**key < met || *nth >= limit));
    // One that was made meanwhile is no older than the present one.
    let over: Vec<String> = over.map(|(_, key)| key.clone()).filter(|key| *key < present).collect();
    let mut gone = delete(inner, Space::deployments(), over).await?;

    let mut wanted: BTreeSet<(FunctionName, RevisionId)> = BTreeSet::new();
    let mut names = Names::default();
    each(inner, Space::deployments(), app, |entry| {
        let deployment: Deployment = read_json(&entry.key, &entry.value)?;
        names.add(&deployment.manifest);
        wanted.extend(deployment.revisions);
        Ok(())
    })
    .await?;
    let mut over = Vec::new();
    each(inner, Space::revisions(), app, |entry| {
        let revision: Revision = read_json(&entry.key, &entry.value)?;
        // Not one that was deployed since the deployments were read.
        let is_older = made_in(&entry.key).is_some_and(|version| version <= current.version);
        if is_older && !wanted.contains(&(revision.function, revision.id)) {
            over.push(entry.key.clone());
        }
        Ok(())
    })
    .await?;
    gone += delete(inner, Space::revisions(), over).await?;
    let is_current = || {
        let now = inner.directory.snapshot().apps.get(app).map(|app| app.deployment.version);
        now == Some(current.version)
    };
    Ok(gone + names.prune(inner, app, is_current).await?)
}

/// The version of the deployment that made the revision of this key: see `deploy::documents`.
fn made_in(key: &str) -> Option<u64> {
    let inverse = u64::from_str_radix(key.rsplit('/').nth(1)?, 16).ok()?;
    Some(u64::MAX - inverse)
}
