//! Hooks as one operates them: how they are doing, which are disabled and why, and enabling one.
//!
//! An endpoint that answers 410 wants no more. Its hook is then disabled, durably: nothing is sent there any more, and what
//! was or is queued for it becomes a dead letter that says so, to be redriven once the hook is enabled. What is disabled is
//! a hook *at a URL*: deployed with another URL it is enabled.

mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::hook::{Hook, HookUrl};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{AttemptRecord, RunState};
use evoke_core::store::{Expect, ListQuery, RunQuery, Space, StoreError, Value, Write};
use evoke_core::time::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::deploy::{json_value, read_json};
use crate::engine::Inner;
use crate::lifecycle::{self, Change};
use crate::route::Target;
use crate::{Engine, StartError};

pub use trial::{TrialError, Tried};

/// Deliveries that [`Recent`] is about.
pub const RECENT: usize = 100;

/// A hook and how it is doing.
#[derive(Debug, Clone)]
pub struct HookState {
    /// Its name.
    pub name: FunctionName,
    /// As it is deployed.
    pub hook: Hook,
    /// Why nothing is sent, if that is so.
    pub disabled: Option<Disabled>,
    /// The newest deliveries.
    pub recent: Recent,
}

/// Why a hook is disabled, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// When the answer came.
    pub at: Timestamp,
    /// The endpoint that gave it.
    pub url: HookUrl,
    /// What it said, as a sentence.
    pub reason: String,
    /// The delivery it was the answer to.
    pub run: RunId,
}

/// What became of the newest [`RECENT`] deliveries of a hook.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Delivered.
    pub delivered: usize,
    /// Not yet, and tried again.
    pub waiting: usize,
    /// Given up.
    pub failed: usize,
    /// The attempt that ended last.
    pub last: Option<AttemptRecord>,
}

/// Why a hook was not enabled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HookError {
    /// There is none of that name.
    #[error("app {app} has no hook {name}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The name.
        name: FunctionName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Key = (AppName, FunctionName);

/// What is disabled.
#[derive(Default)]
pub(crate) struct Hooks(RwLock<BTreeMap<Key, Disabled>>);

impl Hooks {
    fn disabled(&self, app: &AppName, name: &FunctionName, hook: &Hook) -> Option<Disabled> {
        let disabled = self.0.read();
        disabled.get(&(app.clone(), name.clone())).filter(|found| found.url == hook.url).cloned()
    }

    /// Why a delivery to `target` is not attempted, if it is a hook that is disabled.
    pub fn refuses(&self, target: &Target) -> Option<Outcome> {
        let Disabled { at, reason, .. } =
            self.disabled(&target.app, &target.name, target.settings.hook.as_ref()?)?;
        let name = &target.name;
        let words = format!(
            "hook {name} is disabled since {at}: {reason}; `evoke hooks enable {name}` and redrive, or deploy another url"
        );
        Some(Outcome::Rejected(Failure::new(FailureCode::Disabled, words)))
    }
}

impl Engine {
    /// The hooks of an app, by name; `None` when it is not deployed.
    pub async fn hooks(&self, app: &AppName) -> Result<Option<Vec<HookState>>, StoreError> {
        let Some(deployment) = self.app(app) else { return Ok(None) };
        let mut states = Vec::new();
        for (name, _, hook) in deployment.manifest.hooks() {
            states.push(HookState {
                name: name.clone(),
                hook: hook.clone(),
                disabled: self.0.hooks.disabled(app, name, hook),
                recent: recent(&self.0, app, name).await?,
            });
        }
        Ok(Some(states))
    }

    /// Enables a hook; `false` when it was not disabled. Durable when it returns.
    pub async fn enable_hook(&self, app: &AppName, name: &FunctionName) -> Result<bool, HookError> {
        let inner = &self.0;
        let snapshot = inner.directory.snapshot();
        let found =
            snapshot.target(app, name).and_then(|target| Some((target, target.settings.hook.as_ref()?)));
        let (target, hook) =
            found.ok_or_else(|| HookError::NotFound { app: app.clone(), name: name.clone() })?;
        let Some(Disabled { at, .. }) = inner.hooks.disabled(app, name, hook) else { return Ok(false) };
        put(inner, target, None, Change::enabled(target, at)).await?;
        reload(inner).await?;
        Ok(true)
    }
}

