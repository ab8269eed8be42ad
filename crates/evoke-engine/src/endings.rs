//! Waiting for the end of a run.
//!
//! Whoever ends a run on this node says so; what another node ends is seen when the store is asked again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::{AppName, RunId};
use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::{RunQuery, StoreError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Engine;
use crate::engine::Inner;

/// How often the store is asked for what another node may have ended.
const LOOK: Duration = Duration::from_secs(1);

/// The runs whose end somebody waits for.
#[derive(Default)]
pub(crate) struct Endings(Arc<Mutex<HashMap<RunId, watch::Sender<()>>>>);

impl Endings {
    /// Wakes who waits for the end of `run`. What it came to is in the store.
    pub fn tell(&self, run: &RunId) {
        // The receivers see that there is no sender any more.
        self.0.lock().remove(run);
    }

    fn subscribe(&self, run: &RunId) -> Waiting {
        let ended = self.0.lock().entry(run.clone()).or_default().subscribe();
        Waiting { all: self.0.clone(), run: run.clone(), ended: Some(ended) }
    }
}

/// Somebody who waits.
struct Waiting {
    all: Arc<Mutex<HashMap<RunId, watch::Sender<()>>>>,
    run: RunId,
    ended: Option<watch::Receiver<()>>,
}

impl Waiting {
    async fn told(&mut self) {
        if let Some(ended) = &mut self.ended {
            while ended.changed().await.is_ok() {}
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.ended = None;
        let mut all = self.all.lock();
        if all.get(&self.run).is_some_and(|sender| sender.receiver_count() == 0) {
            all.remove(&self.run);
        }
    }
}

impl Engine {
    /// The record of a run as it is now; `None` when the app has none of that id.
    pub async fn run(&self, app: &AppName, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
        find(&self.0, app, run).await
    }

    /// The record of a run when it has ended, or as it is when `most` is over or the server shuts down.
    pub async fn run_ended(
        &self,
        app: &AppName,
        run: &RunId,
        most: Duration,
    ) -> Result<Option<RunRecord>, StoreError> {
        let inner = &self.0;
        let until = Instant::now() + most;
        loop {
            // Before the look, so that no end falls between the two.
            let mut waiting = inner.endings.subscribe(run);
            let found = find(inner, app, run).await?;
            let pending = found.as_ref().is_some_and(|found| is_pending(found.state));
            if !pending || Instant::now() >= until || inner.stopping.is_cancelled() {
                return Ok(found);
            }
            tokio::select! {
                biased;
                () = waiting.told() => {}
                () = tokio::time::sleep_until(until.min(Instant::now() + LOOK)) => {}
                () = inner.stopping.cancelled() => {}
            }
        }
    }

    /// Runs of the store, also those of sync calls that were answered just now.
    pub async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        // Their records may be on their way.
        self.0.recorder.flush().await;
        self.0.store.runs(query).await
    }

    /// The sync calls of an app that wait to be let in, or are being made, by this server. The store knows them when they have ended.
    pub fn calls_under_way(&self, app: &AppName) -> Vec<RunRecord> {
        self.0.under_way.calls(app)
    }
}

/// Whether it may still come to something.
pub(crate) const fn is_pending(state: RunState) -> bool {
    matches!(state, RunState::Queued | RunState::Running)
}

pub(crate) async fn find(inner: &Inner, app: &AppName, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
    let call = || inner.under_way.find(run).and_then(|stop| stop.record());
    if let Some(record) = call().filter(|record| record.app == *app) {
        return Ok(Some(record));
    }
    let query = RunQuery { app: Some(app.clone()), id: Some(run.clone()), limit: 1, ..RunQuery::default() };
    if let Some(found) = inner.store.runs(&query).await?.pop() {
        return Ok(Some(found));
    }
    // A sync call that has just ended may be on its way.
    inner.recorder.flush().await;
    Ok(inner.store.runs(&query).await?.pop())
}
