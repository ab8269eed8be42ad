//! Subscriptions as one operates them: listed, paused, resumed.
//!
//! A paused subscription goes on collecting deliveries, up to a bound, and attempts none; what is under way finishes. That
//! it is paused is durable. Over the bound a delivery is not queued: its run is recorded as failed, with the reason, so that
//! what was skipped can be seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName, SubscriptionName};
use evoke_core::manifest::Subscription;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::{AttemptRecord, RunRecord, RunState};
use evoke_core::store::{Expect, ListQuery, Queue, Space, StoreError, Value, Waiting, Write};
use evoke_core::time::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::deploy::{json_value, read_json};
use crate::engine::Inner;
use crate::lifecycle::{self, Change};
use crate::replay::{self, Replay};
use crate::route::App;
use crate::{Engine, StartError};

/// A subscription and how it is doing.
#[derive(Debug, Clone)]
pub struct SubscriptionState {
    /// Whose.
    pub function: FunctionName,
    /// As it is deployed.
    pub subscription: Subscription,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// What waits; counted up to [`evoke_core::limits::Limits::paused_backlog`].
    pub waiting: Waiting,
    /// It started in the past and has not caught up.
    pub catching_up: Option<Replay>,
}

/// Why a subscription was not paused or resumed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PauseError {
    /// There is none of that name.
    #[error("function {function} of app {app} has no subscription {name}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The function.
        function: FunctionName,
        /// The subscription.
        name: SubscriptionName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the store has of a paused subscription.
#[derive(Serialize, Deserialize)]
struct Document {
    paused_at: Timestamp,
}

/// What is paused, with about how much waits there.
#[derive(Default)]
pub(crate) struct Pauses(RwLock<BTreeMap<Queue, Paused>>);

#[derive(Clone, Copy)]
struct Paused {
    at: Timestamp,
    waiting: u64,
    most: u64,
}

/// A paused subscription has as much waiting as it may.
pub(crate) struct Full {
    most: u64,
}

impl Pauses {
    pub fn contains(&self, queue: &Queue) -> bool {
        self.0.read().contains_key(queue)
    }

    fn at(&self, queue: &Queue) -> Option<Timestamp> {
        self.0.read().get(queue).map(|paused| paused.at)
    }

