//! A version takes its place: checked, prepared, tried, written, switched to.

use std::sync::Arc;

use bytes::Bytes;
use evoke_core::id::{AppName, FunctionName};
use evoke_core::rollout::Portion;
use evoke_core::runtime::{PreparedBundle, Progress};
use evoke_core::store::{Append, Expect, SettleError, Space, StoreError, Value, Write};
use futures_util::StreamExt;

use super::{
    DeployError, Deployed, Deployment, Present, Revision, Withdrawn, capacity, json_value, read_json,
    spec_of, switch,
};
use crate::commit;
use crate::engine::Inner;
use crate::experiment;
use crate::lifecycle;
use crate::pool::Trial;
use crate::replay;
use crate::rollout::{self, Beside, Rollout, withdrawal};

/// Which place a version takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// That of the current one, which it is; it may go by itself.
    Current { watched: bool },
    /// Beside the current one, with this part of the work.
    Canary(Portion),
    /// That of the current one, which was not good for this reason.
    Back(Withdrawn),
}

/// Has `next` take its place. Nothing is changed before all of it is known to be good.
pub(crate) async fn install(
    inner: &Inner,
    next: Deployment,
    former: Former,
    bundle: Bytes,
    place: Place,
    progress: &Progress,
) -> Result<Deployed, DeployError> {
    let next = Arc::new(next);
    let app = &next.manifest.app;
    check(inner, &next)?;
    let current = former.deployment.as_ref();
    if current.is_none() && matches!(place, Place::Canary(_)) {
        return Err(DeployError::NothingBeside(app.clone()));
    }
    let is_current = |name: &FunctionName| {
        current.is_some_and(|current| current.revisions.get(name) == next.revisions.get(name))
    };
    let changed: Vec<FunctionName> =
        next.revisions.keys().filter(|name| !is_current(name)).cloned().collect();
    let trial = async {
        let made = inner.runtime.prepare(&prepared(&next), bundle, progress).await?;
        let files = inner.files.of(&next.bundle);
        files.made(made);
        let warm = try_out(inner, &next, &changed).await?;
        Ok::<_, DeployError>((files, warm))
    };
    let (files, warm) = inner.ending.run_until_cancelled(trial).await.ok_or(DeployError::Draining)??;

    let mut writes = documents(&next, &changed);
    let mut warnings = Vec::new();
    let was = current.map(|current| &current.manifest);
    if !matches!(place, Place::Canary(_)) {
        writes.push(former.current(&next));
        writes.extend(replay::begin(inner, &next.manifest, was).await?);
        warnings.extend(was.into_iter().flat_map(|was| replay::moved(&next.manifest, was)));
        let (ended, told) = experiment::ended(inner, &next.manifest);
        writes.extend(ended);
        warnings.extend(told);
    }
    let superseded = former.rollout.canary.as_ref().map(|canary| canary.version);
    if let Some(version) = superseded {
        let reason = format!("version {} was deployed", next.version);
        let over = Withdrawn { at: inner.now(), automatic: false, reason };
        writes.extend(withdrawal(inner, app, version, over).await?);
        warnings.push(format!("the canary, version {version}, is withdrawn"));
    }
    let mut rollout = Rollout { newest: next.version, canary: None, watch: None };
    match &place {
        Place::Canary(weight) => {
            rollout.canary = Some(Beside { version: next.version, weight: *weight });
            rollout.watch.clone_from(&former.rollout.watch);
        }
        Place::Current { watched } => {
            let former = current.filter(|_| *watched && !changed.is_empty());
            rollout.watch = former.and_then(|former| rollout::over(inner, &next, former));
        }
        Place::Back(withdrawn) => {
            if let Some(current) = current {
                writes.extend(withdrawal(inner, app, current.version, withdrawn.clone()).await?);
            }
        }
    }
    writes.push(rollout.write(app, former.revision));

    let turn = inner.directory.changing.lock().await;
    if inner.removals.contains(app) {
        return Err(DeployError::BeingRemoved(app.clone()));
    }
    // Another app may have taken a route since.
    inner.directory.snapshot().routes_with(&next)?;
    let news = match (&place, current) {
        (Place::Canary(weight), _) => lifecycle::canary_started(inner, &next, *weight),
        (Place::Back(why), Some(left)) => lifecycle::rolled_back(inner, &next, left.version, why),
        _ => None,
    };
    let revision = commit(inner, app, writes, Vec::from_iter(news)).await?;
    replay::learn(inner, app).await?;
    experiment::reload(inner).await?;
    let watched_until = rollout.watch_of(next.version, inner.now()).map(|watch| watch.until);
    let canary = rollout.canary.as_ref().map(|canary| canary.weight);
    let present = match (canary, current) {
        (Some(weight), Some(current)) => Present {
            files: inner.files.of(&current.bundle),
            watch: rollout.watch_of(current.version, inner.now()).cloned(),
            deployment: Arc::new(current.clone()),
            revision,
            canary: Some((next.clone(), files, weight)),
        },
        _ => Present { deployment: next.clone(), files, watch: rollout.watch, revision, canary: None },
    };
    switch(inner, present);
    drop(turn);
    warm_up(inner, &next, warm);
    if canary.is_none() {
        lifecycle::deployed(inner, app).await;
    }
    let functions = current.iter().flat_map(|current| current.revisions.keys());
    let removed = functions.filter(|name| !next.revisions.contains_key(*name)).cloned().collect();
    Ok(Deployed { deployment: next, canary, watched_until, changed, removed, warnings })
}