/// Disables the hook that `target` is, if its endpoint has just said that it is gone. Durable when it returns, unless the
/// store fails: then the endpoint will say so again.
pub(crate) async fn heed(inner: &Inner, target: &Target, run: &RunId, outcome: &Outcome) {
    let (Some(hook), Outcome::Failed(failure)) = (&target.settings.hook, outcome) else { return };
    if failure.code != FailureCode::Gone {
        return;
    }
    let (app, name) = (&target.app, &target.name);
    let (at, reason) = (inner.now(), failure.message.clone());
    let disabled = Disabled { at, url: hook.url.clone(), reason, run: run.clone() };
    tracing::warn!(%app, hook = %name, reason = disabled.reason, "the hook is disabled");
    let change = Change::disabled(target, run, &disabled.reason, at);
    if let Err(error) = put(inner, target, Some(json_value(&disabled)), change).await {
        tracing::warn!(%error, %app, hook = %name, "that the hook is disabled could not be kept");
        return;
    }
    inner.hooks.0.write().insert((app.clone(), name.clone()), disabled);
}

async fn recent(inner: &Inner, app: &AppName, name: &FunctionName) -> Result<Recent, StoreError> {
    let query = RunQuery {
        app: Some(app.clone()),
        function: Some(name.clone()),
        limit: RECENT,
        ..RunQuery::default()
    };
    let mut recent = Recent::default();
    for mut run in inner.store.runs(&query).await? {
        match run.state {
            RunState::Completed => recent.delivered += 1,
            RunState::Failed | RunState::DeadLettered => recent.failed += 1,
            _ => recent.waiting += 1,
        }
        let newer =
            |last: &AttemptRecord| last.ended_at < run.attempts.last().map_or(Timestamp(0), |a| a.ended_at);
        if recent.last.as_ref().is_none_or(newer) {
            recent.last = run.attempts.pop().or(recent.last);
        }
    }
    Ok(recent)
}

fn key(app: &AppName, name: &FunctionName) -> String {
    format!("{app}/{name}")
}

fn parse(key: &str) -> Option<Key> {
    let (app, name) = key.split_once('/')?;
    Some((AppName::new(app).ok()?, FunctionName::new(name).ok()?))
}

async fn put(inner: &Inner, target: &Target, value: Option<Value>, change: Change) -> Result<(), StoreError> {
    let (space, key) = (Space::hooks(), key(&target.app, &target.name));
    let write = Write { space, key, value, expires_at: None, expect: Expect::Anything };
    lifecycle::write(inner, write, change).await
}

/// Reads what is disabled.
pub(crate) async fn load(inner: &Inner) -> Result<(), StartError> {
    Ok(reload(inner).await?)
}

/// Takes over what another node disables or enables.
pub(crate) async fn follow(inner: Arc<Inner>, mut changes: watch::Receiver<u64>) {
    while let Some(Ok(())) = inner.ended.run_until_cancelled(changes.changed()).await {
        if let Err(error) = reload(&inner).await {
            tracing::warn!(%error, "which hooks are disabled could not be read anew");
        }
    }
}

pub(crate) async fn reload(inner: &Inner) -> Result<(), StoreError> {
    let mut disabled = BTreeMap::new();
    let (mut after, limit) = (None, inner.limits.page);
    loop {
        let query = ListQuery { space: Space::hooks(), prefix: String::new(), after, limit };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let Some(key) = parse(&entry.key) else { continue };
            disabled.insert(key, read_json(&entry.key, &entry.value)?);
        }
        match entries.last() {
            Some(last) if entries.len() == limit => after = Some(last.key.clone()),
            _ => break,
        }
    }
    *inner.hooks.0.write() = disabled;
    Ok(())
}
