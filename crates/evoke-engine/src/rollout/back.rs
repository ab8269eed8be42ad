//! Going back to an earlier version.
//!
//! Its files are there, so nothing is built. It comes back under a new number with the same revisions, after each function that
//! changes was loaded once, as for any deploy. What is not part of a version stays as it is: state, secrets, what
//! waits in queues, who is paused, how far schedules got.

use evoke_core::id::AppName;
use evoke_core::runtime::Progress;
use evoke_core::store::StoreError;

use super::{RolloutError, versions};
use crate::Engine;
use crate::deploy::{DeployError, Deployed, Deployment, Former, Place, Withdrawn, install};
use crate::engine::Inner;

impl Engine {
    /// Goes back to version `to`, or to the one before the current: the newest that is older, is something else, and was not
    /// taken back. A canary is withdrawn with it.
    pub async fn roll_back(&self, app: &AppName, to: Option<u64>) -> Result<Deployed, RolloutError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(DeployError::Draining)?;
        let withdrawn =
            Withdrawn { at: inner.now(), automatic: false, reason: "somebody rolled it back".to_owned() };
        roll_back(inner, app, to, withdrawn).await
    }
}

/// The same, for whatever reason.
pub(super) async fn roll_back(
    inner: &Inner,
    app: &AppName,
    to: Option<u64>,
    withdrawn: Withdrawn,
) -> Result<Deployed, RolloutError> {
    let former = Former::read(inner, app).await?;
    let current = former.deployment.as_ref().ok_or_else(|| RolloutError::NotFound { app: app.clone() })?;
    let target = match to {
        Some(version) if version == current.version => {
            return Err(RolloutError::IsCurrent { app: app.clone(), version });
        }
        Some(version) => versions::read(inner, app, version)
            .await?
            .ok_or_else(|| RolloutError::NoVersion { app: app.clone(), version })?,
        None => before(inner, current).await?,
    };
    let bundle = inner.store.get_object(&target.bundle).await?;
    let bundle = bundle.ok_or_else(|| {
        StoreError::Corrupt(format!("the files of version {} of app {app} are gone", target.version))
    })?;
    let next = Deployment {
        version: former.next_version(),
        deployed_at: inner.now(),
        // Going back once more goes on from there.
        back_to: Some(target.back_to.unwrap_or(target.version)),
        withdrawn: None,
        ..target
    };
    let left = (current.version, withdrawn.clone());
    let place = Place::Back(withdrawn);
    let done = Box::pin(install(inner, next, former, bundle, place, &Progress::none())).await?;
    let version = done.deployment.version;
    let Withdrawn { automatic, reason, .. } = &left.1;
    tracing::info!(%app, from = left.0, to = done.deployment.back_to, version, automatic, reason, "rolled back");
    Ok(done)
}

/// What was current before this one, and is not the same.
async fn before(inner: &Inner, current: &Deployment) -> Result<Deployment, RolloutError> {
    let former = versions::former(inner, current).await?;
    let found = former.into_iter().find(|one| one.bundle != current.bundle);
    let (app, version) = (current.manifest.app.clone(), current.back_to.unwrap_or(current.version));
    found.ok_or(RolloutError::NothingBefore { app, version })
}
