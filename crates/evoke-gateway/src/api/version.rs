//! Versions of an app: those there were, the canary, going back.

use std::collections::BTreeMap;

use evoke_core::id::{AppName, FunctionName, RevisionId};
use evoke_core::rollout::Tally;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Time, whole_ms};

/// `GET /v1/apps/{app}/versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    /// Those that are kept, the newest first.
    pub versions: Vec<Version>,
}

/// A version: what one deploy brought. It never changes; what it is, does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// What it is.
    pub state: VersionState,
    /// When it was deployed.
    pub deployed_at: Time,
    /// SHA-256 of its files' tar.
    pub bundle: String,
    /// The revision of each function.
    #[schema(value_type = BTreeMap<String, String>)]
    pub revisions: BTreeMap<FunctionName, RevisionId>,
    /// The version that it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u64>,
    /// The part of the work that it has, as a canary: `5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Until when it is taken back by itself if it fails too often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_until: Option<Time>,
    /// Why it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// It does the work, all or all but a canary's.
    Current,
    /// It does a part of the work.
    Canary,
    /// It was taken back.
    Withdrawn,
    /// It was current once.
    Former,
}

impl VersionState {
    /// The word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Canary => "canary",
            Self::Withdrawn => "withdrawn",
            Self::Former => "former",
        }
    }
}

/// Why a version was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawn {
    /// When.
    pub at: Time,
    /// By itself, because it failed too often.
    pub automatic: bool,
    /// One sentence.
    pub reason: String,
}

/// `GET /v1/apps/{app}/canary`: the next version of an app, which does a part of the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Canary {
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Its version.
    pub version: u64,
    /// The version beside it.
    pub current: u64,
    /// The part of the work that it has: `5%`.
    pub weight: String,
    /// Since when.
    pub since: Time,
    /// When it is withdrawn by itself; left out when never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Guard>,
    /// How attempts of the functions ended, by name, on the node that was asked, within the time of `rollback` (5 minutes without).
    pub functions: BTreeMap<String, Compared>,
}

/// When a version is taken back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guard {
    /// The part of a function's attempts that may fail: `5%`.
    pub errors: String,
    /// How far back attempts count.
    pub within_ms: u64,
    /// Attempts before anything is concluded.
    pub min: u32,
}

/// Two versions of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compared {
    /// That of the canary.
    pub canary: VersionTally,
    /// That of the current version.
    pub current: VersionTally,
}

/// Attempts that say something of the function: those that clients are to blame for, or the platform, are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionTally {
    /// How many.
    pub attempts: u64,
    /// How many of them failed.
    pub errors: u64,
}

/// `PUT /v1/apps/{app}/canary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryWeight {
    /// The part of the work, `0%` to `100%`.
    pub weight: String,
}

/// `POST /v1/apps/{app}/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackOrder {
    /// To which version; the one before the current unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// `DELETE /v1/apps/{app}/canary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CanaryWithdrawn {
    /// The version that has no work any more.
    pub version: u64,
    /// The version that has all of it.
    pub current: u64,
}

impl From<evoke_engine::rollout::Version> for Version {
    fn from(found: evoke_engine::rollout::Version) -> Self {
        use evoke_engine::rollout::State;
        let (state, weight, watched_until) = match found.state {
            State::Current { watched_until } => (VersionState::Current, None, watched_until),
            State::Canary { weight } => (VersionState::Canary, Some(weight.to_string()), None),
            State::Withdrawn(_) => (VersionState::Withdrawn, None, None),
            State::Former => (VersionState::Former, None, None),
        };
        let deployment = found.deployment;
        Self {
            version: deployment.version,
            state,
            deployed_at: deployment.deployed_at.into(),
            bundle: deployment.bundle,
            revisions: deployment.revisions,
            back_to: deployment.back_to,
            weight,
            watched_until: watched_until.map(Into::into),
            withdrawn: deployment.withdrawn.map(|withdrawn| Withdrawn {
                at: withdrawn.at.into(),
                automatic: withdrawn.automatic,
                reason: withdrawn.reason,
            }),
        }
    }
}

impl From<evoke_engine::rollout::Canary> for Canary {
    fn from(canary: evoke_engine::rollout::Canary) -> Self {
        let counted = |Tally { attempts, errors }| VersionTally { attempts, errors };
        let functions = canary.functions.into_iter().map(|(name, (new, old))| {
            (name.to_string(), Compared { canary: counted(new), current: counted(old) })
        });
        Self {
            app: canary.app,
            version: canary.version,
            current: canary.current,
            weight: canary.weight.to_string(),
            since: canary.since.into(),
            rollback: canary.guard.map(|guard| Guard {
                errors: guard.errors.to_string(),
                within_ms: whole_ms(guard.within),
                min: guard.min,
            }),
            functions: functions.collect(),
        }
    }
}
