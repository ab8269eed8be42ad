//! How long what is stored is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::archive::Archive;
use crate::id::AppName;

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// De-duplication entries.
    pub dedup: Duration,
    /// Events of apps that say nothing else.
    pub events: Duration,
    /// Ended runs.
    pub runs: Duration,
    /// Log lines.
    pub logs: Duration,
    /// Log lines at most, whatever their age.
    pub logs_max: u64,
    /// Ended runs at most, whatever their age.
    pub runs_max: u64,
    /// Bytes of ended runs at most, of all apps; of each the size of its record in JSON.
    pub runs_bytes: u64,
    /// The same, of an app.
    pub app_runs_bytes: u64,
    /// Bytes of the text of log lines at most, of all apps.
    pub logs_bytes: u64,
    /// The same, of an app.
    pub app_logs_bytes: u64,
    /// What apps say of their own events.
    pub archives: BTreeMap<AppName, Archive>,
    /// Events that are needed by what the store does not know.
    pub held: Vec<Held>,
}

/// Events of an app that are still needed, such as those a replay has not come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose.
    pub app: AppName,
    /// Those after this position.
    pub after: u64,
    /// Up to this position.
    pub through: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            dedup: day,
            events: 7 * day,
            runs: 7 * day,
            logs: 3 * day,
            logs_max: 1_000_000,
            runs_max: 1_000_000,
            runs_bytes: 2 << 30,
            app_runs_bytes: 1 << 30,
            logs_bytes: 2 << 30,
            app_logs_bytes: 1 << 30,
            archives: BTreeMap::new(),
            held: Vec::new(),
        }
    }
}

impl Retention {
    /// How long events of a type are kept.
    pub fn keep(&self, app: &AppName, ty: &str) -> Duration {
        self.archives.get(app).and_then(|archive| archive.keep(ty)).unwrap_or(self.events)
    }

    /// Whether events of a type go also while something needs them.
    pub fn even_if_needed(&self, app: &AppName, ty: &str) -> bool {
        self.archives.get(app).is_some_and(|archive| archive.even_if_needed(ty))
    }

    /// Whether something the store does not know needs the event at `seq`.
    pub fn holds(&self, app: &AppName, seq: u64) -> bool {
        self.held.iter().any(|held| held.app == *app && held.after < seq && seq <= held.through)
    }
}
