//! The engine as its users hold it: what it is made of, how it starts, how it ends.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::{AppName, RunId};
use evoke_core::limits::Limits;
use evoke_core::record::LogRecord;
use evoke_core::runtime::Runtime;
use evoke_core::store::{Retention, Store, StoreError};
use evoke_core::time::{Clock, Timestamp};
use tokio::sync::broadcast;

/// What an engine is made of.
pub struct Parts {
    /// Where everything durable is.
    pub store: Arc<dyn Store>,
    /// What runs guest code.
    pub runtime: Arc<dyn Runtime>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Every bound.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// Seed of ids and jitter; random in production.
    pub seed: u64,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds of an app cannot be read.
    #[error("app {app}: its stored deployment cannot be read: {cause}")]
    Deployment {
        /// Which.
        app: String,
        /// Why.
        cause: String,
    },
}

/// A running engine. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    /// Loads what is deployed and starts to work off what is queued.
    pub async fn start(_parts: Parts) -> Result<Self, StartError> {
        todo!()
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        todo!()
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        todo!()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        todo!()
    }

    /// Log lines as they come. A slow reader misses some, and is told how many.
    pub fn tail_logs(&self) -> broadcast::Receiver<LogRecord> {
        todo!()
    }

    /// Puts dead letters of `app` back in their queues; returns those that were there.
    pub async fn redrive(&self, _app: &AppName, _runs: &[RunId]) -> Result<Vec<RunId>, StoreError> {
        todo!()
    }

    /// Whether new work is accepted.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Ends: refuses new work, waits up to `grace` for running attempts, then ends them (queued ones go back to their
    /// queues), flushes records and closes the store.
    pub async fn drain(&self, _grace: Duration) -> Result<(), StoreError> {
        todo!()
    }
}
