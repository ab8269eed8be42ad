//! The versions of an app that are kept, and what each is.

use evoke_core::id::AppName;
use evoke_core::rollout::Portion;
use evoke_core::store::{Space, StoreError};
use evoke_core::time::Timestamp;

use super::{Rollout, RolloutError};
use crate::Engine;
use crate::deploy::{Deployment, Withdrawn, read_json};
use crate::engine::Inner;
use crate::retain::each;

/// A version, and what it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What was deployed.
    pub deployment: Deployment,
    /// What it is.
    pub state: State,
}

/// What a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does the work.
    Current {
        /// Until when it goes by itself if it fails too often.
        watched_until: Option<Timestamp>,
    },
    /// It does a part of the work.
    Canary {
        /// Which.
        weight: Portion,
    },
    /// It was taken back.
    Withdrawn(Withdrawn),
    /// It was current until the next one was.
    Former,
}

impl Engine {
    /// The versions of an app that are kept, the newest first.
    pub async fn versions(&self, app: &AppName) -> Result<Vec<Version>, RolloutError> {
        let inner = &self.0;
        let current = self.app(app).ok_or_else(|| RolloutError::NotFound { app: app.clone() })?;
        let (rollout, _) = Rollout::read(inner, app).await?;
        let state = |deployment: &Deployment| {
            if deployment.version == current.version {
                let watch = rollout.watch_of(current.version, inner.now());
                return State::Current { watched_until: watch.map(|watch| watch.until) };
            }
            match rollout.canary.as_ref().filter(|canary| canary.version == deployment.version) {
                Some(canary) => State::Canary { weight: canary.weight },
                None => deployment.withdrawn.clone().map_or(State::Former, State::Withdrawn),
            }
        };
        let mut versions: Vec<Version> = all(inner, app)
            .await?
            .into_iter()
            .map(|deployment| Version { state: state(&deployment), deployment })
            .collect();
        versions.reverse();
        Ok(versions)
    }
}

/// One, while it is kept.
pub(crate) async fn read(
    inner: &Inner,
    app: &AppName,
    version: u64,
) -> Result<Option<Deployment>, StoreError> {
    let key = Space::deployment_key(app.as_str(), version);
    let entry = inner.store.get(&Space::deployments(), &key, inner.now()).await?;
    entry.map(|entry| read_json(&entry.key, &entry.value)).transpose()
}

/// All that are kept, the oldest first.
pub(super) async fn all(inner: &Inner, app: &AppName) -> Result<Vec<Deployment>, StoreError> {
    let mut all = Vec::new();
    each(inner, Space::deployments(), app, |entry| {
        all.push(read_json(&entry.key, &entry.value)?);
        Ok(())
    })
    .await?;
    Ok(all)
}

/// Those that were current before this one and were not taken back, the newest first.
pub(crate) async fn former(inner: &Inner, current: &Deployment) -> Result<Vec<Deployment>, StoreError> {
    let version = current.back_to.unwrap_or(current.version);
    let mut former = all(inner, &current.manifest.app).await?;
    former.retain(|one| one.version < version && one.withdrawn.is_none());
    former.reverse();
    Ok(former)
}

/// The newest version of these files that was taken back by itself.
pub(crate) async fn taken_back(
    inner: &Inner,
    app: &AppName,
    bundle: &str,
) -> Result<Option<(u64, Withdrawn)>, StoreError> {
    let of_files = all(inner, app).await?.into_iter().rev().filter(|deployment| deployment.bundle == bundle);
    let mut withdrawn = of_files.filter_map(|deployment| Some((deployment.version, deployment.withdrawn?)));
    Ok(withdrawn.find(|(_, withdrawn)| withdrawn.automatic))
}
