//! A canary gets another part of the work, all of it, or none.

use std::sync::Arc;

use evoke_core::id::AppName;
use evoke_core::rollout::Portion;

use super::{Beside, Canary, Role, Rollout, RolloutError, versions, withdrawal};
use crate::Engine;
use crate::deploy::{DeployError, Deployment, Former, Present, Withdrawn, commit, switch};
use crate::engine::Inner;
use crate::experiment;
use crate::lifecycle;
use crate::replay;

/// A canary that was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Which.
    pub version: u64,
    /// What has all the work again.
    pub current: u64,
    /// When, and why.
    pub withdrawn: Withdrawn,
}

impl Engine {
    /// The canary of an app, with what is counted of it on this node; `None` when there is none.
    pub fn canary(&self, app: &AppName) -> Option<Canary> {
        let inner = &self.0;
        let snapshot = inner.directory.snapshot();
        let (current, canary) = (snapshot.apps.get(app)?, snapshot.canaries.get(app)?);
        let Role::Canary { weight, .. } = canary.role else { return None };
        let now = inner.now();
        let functions = canary.functions.iter().filter_map(|(name, target)| {
            let old = current.functions.get(name);
            let is_new = old.is_none_or(|old| !Arc::ptr_eq(&old.pool, &target.pool));
            let tally = target.tally.lock().tally(now);
            let old = old.map(|old| old.tally.lock().tally(now)).unwrap_or_default();
            is_new.then(|| (name.clone(), (tally, old)))
        });
        Some(Canary {
            app: app.clone(),
            version: canary.version(),
            current: current.version(),
            weight,
            since: canary.deployment.deployed_at,
            guard: canary.deployment.manifest.rollback.of_canary(),
            functions: functions.collect(),
        })
    }

    /// Whether two versions of an app share its work.
    pub fn has_canary(&self, app: &AppName) -> bool {
        self.0.directory.snapshot().canaries.contains_key(app)
    }

    /// Gives the canary another part of the work.
    pub async fn weigh_canary(&self, app: &AppName, weight: Portion) -> Result<Canary, RolloutError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(DeployError::Draining)?;
        let Found { former, canary, .. } = Found::read(inner, app, None).await?;
        let rollout =
            Rollout { canary: Some(Beside { version: canary.version, weight }), ..former.rollout.clone() };
        change(inner, app, former, rollout, Some((canary, weight))).await?;
        self.canary(app).ok_or_else(|| RolloutError::NoCanary { app: app.clone() })
    }

    /// Makes the canary the current version. It is watched from then on, where the manifest says so.
    pub async fn promote_canary(
        &self,
        app: &AppName,
        version: Option<u64>,
    ) -> Result<Arc<Deployment>, RolloutError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(DeployError::Draining)?;
        let Found { former, current, canary } = Found::read(inner, app, version).await?;
        let next = Arc::new(canary);
        let files = inner.files.of(&next.bundle);
        let mut writes = vec![former.current(&next)];
        writes.extend(replay::begin(inner, &next.manifest, Some(&current.manifest)).await?);
        writes.extend(experiment::ended(inner, &next.manifest).0);
        let watch = super::over(inner, &next, &current);
        let rollout = Rollout { canary: None, watch: watch.clone(), ..former.rollout.clone() };
        writes.push(rollout.write(app, former.revision));
        let turn = inner.directory.changing.lock().await;
        if inner.removals.contains(app) {
            return Err(DeployError::BeingRemoved(app.clone()).into());
        }
        inner.directory.snapshot().routes_with(&next).map_err(DeployError::from)?;
        let news = lifecycle::promoted(inner, &next, current.version);
        let revision = commit(inner, app, writes, Vec::from_iter(news)).await?;
        replay::learn(inner, app).await?;
        experiment::reload(inner).await?;
        switch(inner, Present { deployment: next.clone(), files, watch, revision, canary: None });
        drop(turn);
        tracing::info!(%app, version = next.version, former = current.version, "the canary was promoted");
        lifecycle::deployed(inner, app).await;
        Ok(next)
    }

    /// Takes the canary's work away. What it has begun it may finish.
    pub async fn withdraw_canary(
        &self,
        app: &AppName,
        version: Option<u64>,
    ) -> Result<Withdrawal, RolloutError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(DeployError::Draining)?;
        let withdrawn =
            Withdrawn { at: inner.now(), automatic: false, reason: "somebody withdrew it".to_owned() };
        withdraw(inner, app, version, withdrawn).await
    }
}

