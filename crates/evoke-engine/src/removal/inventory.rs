//! What an app has, as one wants to know before it goes.

use evoke_core::holdings::Holdings;
use evoke_core::id::AppName;
use evoke_core::store::{ListQuery, Space, StoreError};

use crate::deploy::Deployment;
use crate::engine::Inner;

/// All of it, counted at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Of the deployment that is current.
    pub version: u64,
    /// Functions, without hooks.
    pub functions: usize,
    /// Routes, webhooks and beacons.
    pub routes: usize,
    /// Subscriptions, those of hooks too.
    pub subscriptions: usize,
    /// Schedules.
    pub schedules: usize,
    /// Outbound hooks.
    pub hooks: usize,
    /// Deployments that are remembered.
    pub deployments: usize,
    /// Secrets.
    pub secrets: usize,
    /// Waits for events.
    pub waits: usize,
    /// Events that wait for their time.
    pub delayed: usize,
    /// Events, runs, log lines, state.
    pub holdings: Holdings,
}

impl Inventory {
    /// Whether there is work that was accepted and is not done: queued invocations, events that wait for their time, waits.
    pub fn is_busy(&self) -> bool {
        self.holdings.pending > 0 || self.waits > 0 || self.delayed > 0
    }

    /// What of it makes it busy, in words.
    pub fn pending_words(&self) -> String {
        let parts = [
            (
                self.holdings.pending,
                "invocation that is queued or running",
                "invocations that are queued or running",
            ),
            (self.delayed as u64, "event that waits for its time", "events that wait for their time"),
            (self.waits as u64, "wait for an event", "waits for events"),
        ];
        let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
        let parts =
            parts.map(|(count, one, more)| format!("{count} {}", if count == 1 { one } else { more }));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Counts it.
pub(super) async fn of(inner: &Inner, deployment: &Deployment) -> Result<Inventory, StoreError> {
    let manifest = &deployment.manifest;
    let hooks = manifest.hooks().count();
    Ok(Inventory {
        version: deployment.version,
        functions: manifest.functions.len() - hooks,
        routes: manifest.routes.len() + manifest.webhooks.len() + manifest.beacons.len(),
        subscriptions: manifest.functions.values().map(|function| function.on.len()).sum(),
        schedules: manifest.schedules.len(),
        hooks,
        deployments: count(inner, Space::deployments(), &manifest.app).await?,
        secrets: count(inner, Space::secrets(), &manifest.app).await?,
        waits: count(inner, Space::waits(), &manifest.app).await?,
        delayed: count(inner, Space::later_ids(), &manifest.app).await?,
        holdings: inner.store.holdings(&manifest.app).await?,
    })
}

/// The documents of an app in one of Evoke's own spaces.
async fn count(inner: &Inner, space: Space, app: &AppName) -> Result<usize, StoreError> {
    let limit = inner.limits.page;
    let mut query = ListQuery { space, prefix: format!("{app}/"), after: None, limit };
    let mut count = 0;
    loop {
        let entries = inner.store.list(&query, inner.now()).await?;
        count += entries.len();
        match entries.last() {
            Some(last) if entries.len() == limit => query.after = Some(last.key.clone()),
            _ => return Ok(count),
        }
    }
}
