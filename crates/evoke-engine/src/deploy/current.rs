//! What is deployed now: read from the store at the start, switched by a deploy, followed when another node deploys. The current
//! version and its canary are switched together.

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName, SubscriptionName};
use evoke_core::manifest::Function;
use evoke_core::rollout::{Portion, Window};
use evoke_core::runtime::InstanceSpec;
use evoke_core::store::{ListQuery, Space};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::files::{self, BundleFiles};
use super::{Deployment, read_json};
use crate::admission::Allowed;
use crate::engine::{Inner, StartError};
use crate::pool::{Pool, door_terms};
use crate::removal::Life;
use crate::replay;
use crate::rollout::{self, Role, Rollout, Watch};
use crate::route::{App, RouteTaken, Snapshot, Subscribers, Target};

/// What is deployed of an app, to be made current.
pub(crate) struct Present {
    pub deployment: Arc<Deployment>,
    pub files: Arc<BundleFiles>,
    /// Whether it goes if it fails too often.
    pub watch: Option<Watch>,
    /// Of the document of the versions on their way; 0 when there is none.
    pub revision: u64,
    /// The next version, with the part of the work that it has.
    pub canary: Option<(Arc<Deployment>, Arc<BundleFiles>, Portion)>,
}

/// Reads what is deployed from the store and makes it current. Sources are prepared again where they are not there, which
/// nobody waits for but who wants to call their functions.
pub(crate) async fn load(inner: &Arc<Inner>) -> Result<(), StartError> {
    // Before the apps: one that is deployed in between is looked at again.
    let mut rollouts = Rollout::all(inner).await?;
    let mut after = None;
    loop {
        let query =
            ListQuery { space: Space::apps(), prefix: String::new(), after, limit: inner.limits.page };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let unreadable = |cause: String| StartError::Deployment { app: entry.key.clone(), cause };
            let deployment: Deployment =
                read_json(&entry.key, &entry.value).map_err(|error| unreadable(error.to_string()))?;
            let app = deployment.manifest.app.clone();
            let (rollout, revision) = rollouts.remove(app.as_str()).unwrap_or_default();
            if !is_newer(&inner.directory.snapshot(), &deployment, revision) {
                continue;
            }
            let (deployment, files) = made_ready(inner, deployment).await?;
            let watch = rollout.watch_of(deployment.version, inner.now()).cloned();
            let mut canary = None;
            // One that was promoted or deployed over meanwhile is none.
            if let Some(beside) = rollout.canary.filter(|beside| beside.version > deployment.version) {
                match rollout::version(inner, &app, beside.version).await? {
                    Some(next) => {
                        let (next, files) = made_ready(inner, next).await?;
                        canary = Some((next, files, beside.weight));
                    }
                    None => {
                        tracing::error!(%app, version = beside.version, "the canary is not kept any more")
                    }
                }
            }
            let _turn = inner.directory.changing.lock().await;
            replay::learn(inner, &app).await?;
            switch(inner, Present { deployment, files, watch, revision, canary });
        }
        match entries.last() {
            Some(last) if entries.len() == inner.limits.page => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Has the files of a deployment made, where that has not begun.
pub(crate) async fn made_ready(
    inner: &Arc<Inner>,
    deployment: Deployment,
) -> Result<(Arc<Deployment>, Arc<BundleFiles>), StartError> {
    let files = inner.files.of(&deployment.bundle);
    let deployment = Arc::new(deployment);
    if !files.are_made() {
        let bundle = inner.store.get_object(&deployment.bundle).await?;
        let bundle = bundle.ok_or_else(|| StartError::Deployment {
            app: deployment.manifest.app.to_string(),
            cause: format!("its bundle {} is gone", deployment.bundle),
        })?;
        files::prepare(inner, &deployment, &files, bundle).await;
    }
    Ok((deployment, files))
}

/// Takes over what another node deploys to the same store.
pub(crate) async fn follow(
    inner: Arc<Inner>,
    (mut apps, mut rollouts): (watch::Receiver<u64>, watch::Receiver<u64>),
) {
    loop {
        let changed = async {
            tokio::select! {
                changed = apps.changed() => changed,
                changed = rollouts.changed() => changed,
            }
        };
        let Some(Ok(())) = inner.ended.run_until_cancelled(changed).await else { return };
        if let Err(error) = load(&inner).await {
            tracing::warn!(%error, "a deployment could not be taken over");
        }
    }
}

/// Whether this is not what is current already, or what was before that.
fn is_newer(snapshot: &Snapshot, deployment: &Deployment, revision: u64) -> bool {
    let Some(former) = snapshot.apps.get(&deployment.manifest.app) else { return true };
    let known = match former.role {
        Role::Current { revision, .. } => revision,
        Role::Canary { .. } => 0,
    };
    (deployment.version, revision) > (former.version(), known)
}

/// Makes it current unless something newer of its app is. Whoever calls it holds `Directory::changing`, and has
/// learned who is catching up.
pub(crate) fn switch(inner: &Inner, present: Present) {
    let app = &present.deployment.manifest.app;
    let snapshot = inner.directory.snapshot();
    if inner.removals.contains(app) || !is_newer(&snapshot, &present.deployment, present.revision) {
        return;
    }
    let deployment = present.deployment.clone();
    put(inner, &snapshot, present);
    // An app has a part of the node as soon as it has doors.
    inner.hall.share(&deployment.manifest.app, &deployment.manifest.share);
}

/// Starts instances of `app` anew where its secrets changed.
pub(crate) async fn renew(inner: &Inner, app: &AppName) {
    let _turn = inner.directory.changing.lock().await;
    let snapshot = inner.directory.snapshot();
    let Some(former) = snapshot.apps.get(app) else { return };
    let Role::Current { watch, revision } = &former.role else { return };
    let canary = snapshot.canaries.get(app).and_then(|canary| match canary.role {
        Role::Canary { weight, .. } => Some((canary.deployment.clone(), canary.files.clone(), weight)),
        Role::Current { .. } => None,
    });
    let (deployment, files) = (former.deployment.clone(), former.files.clone());
    put(inner, &snapshot, Present { deployment, files, watch: watch.clone(), revision: *revision, canary });
}

/// Switches to `snapshot` with this in it.
fn put(inner: &Inner, snapshot: &Snapshot, present: Present) {
    let Present { deployment, files, watch, revision, canary } = present;
    let app = deployment.manifest.app.clone();
    match snapshot.routes_with(&deployment) {
        Ok(routes) => {
            let (former, beside) = (snapshot.apps.get(&app), snapshot.canaries.get(&app));
            let (former, beside) = (former.map(Arc::as_ref), beside.map(Arc::as_ref));
            let role = Role::Current { watch, revision };
            let current = App::new(inner, deployment, files, role, (former, beside));
            let (mut apps, mut canaries) = (snapshot.apps.clone(), snapshot.canaries.clone());
            canaries.remove(&app);
            if let Some((next, files, weight)) = canary {
                let canary = App::new(inner, next, files, Role::canary(weight), (Some(&current), beside));
                canaries.insert(app.clone(), Arc::new(canary));
            }
            apps.insert(app, Arc::new(current));
            inner.directory.replace(Snapshot { apps, canaries, routes });
        }
        // Two nodes took it at the same moment.
        Err(RouteTaken { route, owner }) => {
            tracing::error!(%app, route, %owner, "not served: its route is taken");
        }
    }
}

/// Variables and secrets, sorted.
fn environment(inner: &Inner, app: &AppName, settings: &Function) -> Vec<(String, String)> {
    let mut env = settings.env.clone();
    for name in &settings.secrets {
        if let Some(value) = inner.vault.get(app, name) {
            env.insert(name.to_string(), value.reveal().to_owned());
        }
    }
    env.into_iter().collect()
}

impl App {
    /// What runs the deployment; pools of revisions that stay are taken over from `former`, which is current, or from `beside`,
    /// its canary. A canary has the doors of the current version.
    fn new(
        inner: &Inner,
        deployment: Arc<Deployment>,
        files: Arc<BundleFiles>,
        role: Role,
        (former, beside): (Option<&App>, Option<&App>),
    ) -> Self {
        let is_canary = matches!(role, Role::Canary { .. });
        let window = deployment.manifest.rollback.of_canary().unwrap_or_default().within;
        let functions = deployment.manifest.functions.iter().map(|(name, settings)| {
            let spec = spec_of(inner, &deployment, name, settings);
            let of = |app: Option<&App>| app.and_then(|app| app.functions.get(name)).cloned();
            let former = of(former);
            // Not only the revision: secrets are part of what instances are started with.
            let mut both = [former.clone(), of(beside)].into_iter().flatten();
            let kept = both.find(|target| *target.pool.spec == spec);
            let terms = door_terms(settings, inner);
            let door = match is_canary {
                true => former.as_ref().map(|former| former.door.clone()),
                false => kept.as_ref().map(|kept| kept.door.clone()).filter(|door| door.terms == terms),
            };
            let door = door.unwrap_or_else(|| inner.hall.door(&spec.app, terms));
            // A canary's own streak would be broken by what the other one does.
            let health = kept.as_ref().or(former.as_ref().filter(|_| !is_canary));
            let health = health.map(|target| target.health.clone()).unwrap_or_default();
            let meter = kept.as_ref().or(former.as_ref()).map(|target| target.meter.clone());
            let meter = meter.unwrap_or_default();
            let (pool, tally) = match kept {
                Some(kept) => (kept.pool.clone(), kept.tally.clone()),
                None => (Pool::new(inner, spec, settings), Arc::new(Mutex::new(Window::new(window)))),
            };
            let (app, settings) = (deployment.manifest.app.clone(), settings.clone());
            let gates = gates(&settings, former.as_ref());
            let rate = former.and_then(|former| former.rate.clone());
            let rate = Allowed::of(settings.admission.rate, rate);
            let target =
                Target { app, name: name.clone(), settings, pool, door, tally, gates, rate, health, meter };
            (name.clone(), Arc::new(target))
        });
        let functions = functions.collect();
        let subscribers = Subscribers::of(&functions);
        let life = former.map_or_else(|| Life::new(&inner.ending), |former| former.life.clone());
        Self {
            functions,
            subscribers,
            deployment: deployment.clone(),
            files,
            role,
            _here: life.token(),
            life,
        }
    }
}

/// The gates of subscriptions with a limit; one whose limit stays is taken over, with who is inside.
fn gates(settings: &Function, former: Option<&Arc<Target>>) -> BTreeMap<SubscriptionName, Arc<Semaphore>> {
    let limited = settings.on.iter().filter_map(|on| Some((on.name(), on.concurrency?)));
    let gate = |(name, limit): (SubscriptionName, u32)| {
        let same = former
            .filter(|former| former.subscription(&name).is_some_and(|on| on.concurrency == Some(limit)));
        let kept = same.and_then(|former| former.gates.get(&name)).cloned();
        (name, kept.unwrap_or_else(|| Arc::new(Semaphore::new(limit as usize))))
    };
    limited.map(gate).collect()
}

/// All that is needed to start an instance of the function.
pub(super) fn spec_of(
    inner: &Inner,
    deployment: &Deployment,
    name: &FunctionName,
    settings: &Function,
) -> InstanceSpec {
    InstanceSpec {
        app: deployment.manifest.app.clone(),
        function: name.clone(),
        revision: deployment
            .revisions
            .get(name)
            .cloned()
            .unwrap_or_else(|| settings.revision(&deployment.bundle)),
        runtime: settings.runtime,
        bundle: deployment.bundle.clone(),
        source: settings.source.clone(),
        handler: settings.handler.clone(),
        env: environment(inner, &deployment.manifest.app, settings),
        egress: settings.egress.clone(),
        memory_bytes: settings.memory_bytes,
        preload: settings.preload,
        instance_concurrency: settings.instance_concurrency,
        keeps_instance: settings.keeps_instance,
        start_timeout: inner.limits.start,
        hook: settings.hook.clone(),
    }
}
