//! Deploying: an app's files become revisions, checked before anything switches.

mod capacity;
mod contents;
mod current;
mod files;
mod kept;
mod schemas;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evoke_core::chain::declared;
use evoke_core::id::{AppName, FunctionName, RevisionId};
use evoke_core::manifest::{Function, Loops, Manifest, ManifestErrors, parse};
use evoke_core::outcome::Failure;
use evoke_core::runtime::{PrepareError, PreparedBundle, Progress};
use evoke_core::secret::SecretName;
use evoke_core::store::{Expect, ListQuery, SettleError, Space, StoreError, Value, ValueKind, Write};
use evoke_core::time::Timestamp;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::engine::Inner;
use crate::experiment;
use crate::lifecycle;
use crate::pool::{Instances, Trial};
use crate::replay;
use crate::route::RouteTaken;
pub(crate) use capacity::too_large;
use contents::{Contents, MANIFEST};
pub(crate) use current::{follow, load, renew};
use current::{spec_of, switch};
pub(crate) use files::{BundleFiles, Files};

/// An app as it is deployed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its manifest.
    pub manifest: Manifest,
    /// SHA-256 of its files' tar.
    pub bundle: String,
    /// Current revision of each function.
    pub revisions: BTreeMap<FunctionName, RevisionId>,
    /// When.
    pub deployed_at: Timestamp,
    /// 1 for the first deployment of this app, then 2, …
    pub version: u64,
}

/// A revision as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// Its id.
    pub id: RevisionId,
    /// The bundle it comes from.
    pub bundle: String,
    /// Its settings.
    pub settings: Function,
    /// When it was first deployed.
    pub created_at: Timestamp,
}

/// What a deploy changed.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The app as it is now.
    pub deployment: Arc<Deployment>,
    /// Functions that are new or have a new revision.
    pub changed: Vec<FunctionName>,
    /// Functions that are gone.
    pub removed: Vec<FunctionName>,
    /// What is allowed, and may not be what was meant.
    pub warnings: Vec<String>,
}

