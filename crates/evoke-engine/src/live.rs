//! Which subscriptions get events as they are accepted. One that starts in the past is not live until it has caught up
//! (`replay`): what is accepted meanwhile it finds in the log.
//!
//! Whoever accepts events holds an [`Accepting`] from before it looks up who takes them until they are in the store or are not.
//! A subscription becomes live while nobody does ([`Still`]): then every event of the log up to there was left to its
//! catching up, and each one after that is put in its queue when it is accepted. So none is lost, none doubled, and those
//! it caught up with are before the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use evoke_core::id::AppName;
use evoke_core::store::Queue;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engine::Inner;
use crate::route::{App, Snapshot};

/// The queues of subscriptions that are not live.
#[derive(Default)]
pub(crate) struct Live(RwLock<BTreeSet<Queue>>);

/// Events are being accepted. Whoever holds one does not wait for another.
pub(crate) struct Accepting<'a> {
    /// What is deployed. Looked up after who is live: what a deployment adds is known to be catching up before.
    pub snapshot: Arc<Snapshot>,
    not_live: RwLockReadGuard<'a, BTreeSet<Queue>>,
}

/// No events are being accepted. To be held for a moment only, as all apps wait.
pub(crate) struct Still<'a>(RwLockWriteGuard<'a, BTreeSet<Queue>>);

impl Inner {
    /// Before the first look at who takes an event.
    pub async fn accepting(&self) -> Accepting<'_> {
        let not_live = self.live.0.read().await;
        Accepting { snapshot: self.directory.snapshot(), not_live }
    }
}

impl Live {
    /// Waits until nobody accepts events, and keeps it so.
    pub async fn still(&self) -> Still<'_> {
        Still(self.0.write().await)
    }
}

impl Accepting<'_> {
    /// Whether deliveries go to this queue when an event is accepted.
    pub fn is_live(&self, queue: &Queue) -> bool {
        self.not_live.is_empty() || !self.not_live.contains(queue)
    }

    /// The app as it is deployed now, which decides who gets what `app` emits, however long ago the attempt began; as it was then
    /// when it is gone.
    pub fn current<'s>(&'s self, app: &'s App) -> &'s App {
        self.snapshot.apps.get(&app.deployment.manifest.app).map_or(app, Arc::as_ref)
    }
}

impl Still<'_> {
    /// It has caught up.
    pub fn goes_live(&mut self, queue: &Queue) {
        self.0.remove(queue);
    }

    /// These are all that are catching up, of this app.
    pub fn are_not_live(&mut self, app: &AppName, queues: impl IntoIterator<Item = Queue>) {
        self.0.retain(|queue| queue.app != *app);
        self.0.extend(queues);
    }
}