/// What is cheaper to know than whether its functions load.
fn check(inner: &Inner, next: &Deployment) -> Result<(), DeployError> {
    let manifest = &next.manifest;
    if inner.removals.contains(&manifest.app) {
        return Err(DeployError::BeingRemoved(manifest.app.clone()));
    }
    let missing = inner.vault.missing(manifest);
    if !missing.is_empty() {
        return Err(DeployError::Secrets(missing));
    }
    let snapshot = inner.directory.snapshot();
    let deployed: Vec<_> = snapshot.apps.values().map(|app| app.deployment.clone()).collect();
    let others =
        deployed.iter().map(|deployment| &deployment.manifest).filter(|other| other.app != manifest.app);
    let apps = others.chain([manifest]).map(|manifest| (&manifest.app, &manifest.functions));
    capacity::check(apps, &manifest.app, &inner.limits).map_err(DeployError::DoesNotFit)?;
    snapshot.routes_with(next)?;
    Ok(())
}

/// Writes all of it, with the events that tell of it, or nothing. The last write is the document of the versions on their way,
/// whose new revision it returns.
pub(crate) async fn commit(
    inner: &Inner,
    app: &AppName,
    writes: Vec<Write>,
    news: Vec<lifecycle::News>,
) -> Result<u64, DeployError> {
    let now = inner.now();
    let at = writes.iter().rposition(|write| write.space == Space::rollouts());
    let settled = {
        let accepting = inner.accepting().await;
        let appends: Vec<Append> =
            news.into_iter().filter_map(|news| news.append(inner, &accepting)).collect();
        commit::commit(inner, writes, appends, now).await
    };
    match settled {
        Ok(settled) => Ok(at.and_then(|at| settled.revisions.get(at).copied()).unwrap_or_default()),
        Err(SettleError::Store(error)) => Err(error.into()),
        Err(_) => Err(DeployError::Concurrent(app.clone())),
    }
}

/// What the store has of an app before a deploy, and what must still be so when that is written.
pub(crate) struct Former {
    /// Of the app's document.
    expect: Expect,
    pub deployment: Option<Deployment>,
    pub rollout: Rollout,
    /// Of the document of its versions on their way; 0 when there is none.
    pub revision: u64,
}

impl Former {
    pub async fn read(inner: &Inner, app: &AppName) -> Result<Self, StoreError> {
        let (rollout, revision) = Rollout::read(inner, app).await?;
        let Some(entry) = inner.store.get(&Space::apps(), app.as_str(), inner.now()).await? else {
            return Ok(Self { expect: Expect::Absent, deployment: None, rollout, revision });
        };
        let deployment = Some(read_json(&entry.key, &entry.value)?);
        Ok(Self { expect: Expect::Revision(entry.revision), deployment, rollout, revision })
    }