    /// Counts a delivery, if it is one to a paused subscription.
    pub fn admit(&self, queue: &Queue) -> Result<(), Full> {
        if !self.contains(queue) {
            return Ok(());
        }
        match self.0.write().get_mut(queue) {
            Some(paused) if paused.waiting >= paused.most => Err(Full { most: paused.most }),
            Some(paused) => {
                paused.waiting += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Full {
    /// The record of a delivery that is not made.
    pub fn skip(&self, mut run: RunRecord, now: Timestamp) -> RunRecord {
        let words = format!("the subscription is paused, and {} deliveries wait for it already", self.most);
        run.state = RunState::Failed;
        run.ended_at = Some(now);
        run.push_attempt(AttemptRecord::rejected(1, Failure::new(FailureCode::Overloaded, words), now));
        run
    }
}

impl Engine {
    /// The subscriptions of an app, by function, in the order of the manifest; `None` when it is not deployed.
    pub async fn subscriptions(&self, app: &AppName) -> Result<Option<Vec<SubscriptionState>>, StoreError> {
        let inner = &self.0;
        let Some(deployment) = self.app(app) else { return Ok(None) };
        let mut catching_up = replay::catching_up(inner, app).await?;
        let mut states = Vec::new();
        for (function, settings) in &deployment.manifest.functions {
            for on in &settings.on {
                let queue = queue(app, function, &on.name());
                let waiting = inner.store.waiting(&queue, inner.now(), inner.limits.paused_backlog).await?;
                states.push(SubscriptionState {
                    function: function.clone(),
                    subscription: on.clone(),
                    paused_at: inner.pauses.at(&queue),
                    waiting,
                    catching_up: catching_up.remove(&queue),
                });
            }
        }
        Ok(Some(states))
    }

    /// Pauses a subscription; `false` when it was paused already. What is under way finishes. Durable when it returns.
    pub async fn pause(
        &self,
        app: &AppName,
        function: &FunctionName,
        name: &SubscriptionName,
    ) -> Result<bool, PauseError> {
        let inner = &self.0;
        // Held until it is written, so that the app is not removed meanwhile.
        let _app = self.known(app, function, name)?;
        let queue = queue(app, function, name);
        if inner.pauses.contains(&queue) {
            return Ok(false);
        }
        let paused_at = inner.now();
        put(inner, &queue, Some(json_value(&Document { paused_at })), Change::paused(&queue, paused_at))
            .await?;
        reload(inner).await?;
        Ok(true)
    }

    /// Resumes a subscription; `false` when it was not paused. What waited is attempted in the order it came.
    pub async fn resume(
        &self,
        app: &AppName,
        function: &FunctionName,
        name: &SubscriptionName,
    ) -> Result<bool, PauseError> {
        let inner = &self.0;
        let queue = queue(app, function, name);
        let Some(paused_at) = inner.pauses.at(&queue) else {
            self.known(app, function, name)?;
            return Ok(false);
        };
        put(inner, &queue, None, Change::resumed(&queue, paused_at)).await?;
        reload(inner).await?;
        Ok(true)
    }

    fn known(
        &self,
        app: &AppName,
        function: &FunctionName,
        name: &SubscriptionName,
    ) -> Result<Arc<App>, PauseError> {
        let snapshot = self.0.directory.snapshot();
        let found = snapshot.find(app, function).filter(|(_, target)| target.subscription(name).is_some());
        found.map(|(app, _)| app).ok_or_else(|| PauseError::NotFound {
            app: app.clone(),
            function: function.clone(),
            name: name.clone(),
        })
    }
}

fn queue(app: &AppName, function: &FunctionName, name: &SubscriptionName) -> Queue {
    Queue { app: app.clone(), function: function.clone(), subscription: Some(name.clone()) }
}

fn key(queue: &Queue) -> String {
    let name = queue.subscription.as_ref().map_or("", SubscriptionName::as_str);
    format!("{}/{}/{name}", queue.app, queue.function)
}

fn parse(key: &str) -> Option<Queue> {
    let mut parts = key.splitn(3, '/');
    let (app, function) = (AppName::new(parts.next()?).ok()?, FunctionName::new(parts.next()?).ok()?);
    Some(queue(&app, &function, &SubscriptionName::from_text(parts.next()?)))
}

async fn put(inner: &Inner, queue: &Queue, value: Option<Value>, change: Change) -> Result<(), StoreError> {
    let (space, key) = (Space::subscriptions(), key(queue));
    let write = Write { space, key, value, expires_at: None, expect: Expect::Anything };
    lifecycle::write(inner, write, change).await
}

/// Reads what is paused.
pub(crate) async fn load(inner: &Inner) -> Result<(), StartError> {
    Ok(reload(inner).await?)
}

/// Takes over what another node pauses or resumes.
pub(crate) async fn follow(inner: Arc<Inner>, mut changes: watch::Receiver<u64>) {
    while let Some(Ok(())) = inner.ended.run_until_cancelled(changes.changed()).await {
        if let Err(error) = reload(&inner).await {
            tracing::warn!(%error, "what is paused could not be read anew");
        }
    }
}

pub(crate) async fn reload(inner: &Inner) -> Result<(), StoreError> {
    let mut paused = BTreeMap::new();
    let (mut after, limit, most) = (None, inner.limits.page, inner.limits.paused_backlog);
    loop {
        let query = ListQuery { space: Space::subscriptions(), prefix: String::new(), after, limit };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let Document { paused_at } = read_json(&entry.key, &entry.value)?;
            let Some(queue) = parse(&entry.key) else { continue };
            let waiting = inner.store.waiting(&queue, inner.now(), most).await?.pending;
            paused.insert(queue, Paused { at: paused_at, waiting, most });
        }
        match entries.last() {
            Some(last) if entries.len() == limit => after = Some(last.key.clone()),
            _ => break,
        }
    }
    let former = std::mem::replace(&mut *inner.pauses.0.write(), paused);
    let resumed = former.into_keys().filter(|queue| !inner.pauses.contains(queue));
    inner.agenda.wake(resumed, inner.now());
    Ok(())
}
