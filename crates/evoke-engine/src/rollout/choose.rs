//! Which of two versions has a piece of work.
//!
//! What begins is given to one of them by its key: that of whoever sent it, else its own root. Everything it causes, calls
//! and events, stays with that version as long as it is there. So what works together was deployed together.

use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName};
use evoke_core::record::{Cause, RunRecord};
use evoke_core::rollout::Portion;
use evoke_core::weights::{Point, Weights};

use super::Watch;
use crate::route::{App, Snapshot, Target};

/// Which version a request asks for, where two share the work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Wish {
    /// Whichever.
    #[default]
    Any,
    /// The same as others with this key.
    SameAs(String),
    /// This one, or none.
    Version(u64),
}

/// Which part of the work a version has.
#[derive(Debug)]
pub(crate) enum Role {
    /// All, or all but its canary's.
    Current {
        /// Whether it goes if it fails too often.
        watch: Option<Watch>,
        /// Of the document that says so.
        revision: u64,
    },
    /// Some.
    Canary { weight: Portion, weights: Option<Weights> },
}

/// Somebody asked for a version that does no work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotLive {
    pub version: u64,
    /// Those that do.
    pub live: Vec<u64>,
}

impl Role {
    /// That of a canary.
    pub fn canary(weight: Portion) -> Self {
        let rest = Portion::ALL.millionths() - weight.millionths();
        // Whoever has no weight has no work.
        let weights = Weights::new([("current", rest), ("canary", weight.millionths())]).ok();
        Self::Canary { weight, weights }
    }
}

impl App {
    pub fn version(&self) -> u64 {
        self.deployment.version
    }

    /// Whether it is a canary that has what begins with this key.
    fn takes(&self, key: &str) -> bool {
        let Role::Canary { weights: Some(weights), .. } = &self.role else { return false };
        // With the version in it, or the same clients would have every canary.
        let scope = format!("{}/{}", self.deployment.manifest.app, self.version());
        weights.choose(Point::of(&scope, key.as_bytes())) == 1
    }
}

impl Snapshot {
    /// The version that work with this cause is for.
    fn version_for(&self, app: &AppName, cause: &Cause) -> Option<&Arc<App>> {
        let current = self.apps.get(app)?;
        let Some(canary) = self.canaries.get(app) else { return Some(current) };
        let is_for_canary = match cause.version {
            Some(version) if version == canary.version() => true,
            Some(version) if version == current.version() => false,
            _ => canary.takes(cause.root.as_str()),
        };
        Some(if is_for_canary { canary } else { current })
    }

    /// Who takes a call. A version calls no function that it does not have.
    pub fn callee(
        &self,
        app: &AppName,
        function: &FunctionName,
        cause: &Cause,
    ) -> Option<(Arc<App>, Arc<Target>)> {
        let found = self.version_for(app, cause)?;
        match found.functions.get(function) {
            Some(target) => Some((found.clone(), target.clone())),
            None if cause.version.is_some() => None,
            None => self.find(app, function),
        }
    }

    /// Who takes what was queued for `found`, the current version. What failed with the canary is the current one's, so that
    /// nothing is given up for a canary's sake that can be tried again. Both must have one door, whose permit is at hand.
    pub fn taker(&self, found: (Arc<App>, Arc<Target>), run: &RunRecord) -> (Arc<App>, Arc<Target>) {
        let canary = self.canaries.get(&run.app);
        let canary = canary.filter(|_| {
            self.version_for(&run.app, &run.cause).is_some_and(|app| matches!(app.role, Role::Canary { .. }))
        });
        let Some((app, target)) = canary.and_then(|app| Some((app, app.functions.get(&run.function)?)))
        else {
            return found;
        };
        let has_failed = run.attempts.last().is_some_and(|last| {
            last.revision.as_ref() == Some(&target.pool.spec.revision) && !last.outcome.is_completed()
        });
        let subscribed = run.subscription.as_ref().is_none_or(|name| target.subscription(name).is_some());
        match !has_failed && subscribed && Arc::ptr_eq(&target.door, &found.1.door) {
            true => (app.clone(), target.clone()),
            false => found,
        }
    }

    /// The version that what begins with `key` stays with; `None` when there is only one.
    pub fn assign(&self, app: &AppName, wish: &Wish, key: &str) -> Result<Option<u64>, NotLive> {
        let live = || self.both(app).map(|app| app.version()).collect::<Vec<_>>();
        if let Wish::Version(version) = *wish {
            let live = live();
            return if live.contains(&version) { Ok(Some(version)) } else { Err(NotLive { version, live }) };
        }
        let (Some(current), Some(canary)) = (self.apps.get(app), self.canaries.get(app)) else {
            return Ok(None);
        };
        let key = if let Wish::SameAs(key) = wish { key } else { key };
        Ok(Some(if canary.takes(key) { canary.version() } else { current.version() }))
    }

    /// The version that what `app` causes stays with, while there are two.
    pub fn pin(&self, app: &App) -> Option<u64> {
        self.canaries.get(&app.deployment.manifest.app).map(|_| app.version())
    }

    /// Whether the function is served by `target` still.
    pub fn is_live(&self, app: &AppName, target: &Arc<Target>) -> bool {
        let mut now = self.both(app).filter_map(|app| app.functions.get(&target.name));
        now.any(|now| Arc::ptr_eq(&now.pool, &target.pool))
    }
}
