//! Deploying: an app's files become revisions, checked before anything switches.

mod capacity;
mod contents;
mod current;
mod files;
mod install;
mod kept;
mod schemas;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evoke_core::chain::declared;
use evoke_core::id::{AppName, FunctionName, RevisionId};
use evoke_core::manifest::{Function, Loops, Manifest, ManifestErrors, parse};
use evoke_core::outcome::Failure;
use evoke_core::rollout::Portion;
use evoke_core::runtime::{PrepareError, Progress};
use evoke_core::secret::SecretName;
use evoke_core::store::{ListQuery, Space, StoreError, Value, ValueKind};
use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::pool::Instances;
use crate::rollout;
use crate::route::RouteTaken;
pub(crate) use capacity::too_large;
use contents::{Contents, MANIFEST};
use current::spec_of;
pub(crate) use current::{Present, follow, load, made_ready, renew, switch};
pub(crate) use files::{BundleFiles, Files};
pub(crate) use install::{Former, Place, commit, install};

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
    /// The version that it brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u64>,
    /// Why it was taken back, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

/// Why a version was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// When.
    pub at: Timestamp,
    /// By itself, because it failed too often.
    pub automatic: bool,
    /// One sentence.
    pub reason: String,
}

/// How a version is to be deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeployOrder {
    /// Beside the current one, with this part of the work.
    pub canary: Option<Portion>,
    /// Whatever the manifest says, it is not taken back by itself.
    pub unwatched: bool,
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
    /// The part of the work that it has, as a canary.
    pub canary: Option<Portion>,
    /// Until when it goes by itself if it fails too often.
    pub watched_until: Option<Timestamp>,
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
    /// There is nothing beside which it could be tried.
    #[error("app {0} has no version yet that a canary could be beside; deploy it without --canary first")]
    NothingBeside(AppName),
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
        self.deploy_telling(addressed, bundle, DeployOrder::default(), Progress::none()).await
    }

    /// Deploys the app in `bundle`: a tar (not compressed) of its files with `evoke.toml` at the top. Every changed
    /// function is loaded once before anything switches. How far it is, is told to `progress`; dropped, it stops. A canary that
    /// there is goes: what is deployed is what runs.
    pub async fn deploy_telling(
        &self,
        addressed: &AppName,
        bundle: Bytes,
        order: DeployOrder,
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
        let digest = inner.store.put_object(bundle.clone()).await?;
        let former = Former::read(inner, &manifest.app).await?;
        if let Some((version, withdrawn)) = rollout::taken_back(inner, &manifest.app, &digest).await? {
            let reason = withdrawn.reason;
            warnings.push(format!(
                "these files were version {version}, which was taken back by itself: {reason}"
            ));
        }
        let revisions =
            manifest.functions.iter().map(|(name, function)| (name.clone(), function.revision(&digest)));
        let next = Deployment {
            revisions: revisions.collect(),
            bundle: digest,
            deployed_at: inner.now(),
            version: former.next_version(),
            manifest,
            back_to: None,
            withdrawn: None,
        };
        let place = match order.canary {
            Some(weight) => Place::Canary(weight),
            None => Place::Current { watched: !order.unwatched },
        };
        let mut deployed = install(inner, next, former, bundle, place, &progress).await?;
        warnings.append(&mut deployed.warnings);
        Ok(Deployed { warnings, ..deployed })
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

pub(crate) fn json_value(of: &impl Serialize) -> Value {
    let bytes = serde_json::to_vec(of).expect("documents are maps with text keys, texts and numbers");
    Value { kind: ValueKind::Json, bytes: bytes.into() }
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(key: &str, value: &Value) -> Result<T, StoreError> {
    serde_json::from_slice(&value.bytes)
        .map_err(|error| StoreError::Corrupt(format!("document {key}: {error}")))
}
