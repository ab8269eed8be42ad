//! `evoke runs`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{AppArgs, HowArgs, Moment, PageArgs, parse_duration};

/// `evoke runs …`.
#[derive(Debug, Subcommand)]
pub enum RunsVerb {
    /// List runs, newest first.
    Ls {
        /// Only of this function.
        #[arg(long, value_name = "FUNCTION")]
        function: Option<String>,
        /// Only in this state.
        #[arg(long, value_enum)]
        state: Option<State>,
        /// How many.
        #[command(flatten)]
        page: PageArgs,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show one run: its attempts, and the tree of everything it caused.
    Get {
        /// Its id.
        id: String,
        /// Wait for its end, as long as this.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        wait: Option<Duration>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Print what the function answered to a call that was made later.
    Result {
        /// Its id.
        id: String,
        /// Wait for its end, as long as this.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        wait: Option<Duration>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Cancel runs: what waits never starts, what is being attempted is ended with all it has called.
    Cancel(CancelArgs),
}

/// `evoke runs cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The runs; without any, all that have not ended and that the options take.
    pub runs: Vec<String>,
    /// Which.
    #[command(flatten)]
    pub of: PendingArgs,
    /// Why, for their records.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not tell their `on_failure`.
    #[arg(long)]
    pub silent: bool,
    /// How many, and whether at all.
    #[command(flatten)]
    pub how: HowArgs,
    /// Do not ask first.
    #[arg(long, short)]
    pub yes: bool,
    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}

/// Which runs that have not ended.
#[derive(Debug, Default, Args)]
pub struct PendingArgs {
    /// All of the app, if no other option narrows them down.
    #[arg(long)]
    pub all: bool,
    /// Only of this function.
    #[arg(long, value_name = "FUNCTION")]
    pub function: Option<String>,
    /// Only deliveries of this subscription of it, by its name.
    #[arg(long, value_name = "NAME", requires = "function")]
    pub subscription: Option<String>,
    /// Only those that wait, or only those that are being attempted.
    #[arg(long, value_enum)]
    pub state: Option<Pending>,
    /// Only those that go back to this start, as `evoke runs get --json` has it.
    #[arg(long, value_name = "ROOT")]
    pub root: Option<String>,
    /// Only those accepted at this time or later, or not longer ago than this: 2h.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub since: Option<Moment>,
    /// Only those accepted before this time, or longer ago than this.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub until: Option<Moment>,
}

impl PendingArgs {
    /// Whether it says nothing.
    pub fn is_none(&self) -> bool {
        let Self { all, function, subscription, state, root, since, until } = self;
        let texts = [function, subscription, root];
        !all && texts.iter().all(|text| text.is_none())
            && state.is_none()
            && since.is_none()
            && until.is_none()
    }
}

/// States of a run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Pending {
    /// Accepted, waiting for an attempt.
    Queued,
    /// An attempt is being made.
    Running,
}

/// States of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum State {
    /// Accepted, waiting for an attempt.
    Queued,
    /// An attempt is being made.
    Running,
    /// The handler answered.
    Completed,
    /// A call failed; nobody will try again.
    Failed,
    /// Given up after its last attempt.
    DeadLettered,
}
