//! `evoke canary …` and `evoke rollback` as types.

use clap::{Args, Subcommand};
use evoke_core::rollout::Portion;

use super::{AppArgs, parse_portion};

/// `evoke canary …`.
#[derive(Debug, Subcommand)]
pub enum CanaryVerb {
    /// See the canary, and how it does beside the version that runs.
    Show(AppArgs),
    /// Give the canary another part of the work.
    Set {
        /// Which: 0% to 100%.
        #[arg(value_name = "PERCENT", value_parser = parse_portion)]
        weight: Portion,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Give it all: from now on it is the version that runs.
    Promote(WhichArgs),
    /// Take its work away; what it has begun it may finish.
    Abort(WhichArgs),
}

/// Which canary.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Only if the canary is this version.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<u64>,
    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}

/// `evoke rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// To which version [default: the one that ran before; with a canary, the one beside it].
    #[arg(long, value_name = "VERSION")]
    pub to: Option<u64>,
    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}
