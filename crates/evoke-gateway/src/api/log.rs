//! Log lines.

use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::record::{LogRecord, LogStream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// `GET /v1/apps/{app}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogList {
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// Position of the last line: pass it as `after` for what comes next, now or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One line a function wrote, or the platform wrote about it. In the event stream one `data` field each, with `seq` as
/// the event's `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Position in the log.
    pub seq: u64,
    /// When it was received.
    pub at: Time,
    /// Whose run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Its function.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// Which attempt.
    pub attempt: u32,
    /// `stdout`, `stderr` or `platform`.
    #[schema(value_type = String, example = "stdout")]
    pub stream: LogStream,
    /// The text without its line end.
    pub line: String,
}

impl From<(u64, LogRecord)> for LogLine {
    fn from((seq, log): (u64, LogRecord)) -> Self {
        let LogRecord { at, run, app, function, attempt, stream, line } = log;
        Self { seq, at: at.into(), run, app, function, attempt, stream, line }
    }
}
