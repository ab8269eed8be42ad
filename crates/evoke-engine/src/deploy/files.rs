//! Whether a bundle's files are there to start instances from.
//!
//! A deploy makes them before anything switches. After a restart they may be gone, and to make them again may take as long as
//! installing packages does, or fail for as long as a registry is out of reach: so nobody waits for that but who wants to
//! start an instance, and what failed is tried again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{InstanceSpec, Prepared, Progress};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Deployment;
use super::install::prepared;
use crate::engine::Inner;

/// The first pause before files that could not be made are tried again; it doubles each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest pause.
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// How long the start of an engine waits for files that are probably there.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The files of all bundles that something is to be started from.
#[derive(Default)]
pub(crate) struct Files(Mutex<HashMap<String, Weak<BundleFiles>>>);

/// Those of one bundle.
pub(crate) struct BundleFiles(watch::Sender<State>);

#[derive(Clone)]
enum State {
    /// They are being made.
    Awaited,
    /// They are there, as long as this lives.
    Made(#[expect(dead_code, reason = "it is there to be dropped")] Prepared),
    /// They could not be made, and why.
    Failed(String),
}

impl Files {
    /// Those of this bundle, made or not.
    pub fn of(&self, bundle: &str) -> Arc<BundleFiles> {
        let mut all = self.0.lock();
        if let Some(files) = all.get(bundle).and_then(Weak::upgrade) {
            return files;
        }
        all.retain(|_, files| files.strong_count() > 0);
        let files = Arc::new(BundleFiles(watch::Sender::new(State::Awaited)));
        all.insert(bundle.to_owned(), Arc::downgrade(&files));
        files
    }

    /// The bundles something is, or may be, started from.
    pub fn in_use(&self) -> Vec<String> {
        let all = self.0.lock();
        all.iter().filter(|(_, files)| files.strong_count() > 0).map(|(bundle, _)| bundle.clone()).collect()
    }

    /// Waits until an instance can be started.
    pub async fn ready(&self, spec: &InstanceSpec) -> Result<(), Failure> {
        let files = self.0.lock().get(&spec.bundle).and_then(Weak::upgrade);
        // None: an old revision, whose files were there when it was deployed.
        let Some(files) = files else { return Ok(()) };
        let mut state = files.0.subscribe();
        let made = state.wait_for(|state| !matches!(state, State::Awaited));
        let app = &spec.app;
        let message = match tokio::time::timeout(spec.start_timeout, made).await {
            Ok(Ok(state)) => match &*state {
                State::Failed(why) => format!("the files of app {app} could not be made ready: {why}"),
                State::Awaited | State::Made(_) => return Ok(()),
            },
            Ok(Err(_)) => return Ok(()),
            Err(_) => {
                format!("the files of app {app} are still being made ready; its packages may take a while")
            }
        };
        Err(Failure::new(FailureCode::InitError, message))
    }
}

impl BundleFiles {
    /// They are there.
    pub fn made(&self, prepared: Prepared) {
        self.0.send_replace(State::Made(prepared));
    }

    /// Whether they are.
    pub fn are_made(&self) -> bool {
        matches!(*self.0.borrow(), State::Made(_))
    }
}

/// Begins to make the files of what is deployed. Returns when they are there, or after a moment: then it goes on by itself, and
/// tries again what fails, until something else is deployed or the engine ends.
pub(super) async fn prepare(
    inner: &Arc<Inner>,
    deployment: &Arc<Deployment>,
    files: &Arc<BundleFiles>,
    bundle: Bytes,
) {
    let (mut state, wanted) = (files.0.subscribe(), Arc::downgrade(files));
    let making = keep_trying(Arc::downgrade(inner), deployment.clone(), wanted, bundle);
    let stopping = inner.stopping.clone();
    inner.loops.spawn(async move { stopping.run_until_cancelled(making).await });
    let made = state.wait_for(|state| !matches!(state, State::Awaited));
    let _ = tokio::time::timeout(AT_ONCE, made).await;
}

async fn keep_trying(
    inner: Weak<Inner>,
    deployment: Arc<Deployment>,
    wanted: Weak<BundleFiles>,
    bundle: Bytes,
) {
    let mut pause = AGAIN;
    loop {
        let Some(runtime) = inner.upgrade().map(|inner| inner.runtime.clone()) else { return };
        let tried = runtime.prepare(&prepared(&deployment), bundle.clone(), &Progress::none()).await;
        // A deploy may have made them meanwhile, or another one replaced them.
        let Some(files) = wanted.upgrade().filter(|files| !files.are_made()) else { return };
        match tried {
            Ok(made) => return files.made(made),
            Err(error) => {
                let app = &deployment.manifest.app;
                tracing::error!(%error, %app, again_s = pause.as_secs(), "the app's files could not be made ready");
                files.0.send_replace(State::Failed(error.to_string()));
            }
        }
        drop(files);
        drop(runtime);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_MAX);
    }
}
