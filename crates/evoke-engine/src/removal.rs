//! Removing an app, with all it has.
//!
//! One transaction takes the deployment away and writes a document in `sys/removals`: from then on nobody finds the app, and
//! the removal goes on until it is done, whatever ends the server in between. What is under way may finish for a grace and is
//! ended then; only when nobody works with the app any more its things are taken away (`carry_out`). The last transaction takes
//! the document away and tells the other apps; until then nothing can be deployed under the name.

mod carry_out;
mod inventory;

use std::collections::BTreeMap;
use std::time::Duration;

use evoke_core::holdings::Holdings;
use evoke_core::id::AppName;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::store::{Expect, SettleError, Space, StoreError, Write};
use evoke_core::time::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Engine;
use crate::deploy::json_value;
use crate::engine::Inner;
pub(crate) use carry_out::resume;
pub use inventory::Inventory;

/// How an app is to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovalOrder {
    /// Also when work is pending: it is dropped.
    pub drop_pending: bool,
    /// How long what is under way may take to finish; [`evoke_core::limits::Limits::removal_grace`] unless it is said.
    pub grace: Option<Duration>,
}

/// A removal that has begun.
#[derive(Debug, Clone)]
pub struct Removal {
    /// What the app had; `None` when somebody else began to remove it.
    pub inventory: Option<Inventory>,
    over: CancellationToken,
}

/// Why an app is not removed. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemovalError {
    /// There is none of that name.
    #[error("there is no app {app}")]
    NotFound {
        /// The name.
        app: AppName,
    },
    /// It has work to do.
    #[error(
        "app {app} has work pending: {}; let it be done, or drop it with the app (--drop-pending)",
        .inventory.pending_words()
    )]
    Pending {
        /// The app.
        app: AppName,
        /// What it has.
        inventory: Box<Inventory>,
    },
    /// Somebody deployed it at the same moment.
    #[error("app {app} was deployed by somebody else at the same moment; nothing was removed")]
    Concurrent {
        /// The app.
        app: AppName,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the store has of a removal under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Document {
    pub app: AppName,
    /// Of the deployment that was the last.
    pub version: u64,
    pub asked_at: Timestamp,
    /// What there was then.
    pub held: Holdings,
}

/// The removals under way, each with what says that it is over.
#[derive(Default)]
pub(crate) struct Removals(Mutex<BTreeMap<AppName, CancellationToken>>);

/// The life of an app, from when it was deployed first: all its deployments share it.
#[derive(Clone)]
pub(crate) struct Life {
    /// End what is under way.
    pub ending: CancellationToken,
    here: TaskTracker,
}

impl Life {
    /// Of an app that ends with `ending` at the latest.
    pub fn new(ending: &CancellationToken) -> Self {
        Self { ending: ending.child_token(), here: TaskTracker::new() }
    }

    /// Held by whoever may still do something in the name of the app.
    pub fn token(&self) -> TaskTrackerToken {
        self.here.token()
    }
}

impl Removals {
    /// Whether the app is being removed.
    pub fn contains(&self, app: &AppName) -> bool {
        self.0.lock().contains_key(app)
    }

    fn under_way(&self, app: &AppName) -> Option<CancellationToken> {
        self.0.lock().get(app).cloned()
    }

    fn add(&self, app: &AppName) -> CancellationToken {
        self.0.lock().entry(app.clone()).or_default().clone()
    }

    fn end(&self, app: &AppName) {
        if let Some(over) = self.0.lock().remove(app) {
            over.cancel();
        }
    }
}

impl Engine {
    /// What an app has; `None` when it is not deployed.
    pub async fn inventory(&self, app: &AppName) -> Result<Option<Inventory>, StoreError> {
        let Some(found) = self.app(app) else { return Ok(None) };
        Ok(Some(inventory::of(&self.0, &found).await?))
    }

    /// Begins to remove an app: when this returns, that is durable, and nobody finds the app any more. One that is being removed
    /// already is not an error.
    pub async fn remove_app(&self, app: &AppName, order: RemovalOrder) -> Result<Removal, RemovalError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(RemovalError::Draining)?;
        let entry = inner.store.get(&Space::apps(), app.as_str(), inner.now()).await?;
        let (Some(entry), Some(deployment)) = (entry, self.app(app)) else {
            let over = inner.removals.under_way(app);
            let over = over.ok_or_else(|| RemovalError::NotFound { app: app.clone() })?;
            return Ok(Removal { inventory: None, over });
        };
        let inventory = inventory::of(inner, &deployment).await?;
        if inventory.is_busy() && !order.drop_pending {
            return Err(RemovalError::Pending { app: app.clone(), inventory: Box::new(inventory) });
        }
        let document = Document {
            app: app.clone(),
            version: deployment.version,
            asked_at: inner.now(),
            held: inventory.holdings,
        };
        let turn = inner.directory.changing.lock().await;
        let over = inner.removals.add(app);
        if let Err(error) = begin(inner, &document, Expect::Revision(entry.revision)).await {
            inner.removals.end(app);
            return Err(error);
        }
        let life = inner.directory.remove(app);
        drop(turn);
        let grace = order.grace.unwrap_or(inner.limits.removal_grace);
        tracing::info!(%app, version = document.version, "the app is being removed");
        carry_out::start(inner, document, life, grace);
        Ok(Removal { inventory: Some(inventory), over })
    }

    /// Waits until the app is gone. `false` when the server ends before: the next one goes on.
    pub async fn removed(&self, removal: &Removal) -> bool {
        self.0.stopping.run_until_cancelled(removal.over.cancelled()).await.is_some()
    }
}

/// The transaction that takes the deployment away.
async fn begin(inner: &Inner, document: &Document, expect: Expect) -> Result<(), RemovalError> {
    let app = &document.app;
    let write = |space, value, expect| Write { space, key: app.to_string(), value, expires_at: None, expect };
    let writes = vec![
        write(Space::apps(), None, expect),
        write(Space::rollouts(), None, Expect::Anything),
        write(Space::removals(), Some(json_value(document)), Expect::Anything),
    ];
    match inner.store.write(writes, inner.now()).await {
        Ok(_) => Ok(()),
        // It may have happened: what the store has now says so.
        Err(SettleError::Store(error @ StoreError::Outcome(_))) => {
            let found = inner.store.get(&Space::removals(), app.as_str(), inner.now()).await?;
            found.map(drop).ok_or(RemovalError::Store(error))
        }
        Err(SettleError::Store(error)) => Err(error.into()),
        Err(_) => Err(RemovalError::Concurrent { app: app.clone() }),
    }
}

/// The failure of an attempt that the removal of its app cut short.
pub(crate) fn cut_short(app: &AppName) -> Failure {
    let words = format!("app {app} was removed before it was done");
    Failure::new(FailureCode::NotDeployed, words)
}
