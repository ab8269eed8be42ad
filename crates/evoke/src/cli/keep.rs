//! How much is kept, as types.

use clap::Args;
use evoke_core::store::Retention;

use super::parse_size;

/// How much of runs and logs is kept. The oldest go beyond it.
#[derive(Debug, Clone, Args)]
pub struct KeepArgs {
    /// Bytes of the records of ended runs that are kept, of all apps.
    #[arg(long, value_name = "SIZE", env = "EVOKE_RUNS_BYTES", default_value = "2GiB", value_parser = parse_size)]
    pub runs_bytes: u64,

    /// The same, of each app.
    #[arg(long, value_name = "SIZE", env = "EVOKE_APP_RUNS_BYTES", default_value = "1GiB", value_parser = parse_size)]
    pub app_runs_bytes: u64,

    /// Bytes of log lines that are kept, of all apps.
    #[arg(long, value_name = "SIZE", env = "EVOKE_LOGS_BYTES", default_value = "2GiB", value_parser = parse_size)]
    pub logs_bytes: u64,

    /// The same, of each app.
    #[arg(long, value_name = "SIZE", env = "EVOKE_APP_LOGS_BYTES", default_value = "1GiB", value_parser = parse_size)]
    pub app_logs_bytes: u64,
}

impl From<KeepArgs> for Retention {
    fn from(args: KeepArgs) -> Self {
        let KeepArgs { runs_bytes, app_runs_bytes, logs_bytes, app_logs_bytes } = args;
        Self { runs_bytes, app_runs_bytes, logs_bytes, app_logs_bytes, ..Self::default() }
    }
}
