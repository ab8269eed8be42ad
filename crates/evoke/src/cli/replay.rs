//! `evoke events replay` and `evoke replays`.

use std::time::Duration;

use clap::{Args, Subcommand};
use evoke_core::manifest::units;
use evoke_core::time::Timestamp;

use super::AppArgs;

/// `evoke events replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The function and the subscription, as `evoke subscriptions ls` has them.
    #[arg(value_name = "FUNCTION/NAME")]
    pub subscription: String,

    /// From this time on, such as 2026-12-24T18:00:00Z; from so long ago, such as 2h; or all that is kept: earliest.
    #[arg(long, value_name = "TIME|AGO|earliest", value_parser = Moment::parse, required_unless_present = "from_id")]
    pub from: Option<Moment>,

    /// Only what was accepted before this time, or longer ago than this.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub to: Option<Moment>,

    /// From the event with this id on.
    #[arg(long, value_name = "ID", conflicts_with = "from")]
    pub from_id: Option<String>,

    /// Up to the event with this id, included.
    #[arg(long, value_name = "ID", conflicts_with = "to")]
    pub to_id: Option<String>,

    /// Only events of this type, or of types that begin so: order.*
    #[arg(long = "type", value_name = "TYPE")]
    pub ty: Option<String>,

    /// Only events for which this CESQL expression is true; the subscription's own filters hold as ever.
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: Option<String>,

    /// Show what would be delivered, and deliver nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The beginning of what is kept.
    Earliest,
    /// That time.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl Moment {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "earliest" { Ok(Self::Earliest) } else { Self::parse_end(text) }
    }

    /// A time, or a duration.
    pub fn parse_end(text: &str) -> Result<Self, String> {
        if let Some(at) = Timestamp::parse_rfc3339(text) {
            return Ok(Self::At(at));
        }
        let ago = units::parse_duration(text);
        ago.map(Self::Ago).map_err(|_| {
            "it is neither a time, such as 2026-12-24T18:00:00Z, nor how long ago it was, such as 2h"
                .to_owned()
        })
    }

    /// The time; `None` for the beginning of what is kept.
    pub fn time(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Earliest => None,
            Self::At(at) => Some(at),
            Self::Ago(ago) => Some(now.before(ago)),
        }
    }
}

/// `evoke replays …`.
#[derive(Debug, Subcommand)]
pub enum ReplaysVerb {
    /// List replays under way, and those that ended lately, newest first.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show how far a replay is.
    #[command(visible_alias = "show")]
    Get {
        /// Its id.
        id: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// End a replay: what it has put in the queue stays there, and no more comes.
    Cancel {
        /// Its id.
        id: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}
