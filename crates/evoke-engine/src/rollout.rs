//! Versions of an app: which of two has a piece of work, how the new one takes over, and the way back.
//!
//! A deploy is a version, and versions are numbered; a version never changes. One is *current*: its routes, subscriptions and
//! schedules count. Beside it there may be one *canary*, the next version, whose functions do a part of the work
//! (`choose`) until it is promoted or withdrawn (`change`). An earlier version comes back as a new one that is like it
//! (`back`), so that the history only grows. Who fails too often is taken back by itself (`watch`).
//!
//! What is on its way is one document per app (`document`), written in the transaction of whatever changes it. So after
//! the end of a server at any moment it is either as before or as after. `docs/decisions/0032` says why it is so.

mod back;
mod change;
mod choose;
mod document;
mod versions;
mod watch;

use std::collections::BTreeMap;

use evoke_core::id::{AppName, FunctionName};
use evoke_core::rollout::{Guard, Portion, Tally};
use evoke_core::store::StoreError;
use evoke_core::time::Timestamp;

use crate::deploy::DeployError;
pub(crate) use choose::{NotLive, Role};
pub(crate) use document::{Beside, Rollout, Watch, withdrawal};
pub(crate) use versions::{former, read as version, taken_back};
pub(crate) use watch::{Acting, attempted, over};

pub use change::Withdrawal;
pub use choose::Wish;
pub use versions::{State, Version};

/// A canary, with what is counted of both versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// The app.
    pub app: AppName,
    /// Its version.
    pub version: u64,
    /// The version beside it.
    pub current: u64,
    /// The part of the work it has.
    pub weight: Portion,
    /// When it was deployed.
    pub since: Timestamp,
    /// When it is withdrawn by itself, unless never.
    pub guard: Option<Guard>,
    /// Of each function that differs, how attempts ended within the time of the rule: of the canary, of the current version.
    pub functions: BTreeMap<FunctionName, (Tally, Tally)>,
}

/// Why versions stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// There is no such app.
    #[error("there is no app {app}")]
    NotFound {
        /// The name.
        app: AppName,
    },
    /// There is no canary.
    #[error("app {app} has no canary; `evoke deploy --canary 5%` starts one")]
    NoCanary {
        /// The app.
        app: AppName,
    },
    /// It is not the canary that was meant.
    #[error("app {app}: version {asked} is not its canary, version {found} is")]
    OtherCanary {
        /// The app.
        app: AppName,
        /// Which was meant.
        asked: u64,
        /// Which it is.
        found: u64,
    },
    /// No such version is kept.
    #[error("app {app} has no version {version} that is kept; `evoke versions` lists those there are")]
    NoVersion {
        /// The app.
        app: AppName,
        /// The number.
        version: u64,
    },
    /// There is nothing to go back to.
    #[error(
        "app {app} has no version before {version} to go back to; `evoke versions` lists those there are"
    )]
    NothingBefore {
        /// The app.
        app: AppName,
        /// The current one, or the one it brought back.
        version: u64,
    },
    /// It is current already.
    #[error("version {version} of app {app} is the current one")]
    IsCurrent {
        /// The app.
        app: AppName,
        /// The number.
        version: u64,
    },
    /// The version cannot be deployed now.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
