//! `evoke routes`: what was answered on routes, and the end of an experiment.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AppArgs;

/// `evoke routes …`.
#[derive(Debug, Subcommand)]
pub enum RoutesVerb {
    /// List routes, with the experiments on their way.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show how much was answered on routes, how fast, and how the variants of experiments compare.
    Stats {
        /// Only this route, with more of it: its name, or its path.
        route: Option<String>,
        /// Minutes of the window, 1 to 15; the one that has begun comes on top.
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=15))]
        minutes: u64,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Make a variant the only one of its experiment on a route, at once, and print the change of evoke.toml that says the same.
    Promote(PromoteArgs),
    /// Undo a promotion: the experiment goes on with its weights.
    Demote {
        /// The route: its name, or its path.
        route: String,
        /// The experiment, where variants of several are promoted.
        #[arg(long, value_name = "NAME")]
        experiment: Option<String>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke routes promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// The route: its name, or its path.
    pub route: String,
    /// The variant, or EXPERIMENT/VARIANT.
    pub variant: String,
    /// Change evoke.toml, and print what was changed.
    #[arg(long, conflicts_with = "dry_run")]
    pub apply: bool,
    /// Only print the change, and promote nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The app's folder [default: that of the nearest evoke.toml].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}