    /// The number of the next version.
    pub fn next_version(&self) -> u64 {
        self.deployment.as_ref().map_or(0, |former| former.version).max(self.rollout.newest) + 1
    }

    /// Makes `next` the current version, if what was read is still so.
    pub fn current(&self, next: &Deployment) -> Write {
        let app = next.manifest.app.to_string();
        document(Space::apps(), app, json_value(next), self.expect)
    }
}

/// What is kept of a version: one of all there ever were, and one for each new revision.
fn documents(next: &Deployment, changed: &[FunctionName]) -> Vec<Write> {
    let app = next.manifest.app.clone();
    let revisions = changed.iter().map(|name| {
        let revision = Revision {
            app: app.clone(),
            function: name.clone(),
            id: next.revisions[name].clone(),
            bundle: next.bundle.clone(),
            settings: next.manifest.functions[name].clone(),
            created_at: next.deployed_at,
        };
        // The newest sorts first.
        let key = format!("{app}/{name}/{:016x}/{}", u64::MAX - next.version, revision.id);
        document(Space::revisions(), key, json_value(&revision), Expect::Anything)
    });
    // What an event met that came while this was deployed is looked up here later.
    let key = Space::deployment_key(app.as_str(), next.version);
    let kept = document(Space::deployments(), key, json_value(next), Expect::Anything);
    [kept].into_iter().chain(revisions).collect()
}

fn document(space: Space, key: String, value: Value, expect: Expect) -> Write {
    Write { space, key, value: Some(value), expires_at: None, expect }
}

pub(super) fn prepared(deployment: &Deployment) -> PreparedBundle {
    let functions = deployment.manifest.functions.values().filter(|function| function.hook.is_none());
    let sources = functions.map(|function| (function.runtime, function.source.clone()));
    PreparedBundle {
        digest: deployment.bundle.clone(),
        sources: sources.collect(),
        install: deployment.manifest.install,
    }
}

/// Instances that were tried and are kept.
type Warm = Vec<(FunctionName, Vec<Trial>)>;

/// Loads each of `changed` once, two at a time. Of functions with `min_instances` the instance is kept, and so many are
/// started, as far as there is room beside those of the revision that still runs.
async fn try_out(inner: &Inner, next: &Deployment, changed: &[FunctionName]) -> Result<Warm, DeployError> {
    // Owned, because a closure over borrowed names would keep the whole deployment's future from being `Send`.
    let trials: Vec<_> = changed
        .iter()
        .map(|name| {
            let settings = &next.manifest.functions[name];
            (name.clone(), Arc::new(spec_of(inner, next, name, settings)), settings.min_instances)
        })
        .collect();
    let trials = trials.into_iter().map(|(name, spec, min)| async move {
        let first = match Trial::start(inner, spec.clone()).await {
            Ok(first) => first,
            Err(failure) => return Err((name, failure)),
        };
        let mut warm = Vec::new();
        if min > 0 {
            warm.push(first);
            while warm.len() < min as usize
                && let Some(trial) = Trial::one_more(inner, spec.clone()).await
            {
                warm.push(trial);
            }
        }
        Ok((name, warm))
    });
    let mut tried = futures_util::stream::iter(trials).buffer_unordered(2);
    let (mut warm, mut failures) = (Vec::new(), Vec::new());
    while let Some(trial) = tried.next().await {
        match trial {
            Ok(started) => warm.push(started),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        return Ok(warm);
    }
    failures.sort_by(|(a, _), (b, _)| a.cmp(b));
    Err(DeployError::Functions(failures))
}

/// Hands what was tried to the pools that are current now, and has the rest started.
fn warm_up(inner: &Inner, next: &Deployment, warm: Warm) {
    let snapshot = inner.directory.snapshot();
    let Some(app) = snapshot.both(&next.manifest.app).find(|app| app.version() == next.version) else {
        return;
    };
    for (name, started) in warm {
        let Some(target) = app.functions.get(&name) else { continue };
        for trial in started {
            target.pool.adopt(trial);
        }
        target.pool.warm(inner);
    }
}