/// The same, for whatever reason. `version`: only if it is this one still.
pub(super) async fn withdraw(
    inner: &Inner,
    app: &AppName,
    version: Option<u64>,
    withdrawn: Withdrawn,
) -> Result<Withdrawal, RolloutError> {
    let Found { former, current, canary } = Found::read(inner, app, version).await?;
    let rollout = Rollout { canary: None, ..former.rollout.clone() };
    let done = Withdrawal { version: canary.version, current: current.version, withdrawn };
    let noted = withdrawal(inner, app, done.version, done.withdrawn.clone()).await?;
    let writes = Vec::from_iter(noted).into_iter().chain([rollout.write(app, former.revision)]).collect();
    let turn = inner.directory.changing.lock().await;
    let news = lifecycle::withdrawn(inner, app, &done);
    let revision = commit(inner, app, writes, Vec::from_iter(news)).await?;
    switch(inner, present(inner, current, &rollout, revision, None));
    drop(turn);
    let Withdrawn { automatic, reason, .. } = &done.withdrawn;
    tracing::info!(%app, version = done.version, automatic, reason, "the canary was withdrawn");
    Ok(done)
}

/// What the store has of an app with a canary.
struct Found {
    former: Former,
    current: Deployment,
    canary: Deployment,
}

impl Found {
    async fn read(inner: &Inner, app: &AppName, asked: Option<u64>) -> Result<Self, RolloutError> {
        let former = Former::read(inner, app).await?;
        let current = former.deployment.clone().ok_or_else(|| RolloutError::NotFound { app: app.clone() })?;
        let found = former.rollout.canary.as_ref().map(|canary| canary.version);
        let version = found.ok_or_else(|| RolloutError::NoCanary { app: app.clone() })?;
        if let Some(asked) = asked.filter(|asked| *asked != version) {
            return Err(RolloutError::OtherCanary { app: app.clone(), asked, found: version });
        }
        let canary = versions::read(inner, app, version).await?;
        let canary = canary.ok_or_else(|| RolloutError::NoVersion { app: app.clone(), version })?;
        Ok(Self { former, current, canary })
    }
}

/// Writes the document alone, and switches to what it says.
async fn change(
    inner: &Inner,
    app: &AppName,
    former: Former,
    rollout: Rollout,
    canary: Option<(Deployment, Portion)>,
) -> Result<(), RolloutError> {
    let Some(current) = former.deployment else { return Err(RolloutError::NotFound { app: app.clone() }) };
    let turn = inner.directory.changing.lock().await;
    let revision = commit(inner, app, vec![rollout.write(app, former.revision)], Vec::new()).await?;
    switch(inner, present(inner, current, &rollout, revision, canary));
    drop(turn);
    Ok(())
}

fn present(
    inner: &Inner,
    current: Deployment,
    rollout: &Rollout,
    revision: u64,
    canary: Option<(Deployment, Portion)>,
) -> Present {
    let files = inner.files.of(&current.bundle);
    let watch = rollout.watch_of(current.version, inner.now()).cloned();
    let canary = canary.map(|(deployment, weight)| {
        let files = inner.files.of(&deployment.bundle);
        (Arc::new(deployment), files, weight)
    });
    Present { deployment: Arc::new(current), files, watch, revision, canary }
}