/// Why nothing was deployed. What ran before still runs.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The archive is not usable.
    #[error("bundle: {0}")]
    Bundle(String),
    /// The manifest has problems.
    #[error(transparent)]
    Manifest(#[from] ManifestErrors),
    /// The manifest is of another app than the one addressed.
    #[error("the manifest is of app {found}, but app {addressed} was addressed")]
    OtherApp {
        /// In the manifest.
        found: AppName,
        /// In the request.
        addressed: AppName,
    },
    /// Sources cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Functions do not load.
    #[error("{} of the app's functions cannot be loaded", .0.len())]
    Functions(Vec<(FunctionName, Failure)>),
    /// Secrets it needs have no value.
    #[error("{}", missing_secrets(.0))]
    Secrets(Vec<SecretName>),
    /// There is no room for it on this node.
    #[error("{0}")]
    DoesNotFit(String),
    /// Its functions can call each other in a circle, and its manifest forbids that.
    #[error("app.loops is \"deny\", and functions can lead to each other in a circle: {}", .0.join("; "))]
    Loops(Vec<String>),
    /// The JSON Schema of a decorator cannot be used.
    #[error("decorator {decorator}: the schema in {}: {reason}", file.display())]
    Schema {
        /// The decorator.
        decorator: FunctionName,
        /// Its file; `evoke.toml` where it stands there.
        file: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// Another app has the same route.
    #[error("route {route} is already taken by app {owner}")]
    RouteTaken {
        /// Method and path.
        route: String,
        /// By whom.
        owner: AppName,
    },
    /// Somebody else deployed the app at the same moment.
    #[error("app {0} was deployed by somebody else at the same moment; nothing was changed")]
    Concurrent(AppName),
    /// The app of that name is being removed.
    #[error("app {0} is being removed; deploy it again when that is done")]
    BeingRemoved(AppName),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RouteTaken> for DeployError {
    fn from(RouteTaken { route, owner }: RouteTaken) -> Self {
        Self::RouteTaken { route, owner }
    }
}

impl Engine {
    /// [`Engine::deploy_telling`], told to nobody.
    pub async fn deploy(&self, addressed: &AppName, bundle: Bytes) -> Result<Deployed, DeployError> {
        self.deploy_telling(addressed, bundle, Progress::none()).await
    }

    /// Deploys the app in `bundle`: a tar (not compressed) of its files with `evoke.toml` at the top. Every changed
    /// function is loaded once before anything switches. How far it is, is told to `progress`; dropped, it stops.
    pub async fn deploy_telling(
        &self,
        addressed: &AppName,
        bundle: Bytes,
        progress: Progress,
    ) -> Result<Deployed, DeployError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(DeployError::Draining)?;
        let contents = Contents::read(&bundle, &inner.limits).map_err(DeployError::Bundle)?;
        let mut manifest = parse(&contents.manifest, MANIFEST, &|path| contents.kind(path))?;
        if manifest.app != *addressed {
            return Err(DeployError::OtherApp { found: manifest.app, addressed: addressed.clone() });
        }
        if inner.removals.contains(addressed) {
            return Err(DeployError::BeingRemoved(addressed.clone()));
        }
        let subscriptions: usize = manifest.functions.values().map(|function| function.on.len()).sum();
        if subscriptions > inner.limits.fan_out {
            let limit = inner.limits.fan_out;
            return Err(DeployError::Bundle(format!(
                "the app has {subscriptions} subscriptions, the limit is {limit}"
            )));
        }
        schemas::read(&mut manifest, &bundle)?;
        let mut warnings = circles(&manifest)?;
        warnings.extend(kept::before_checks(&manifest));
        let missing = inner.vault.missing(&manifest);
        if !missing.is_empty() {
            return Err(DeployError::Secrets(missing));
        }
        let deployed: Vec<_> =
            inner.directory.snapshot().apps.values().map(|app| app.deployment.clone()).collect();
        let others =
            deployed.iter().map(|deployment| &deployment.manifest).filter(|other| other.app != manifest.app);
        let apps = others.chain([&manifest]).map(|manifest| (&manifest.app, &manifest.functions));
        capacity::check(apps, &manifest.app, &inner.limits).map_err(DeployError::DoesNotFit)?;
        let digest = inner.store.put_object(bundle.clone()).await?;
        let Former { expect, deployment: former } = Former::read(inner, &manifest.app).await?;
        let revisions =
            manifest.functions.iter().map(|(name, function)| (name.clone(), function.revision(&digest)));
        let next = Arc::new(Deployment {
            revisions: revisions.collect(),
            bundle: digest,
            deployed_at: inner.now(),
            version: former.as_ref().map_or(0, |former| former.version) + 1,
            manifest,
        });
        // Whether its routes collide is cheaper to know than whether its functions load.
        inner.directory.snapshot().routes_with(&next)?;
        let is_current = |name: &FunctionName, revision: &RevisionId| {
            former.as_ref().is_some_and(|former| former.revisions.get(name) == Some(revision))
        };
        let changed = next.revisions.iter().filter(|(name, id)| !is_current(name, id));
        let changed: Vec<FunctionName> = changed.map(|(name, _)| name.clone()).collect();
        let trial = async {
            let made = inner.runtime.prepare(&prepared(&next), bundle, &progress).await?;
            let files = inner.files.of(&next.bundle);
            files.made(made);
            let warm = try_out(inner, &next, &changed).await?;
            Ok::<_, DeployError>((files, warm))
        };
        let (files, warm) = inner.ending.run_until_cancelled(trial).await.ok_or(DeployError::Draining)??;

        let mut writes = documents(&next, &changed, expect);
        let was = former.as_ref().map(|former| &former.manifest);
        writes.extend(replay::begin(inner, &next.manifest, was).await?);
        warnings.extend(was.into_iter().flat_map(|was| replay::moved(&next.manifest, was)));
        let turn = inner.directory.changing.lock().await;
        if inner.removals.contains(addressed) {
            return Err(DeployError::BeingRemoved(addressed.clone()));
        }
        // Another app may have taken a route since.
        inner.directory.snapshot().routes_with(&next)?;
        let (ended, told) = experiment::ended(inner, &next.manifest);
        writes.extend(ended);
        warnings.extend(told);
        match inner.store.write(writes, inner.now()).await {
            Ok(_) => {}
            Err(SettleError::Store(error)) => return Err(error.into()),
            Err(_) => return Err(DeployError::Concurrent(next.manifest.app.clone())),
        }
        replay::learn(inner, &next.manifest.app).await?;
        experiment::reload(inner).await?;
        switch(inner, next.clone(), files);
        drop(turn);
        warm_up(inner, &next.manifest.app, warm);
        lifecycle::deployed(inner, &next.manifest.app).await;
        let former = former.iter().flat_map(|former| former.revisions.keys());
        let removed = former.filter(|name| !next.revisions.contains_key(*name)).cloned().collect();
        Ok(Deployed { deployment: next, changed, removed, warnings })
    }

    /// All apps, by name.
    pub fn apps(&self) -> Vec<Arc<Deployment>> {
        self.0.directory.snapshot().apps.values().map(|app| app.deployment.clone()).collect()
    }

    /// One app.
    pub fn app(&self, name: &AppName) -> Option<Arc<Deployment>> {
        self.0.directory.snapshot().apps.get(name).map(|app| app.deployment.clone())
    }

    /// A function's revisions, newest first.
    pub async fn revisions(
        &self,
        app: &AppName,
        function: &FunctionName,
    ) -> Result<Vec<Revision>, StoreError> {
        let (space, prefix) = (Space::revisions(), format!("{app}/{function}/"));
        let query = ListQuery { space, prefix, after: None, limit: self.0.limits.page };
        let entries = self.0.store.list(&query, self.now()).await?;
        entries.iter().map(|entry| read_json(&entry.key, &entry.value)).collect()
    }

    /// A function's instances at this moment.
    pub fn instances(&self, app: &AppName, function: &FunctionName) -> Instances {
        let directory = &self.0.directory;
        let mut instances =
            directory.snapshot().target(app, function).map_or_else(Instances::default, |target| Instances {
                preloaded: self.0.runtime.is_preloaded(&target.pool.spec),
                ..target.pool.count()
            });
        instances.draining += directory.draining(app, function);
        instances
    }
}

/// What the store has of an app before a deploy, and what must still be so when that is written.
struct Former {
    expect: Expect,
    deployment: Option<Deployment>,
}

impl Former {
    async fn read(inner: &Inner, app: &AppName) -> Result<Self, StoreError> {
        let Some(entry) = inner.store.get(&Space::apps(), app.as_str(), inner.now()).await? else {
            return Ok(Self { expect: Expect::Absent, deployment: None });
        };
        let deployment = Some(read_json(&entry.key, &entry.value)?);
        Ok(Self { expect: Expect::Revision(entry.revision), deployment })
    }
}

/// The app's document, if it is still as expected, the same as one of all there ever were, and one for each new revision.
fn documents(next: &Deployment, changed: &[FunctionName], expect: Expect) -> Vec<Write> {
    let app = next.manifest.app.clone();
    let document =
        |space, key, value, expect| Write { space, key, value: Some(value), expires_at: None, expect };
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
    let current = document(Space::apps(), app.to_string(), json_value(next), expect);
    // What an event met that came while this was deployed is looked up here later.
    let key = Space::deployment_key(app.as_str(), next.version);
    let kept = document(Space::deployments(), key, json_value(next), Expect::Anything);
    [current, kept].into_iter().chain(revisions).collect()
}

/// A warning for each circle of functions that the manifest tells of, unless it says that they are meant.
fn circles(manifest: &Manifest) -> Result<Vec<String>, DeployError> {
    let found = || declared::cycles(manifest).iter().map(ToString::to_string).collect::<Vec<_>>();
    match manifest.chains.loops {
        Loops::Allow => Ok(Vec::new()),
        Loops::Deny => match found() {
            circles if circles.is_empty() => Ok(circles),
            circles => Err(DeployError::Loops(circles)),
        },
        Loops::Warn => {
            let warning = |circle| format!("functions can lead to each other in a circle: {circle}");
            Ok(found().into_iter().map(warning).collect())
        }
    }
}

fn missing_secrets(names: &[SecretName]) -> String {
    let names: Vec<&str> = names.iter().map(SecretName::as_str).collect();
    let these = if names.len() == 1 { "secret" } else { "secrets" };
    format!("{these} {} not set; set each with `evoke secrets set NAME`", names.join(", "))
}

fn prepared(deployment: &Deployment) -> PreparedBundle {
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
fn warm_up(inner: &Inner, app: &AppName, warm: Warm) {
    let snapshot = inner.directory.snapshot();
    for (name, started) in warm {
        let Some(target) = snapshot.target(app, &name) else { continue };
        for trial in started {
            target.pool.adopt(trial);
        }
        target.pool.warm(inner);
    }
}

pub(crate) fn json_value(of: &impl Serialize) -> Value {
    let bytes = serde_json::to_vec(of).expect("documents are maps with text keys, texts and numbers");
    Value { kind: ValueKind::Json, bytes: bytes.into() }
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(key: &str, value: &Value) -> Result<T, StoreError> {
    serde_json::from_slice(&value.bytes)
        .map_err(|error| StoreError::Corrupt(format!("document {key}: {error}")))
}
