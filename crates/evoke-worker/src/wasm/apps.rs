//! Which processes there are: one for each app in use, and one more that waits for the next.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use evoke_core::id::AppName;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::sealed::Sealed;
use super::worker::{END, Opened, Worker};
use crate::launcher::Launcher;

/// The processes of apps.
#[derive(Debug)]
pub(crate) struct Apps {
    /// The executable with its arguments.
    command: Vec<String>,
    /// Where compiled components are.
    readable: PathBuf,
    /// Whom connections trust, DER in base64.
    authorities: Arc<[String]>,
    tasks: TaskTracker,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each app's process, once it was started; who starts it holds the lock.
    workers: Mutex<HashMap<AppName, Arc<tokio::sync::Mutex<Option<Worker>>>>>,
    /// One that no app has yet, so that the first call of an app does not wait for a process.
    spare: Mutex<Option<Worker>>,
}

impl Apps {
    /// Runs `command`, which may read `readable` and trusts `authorities`.
    pub(crate) fn new(
        command: Vec<String>,
        readable: PathBuf,
        authorities: Arc<[String]>,
        tasks: TaskTracker,
    ) -> Self {
        Self { command, readable, authorities, tasks, state: Arc::default() }
    }

    /// A socket for a function of `app`, and the process it leads to. `next` makes a user's number and a folder for each process that is started.
    pub(crate) async fn open(
        &self,
        app: &AppName,
        launcher: &Launcher,
        mut next: impl FnMut() -> io::Result<(u32, Option<PathBuf>)>,
    ) -> io::Result<(Opened, Worker)> {
        let slot = Arc::clone(self.state.workers.lock().entry(app.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(worker) = slot.as_ref().filter(|worker| worker.is_alive())
            && let Ok(opened) = worker.open().await
        {
            return Ok((opened, worker.clone()));
        }
        let spare = self.state.spare.lock().take().filter(Worker::is_alive);
        let worker = match spare {
            Some(spare) => spare,
            None => self.start(launcher, next()?).await?,
        };
        self.replace_spare(launcher, next()?);
        let opened = worker.open().await;
        *slot = Some(worker.clone());
        Ok((opened?, worker))
    }

    /// Lets go of all of them, and waits a moment for them to end by themselves. What is only being started ends with the launcher.
    pub(crate) async fn end(&self) {
        let slots: Vec<_> = self.state.workers.lock().drain().map(|(_, slot)| slot).collect();
        let spare = self.state.spare.lock().take();
        let started = slots.iter().filter_map(|slot| slot.try_lock().ok()?.take());
        let deaths: Vec<_> = started.chain(spare).map(Worker::into_death).collect();
        let ends = async {
            for mut death in deaths {
                death.seen().await;
            }
        };
        let _ = tokio::time::timeout(END, ends).await;
    }

    async fn start(
        &self,
        launcher: &Launcher,
        (number, scratch): (u32, Option<PathBuf>),
    ) -> io::Result<Worker> {
        Worker::start(self.sealed(number, scratch), &self.authorities, launcher, &self.tasks).await
    }

    fn replace_spare(&self, launcher: &Launcher, (number, scratch): (u32, Option<PathBuf>)) {
        let sealed = self.sealed(number, scratch);
        let (launcher, tasks, state) = (launcher.clone(), self.tasks.clone(), Arc::downgrade(&self.state));
        let authorities = Arc::clone(&self.authorities);
        self.tasks.spawn(async move {
            match Worker::start(sealed, &authorities, &launcher, &tasks).await {
                Ok(worker) => {
                    if let Some(state) = state.upgrade() {
                        *state.spare.lock() = Some(worker);
                    }
                }
                Err(cause) => tracing::warn!(%cause, "a spare Wasm worker could not be started"),
            }
        });
    }

    fn sealed(&self, number: u32, scratch: Option<PathBuf>) -> Sealed {
        let readable = vec![self.readable.clone()];
        Sealed { command: self.command.clone(), number, readable, scratch, memory_bytes: 0 }
    }
}
