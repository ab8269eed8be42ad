//! Publishing events, and looking at those that were accepted, as types.

use std::time::Duration;

use clap::{Args, Subcommand};
use evoke_core::time::Timestamp;

use super::{AppArgs, Moment, PageArgs, ReplayArgs, parse_duration, parse_time};

/// Which events.
#[derive(Debug, Args)]
pub struct EventArgs {
    /// Only of this type, or of types that begin so: order.*
    #[arg(long = "type", value_name = "TYPE")]
    pub ty: Option<String>,
    /// Only of this source.
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Only with this subject.
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// Only those accepted at this time or later, or not longer ago than this: 2h.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub since: Option<Moment>,
    /// Only those accepted before this time, or longer ago than this.
    #[arg(long, value_name = "TIME|AGO", value_parser = Moment::parse_end)]
    pub until: Option<Moment>,
    /// Only those for which this CESQL expression is true.
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: Option<String>,
}

/// `evoke send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Type of the event, such as purchase_complete.
    #[arg(value_name = "TYPE")]
    pub ty: String,

    /// What it carries: a text, @FILE, or - for stdin. JSON, unless --content-type says otherwise.
    #[arg(short, long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    pub data: Option<String>,

    /// Content type of the data.
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub content_type: String,

    /// What the event is about, such as order-7.
    #[arg(long)]
    pub subject: Option<String>,

    /// Who sends it, a URI reference.
    #[arg(long, default_value = "/cli")]
    pub source: String,

    /// Its id [default: a fresh one]. The same source and id twice within a day is the same event.
    #[arg(long)]
    pub id: Option<String>,

    /// Have it delivered so much later, such as 10m.
    #[arg(long = "in", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "at")]
    pub delay: Option<Duration>,

    /// Have it delivered at this time, such as 2026-12-24T18:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<Timestamp>,

    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}

/// `evoke filter`.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// A CESQL expression over the attributes of the event, as in `where` of evoke.toml.
    #[arg(value_name = "EXPR", allow_hyphen_values = true, required_unless_present = "pattern")]
    pub expression: Option<String>,

    /// An event pattern as JSON instead, as in `pattern` of evoke.toml: a text, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "expression")]
    pub pattern: Option<String>,

    /// The event, a CloudEvent in JSON format: a text, @FILE, or - for stdin [default: one with only id, source and type].
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub event: Option<String>,

    /// Exit with 1 when the event does not pass.
    #[arg(long)]
    pub exit_status: bool,
}

/// `evoke events …`.
#[derive(Debug, Subcommand)]
pub enum EventsVerb {
    /// List events, newest first.
    Ls {
        /// Which.
        #[command(flatten)]
        of: EventArgs,
        /// How many.
        #[command(flatten)]
        page: PageArgs,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// List events that wait for their time, the earliest first.
    Delayed {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Take an event back that waits for its time.
    Cancel {
        /// Its id.
        id: String,
        /// Its source.
        #[arg(long, default_value = "/cli")]
        source: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show what became of an event: which subscriptions took it, which did not and why, and how far each delivery is.
    Explain {
        /// Its id.
        id: String,
        /// Its source, where several senders use the same id [default: the newest event with the id].
        #[arg(long)]
        source: Option<String>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Deliver events again, to one subscription; with --dry-run show which.
    Replay(ReplayArgs),
    /// Show one event and the runs it caused.
    #[command(visible_alias = "show")]
    Get {
        /// Its id.
        id: String,
        /// Its source, where several senders use the same id [default: the newest event with the id].
        #[arg(long)]
        source: Option<String>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}
