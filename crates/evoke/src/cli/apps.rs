//! `evoke apps …` as types.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ServerArgs, parse_duration};

/// `evoke apps …`.
#[derive(Debug, Subcommand)]
pub enum AppsVerb {
    /// List the apps that are deployed.
    Ls {
        /// Where the server is.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remove an app with all it has: functions, events, runs, logs, state, secrets. A new app of its name begins empty.
    Rm(RmArgs),
}

/// How an app is removed.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Its name.
    pub name: String,
    /// Show what would go, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask first.
    #[arg(long, short)]
    pub yes: bool,
    /// Also when work is pending; it is dropped: queued invocations, events that wait for their time, waits.
    #[arg(long)]
    pub drop_pending: bool,
    /// How long what is under way may take to finish before it is ended: 30s unless it is said.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub grace: Option<Duration>,
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerArgs,
}
