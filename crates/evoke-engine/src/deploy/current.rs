//! What is deployed now: read from the store at the start, switched by a deploy, followed when another node deploys.

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName, SubscriptionName};
use evoke_core::manifest::Function;
use evoke_core::runtime::InstanceSpec;
use evoke_core::store::{ListQuery, Space};
use tokio::sync::{Semaphore, watch};

use super::files::{self, BundleFiles};
use super::{Deployment, read_json};
use crate::admission::Allowed;
use crate::engine::{Inner, StartError};
use crate::pool::Pool;
use crate::removal::Life;
use crate::replay;
use crate::route::{App, RouteTaken, Snapshot, Subscribers, Target};

/// Reads what is deployed from the store and makes it current. Sources are prepared again where they are not there, which
/// nobody waits for but who wants to call their functions.
pub(crate) async fn load(inner: &Arc<Inner>) -> Result<(), StartError> {
    let mut after = None;
    loop {
        let query =
            ListQuery { space: Space::apps(), prefix: String::new(), after, limit: inner.limits.page };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let unreadable = |cause: String| StartError::Deployment { app: entry.key.clone(), cause };
            let deployment: Deployment =
                read_json(&entry.key, &entry.value).map_err(|error| unreadable(error.to_string()))?;
            let snapshot = inner.directory.snapshot();
            let current = snapshot.apps.get(&deployment.manifest.app);
            if current.is_some_and(|app| app.deployment.version >= deployment.version) {
                continue;
            }
            let bundle = inner.store.get_object(&deployment.bundle).await?;
            let bundle =
                bundle.ok_or_else(|| unreadable(format!("its bundle {} is gone", deployment.bundle)))?;
            let files = inner.files.of(&deployment.bundle);
            let deployment = Arc::new(deployment);
            files::prepare(inner, &deployment, &files, bundle).await;
            let _turn = inner.directory.changing.lock().await;
            replay::learn(inner, &deployment.manifest.app).await?;
            switch(inner, deployment, files);
        }
        match entries.last() {
            Some(last) if entries.len() == inner.limits.page => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Takes over what another node deploys to the same store.
pub(crate) async fn follow(inner: Arc<Inner>, mut changes: watch::Receiver<u64>) {
    while let Some(Ok(())) = inner.ended.run_until_cancelled(changes.changed()).await {
        if let Err(error) = load(&inner).await {
            tracing::warn!(%error, "a deployment could not be taken over");
        }
    }
}

/// Makes the deployment current unless a newer one of its app is. Whoever calls it holds `Directory::changing`, and has
/// learned who is catching up.
pub(super) fn switch(inner: &Inner, deployment: Arc<Deployment>, files: Arc<BundleFiles>) {
    if inner.removals.contains(&deployment.manifest.app) {
        return;
    }
    let snapshot = inner.directory.snapshot();
    let former = snapshot.apps.get(&deployment.manifest.app);
    if former.is_some_and(|former| former.deployment.version >= deployment.version) {
        return;
    }
    match snapshot.routes_with(&deployment) {
        Ok(routes) => {
            let app = App::new(inner, deployment.clone(), files, former.map(Arc::as_ref));
            inner.hall.share(&deployment.manifest.app, &deployment.manifest.share);
            let mut apps = snapshot.apps.clone();
            apps.insert(deployment.manifest.app.clone(), Arc::new(app));
            inner.directory.replace(Snapshot { apps, routes });
        }
        // Two nodes took it at the same moment.
        Err(RouteTaken { route, owner }) => {
            tracing::error!(app = %deployment.manifest.app, route, %owner, "not served: its route is taken");
        }
    }
}

/// Starts instances of `app` anew where its secrets changed.
pub(crate) async fn renew(inner: &Inner, app: &AppName) {
    let _turn = inner.directory.changing.lock().await;
    let snapshot = inner.directory.snapshot();
    let Some(former) = snapshot.apps.get(app) else { return };
    match snapshot.routes_with(&former.deployment) {
        Ok(routes) => {
            let renewed = App::new(inner, former.deployment.clone(), former.files.clone(), Some(former));
            let mut apps = snapshot.apps.clone();
            apps.insert(app.clone(), Arc::new(renewed));
            inner.directory.replace(Snapshot { apps, routes });
        }
        Err(RouteTaken { route, .. }) => tracing::error!(%app, route, "its own route is taken"),
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
    /// What runs the deployment; pools of revisions that stay are taken over from `former`.
    fn new(
        inner: &Inner,
        deployment: Arc<Deployment>,
        files: Arc<BundleFiles>,
        former: Option<&App>,
    ) -> Self {
        let functions = deployment.manifest.functions.iter().map(|(name, settings)| {
            let spec = spec_of(inner, &deployment, name, settings);
            let former = former.and_then(|former| former.functions.get(name));
            let health = former.map(|target| target.health.clone()).unwrap_or_default();
            let kept = former.map(|target| target.pool.clone());
            // Not only the revision: secrets are part of what instances are started with.
            let pool = kept.filter(|pool| *pool.spec == spec);
            let pool = pool.unwrap_or_else(|| Pool::new(inner, spec, settings));
            let (app, settings) = (deployment.manifest.app.clone(), settings.clone());
            let gates = gates(&settings, former);
            let rate = former.and_then(|former| former.rate.clone());
            let rate = Allowed::of(settings.admission.rate, rate);
            (name.clone(), Arc::new(Target { app, name: name.clone(), settings, pool, gates, rate, health }))
        });
        let functions = functions.collect();
        let subscribers = Subscribers::of(&functions);
        let life = former.map_or_else(|| Life::new(&inner.ending), |former| former.life.clone());
        Self { functions, subscribers, deployment: deployment.clone(), files, _here: life.token(), life }
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
