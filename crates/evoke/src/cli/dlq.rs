//! `evoke dlq`.

use clap::{Args, Subcommand};

use super::{AppArgs, Moment, PageArgs};

/// `evoke dlq …`.
#[derive(Debug, Subcommand)]
pub enum DlqVerb {
    /// List dead letters with their reasons, newest first.
    Ls {
        /// Which.
        #[command(flatten)]
        of: DeadLetterArgs,
        /// How many.
        #[command(flatten)]
        page: PageArgs,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Try dead letters again, with a fresh count of attempts.
    Redrive {
        /// The runs; without any, all dead letters of the app that the options take.
        runs: Vec<String>,
        /// Which.
        #[command(flatten)]
        of: DeadLetterArgs,
        /// How many, and whether at all.
        #[command(flatten)]
        how: HowArgs,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Let dead letters go: what they were to be given is deleted, their runs stay and say so.
    Purge {
        /// The runs; without any, all dead letters of the app that the options take.
        runs: Vec<String>,
        /// Which.
        #[command(flatten)]
        of: DeadLetterArgs,
        /// How many, and whether at all.
        #[command(flatten)]
        how: HowArgs,
        /// Do not ask first.
        #[arg(long, short)]
        yes: bool,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// Which dead letters.
#[derive(Debug, Default, Args)]
pub struct DeadLetterArgs {
    /// Only of this function.
    #[arg(long, value_name = "FUNCTION")]
    pub function: Option<String>,
    /// Only of this subscription of it, by its name.
    #[arg(long, value_name = "NAME", requires = "function")]
    pub subscription: Option<String>,
    /// Only those whose last attempt ended like this: crashed, `timed_out`, `function_error`.
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Only those given up at this time or later, or not longer ago than this: 2h.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub since: Option<Moment>,
    /// Only those given up before this time, or longer ago than this.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub until: Option<Moment>,
    /// Only events of this type, or of types that begin so: order.*
    #[arg(long = "type", value_name = "TYPE")]
    pub ty: Option<String>,
    /// Only events for which this CESQL expression is true.
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: Option<String>,
}

/// How many are dealt with, and whether any are.
#[derive(Debug, Args)]
pub struct HowArgs {
    /// At most so many, the newest first.
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<usize>,
    /// Show which it would be, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

impl DeadLetterArgs {
    /// Whether it takes all.
    pub fn is_all(&self) -> bool {
        let Self { function, subscription, code, since, until, ty, filter } = self;
        let texts = [function, subscription, code, ty, filter];
        texts.iter().all(|text| text.is_none()) && since.is_none() && until.is_none()
    }
}
