//! Where entries of state are: each space is a set of keys of its own.

use serde::{Deserialize, Serialize};

use crate::id::AppName;

/// A named part of the key-value state. Names that start with `sys/` are Evoke's own; a function's are
/// `app/<app>/<namespace>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Space(pub String);

impl Space {
    /// Deployed apps, by name.
    pub fn apps() -> Self {
        Self("sys/apps".to_owned())
    }
    /// What was deployed, by `app/version`: see [`Space::deployment_key`].
    pub fn deployments() -> Self {
        Self("sys/deployments".to_owned())
    }
    /// The key of a deployment: they sort by version.
    pub fn deployment_key(app: &str, version: u64) -> String {
        format!("{app}/{version:016x}")
    }
    /// How far new versions are on their way, by app: who shares the work, who is watched.
    pub fn rollouts() -> Self {
        Self("sys/rollouts".to_owned())
    }
    /// Replays, by `app/replay`.
    pub fn replays() -> Self {
        Self("sys/replays".to_owned())
    }
    /// Revisions, by `app/function/revision`.
    pub fn revisions() -> Self {
        Self("sys/revisions".to_owned())
    }
    /// Answers kept for `Idempotency-Key`, by `app/function/key`.
    pub fn answers() -> Self {
        Self("sys/answers".to_owned())
    }
    /// Answers to calls that nobody waited for, by `app/run`.
    pub fn results() -> Self {
        Self("sys/results".to_owned())
    }
    /// A back end's own: who waits behind whom, where it keeps that among the entries.
    pub fn order() -> Self {
        Self("sys/order".to_owned())
    }
    /// Subscriptions that are paused, by `app/function/subscription`.
    pub fn subscriptions() -> Self {
        Self("sys/subscriptions".to_owned())
    }
    /// Secrets, sealed, by `app/name`.
    pub fn secrets() -> Self {
        Self("sys/secrets".to_owned())
    }
    /// Events that wait for their time, which their keys start with.
    pub fn later() -> Self {
        Self("sys/later".to_owned())
    }
    /// The key in [`Space::later`] of each, by `app/digest` of source and id.
    pub fn later_ids() -> Self {
        Self("sys/later-ids".to_owned())
    }
    /// How far schedules got, by `app/schedule`.
    pub fn schedules() -> Self {
        Self("sys/schedules".to_owned())
    }
    /// Hooks that are disabled, by `app/hook`.
    pub fn hooks() -> Self {
        Self("sys/hooks".to_owned())
    }

    /// Apps that are being removed, by name.
    pub fn removals() -> Self {
        Self("sys/removals".to_owned())
    }

    /// Variants that were made the only ones of their experiments, by `app/experiment/route`.
    pub fn promotions() -> Self {
        Self("sys/promotions".to_owned())
    }

    /// Waits for events, by `app/wait`.
    pub fn waits() -> Self {
        Self("sys/waits".to_owned())
    }

    /// The server's own settings, such as the hash of its token.
    pub fn server() -> Self {
        Self("sys/server".to_owned())
    }
    /// A namespace of an app's functions.
    pub fn app(app: &AppName, namespace: &str) -> Self {
        Self(format!("app/{app}/{namespace}"))
    }
    /// Whether it is a namespace of this app's functions.
    pub fn is_of(&self, app: &AppName) -> bool {
        let rest = self.0.strip_prefix("app/").and_then(|rest| rest.strip_prefix(app.as_str()));
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}
