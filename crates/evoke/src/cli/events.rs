//! Which events `evoke events ls` lists.

use clap::Args;

use super::Moment;

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
