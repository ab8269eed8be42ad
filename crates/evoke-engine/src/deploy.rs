//! Deploying: an app's files become revisions, checked before anything switches.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evoke_core::id::{AppName, FunctionName, RevisionId};
use evoke_core::manifest::Manifest;
use evoke_core::manifest::resolve::ManifestErrors;
use evoke_core::outcome::Failure;
use evoke_core::runtime::PrepareError;
use evoke_core::store::StoreError;
use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Engine;

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
    pub settings: evoke_core::manifest::Function,
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
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Deploys the app in `bundle`: a tar (not compressed) of its files with `evoke.toml` at the top. Every changed
    /// function is loaded once before anything switches.
    pub async fn deploy(&self, _addressed: &AppName, _bundle: Bytes) -> Result<Deployed, DeployError> {
        todo!()
    }

    /// All apps, by name.
    pub fn apps(&self) -> Vec<Arc<Deployment>> {
        todo!()
    }

    /// One app.
    pub fn app(&self, _name: &AppName) -> Option<Arc<Deployment>> {
        todo!()
    }

    /// A function's revisions, newest first.
    pub async fn revisions(&self, _app: &AppName, _function: &FunctionName) -> Result<Vec<Revision>, StoreError> {
        todo!()
    }

    /// Live instances of a function: (busy, idle).
    pub fn instances(&self, _app: &AppName, _function: &FunctionName) -> (usize, usize) {
        todo!()
    }
}
