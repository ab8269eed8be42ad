//! Packages that functions ask for: those of a `requirements.txt`, by pip, and those of a `package-lock.json`, by npm.
//!
//! What is asked for (`wish`) has a digest, together with what it is installed for (`key`). Under that digest the installed
//! tree is kept (`cache`), read-only and shared by all functions and apps that ask for the same. It is made in a folder that
//! nobody looks into, by a tool in a sandbox (`tool`), then checked (`seal`), written out and renamed; so it is there whole or
//! not at all. A link beside the file that asked leads to it (`link`).

mod cache;
mod environment;
mod key;
mod link;
mod node;
mod python;
mod said;
mod seal;
mod tool;
mod wish;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::manifest::Install;
use evoke_core::runtime::{InstallError, Progress};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aside::on_disk_thread;
use crate::interpreter::{Interpreter, Language};
use crate::launcher::Launcher;
pub(crate) use cache::Pin;
use cache::{Cache, Unfinished};
pub(crate) use environment::of_this_process;
pub(crate) use link::{link, trees};
pub(crate) use wish::{Wish, wishes};

/// What is installed, and how more of it is.
#[derive(Debug)]
pub(crate) struct Packages {
    cache: Cache,
    /// Whoever installs what has this digest.
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    places: Arc<Semaphore>,
    limits: Limits,
    /// What the operator says of registries, proxies and certificates.
    registries: Vec<(String, String)>,
    tasks: TaskTracker,
}

/// What installs for one kind of function.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub interpreter: Interpreter,
    /// The script that runs pip.
    pub pip: PathBuf,
    pub install: Install,
}

impl Packages {
    /// Uses (and makes) the folder `dir`, and clears away what was left half-made there. Blocks on the disk.
    pub(crate) fn open(
        dir: &Path,
        limits: Limits,
        registries: Vec<(String, String)>,
        tasks: TaskTracker,
    ) -> std::io::Result<Self> {
        Ok(Self {
            cache: Cache::open(dir, limits.packages_bytes)?,
            turns: Mutex::default(),
            places: Arc::new(Semaphore::new(limits.installs)),
            limits,
            registries,
            tasks,
        })
    }

    /// Removes trees that were in nobody's use for `grace`.
    pub(crate) async fn discard(&self, grace: Duration, now: Instant) {
        let cache = self.cache.clone();
        on_disk_thread(move || cache.discard(grace, now)).await;
    }

    /// Keeps those of these trees that are installed here.
    pub(crate) fn pin(&self, trees: &[PathBuf]) -> Vec<Pin> {
        trees.iter().filter_map(|tree| self.cache.key_of(tree)).map(|key| self.cache.pin(key)).collect()
    }

    /// Sees to it that what is wished for is installed. Returns its folder, and what keeps it. Of several that wish for the
    /// same at once one installs, and the others wait for it. Stops when it is dropped.
    pub(crate) async fn install(
        &self,
        wish: Wish,
        means: Means,
        launcher: &Launcher,
        progress: &Progress,
    ) -> Result<(PathBuf, Pin), InstallError> {
        let key = key::of(&wish, &means);
        let pin = self.cache.pin(&key);
        let turn = self.turn(&key);
        let _turn = turn.lock().await;
        if let Some(folder) = self.cache.find(&key) {
            return Ok((folder, pin));
        }
        if self.places.available_permits() == 0 {
            progress.tell(format!("{}: waiting until another installation is done", wish.file));
        }
        let place = self.places.clone().acquire_owned().await;
        let file = wish.file.clone();
        // In a task of its own, which is not dropped half-way: it waits until the tool is dead, and cleans up.
        let given_up = CancellationToken::new();
        let _given_up = given_up.clone().drop_guard();
        let (done, installed) = oneshot::channel();
        let installation = Installation {
            wish,
            means,
            key,
            cache: self.cache.clone(),
            limits: self.limits.clone(),
            registries: self.registries.clone(),
            launcher: launcher.clone(),
            progress: progress.clone(),
        };
        self.tasks.spawn(async move {
            let _place = place;
            let _ = done.send(installation.carry_out(given_up).await);
        });
        let gone = |_| failure(&file, "the server is shutting down");
        Ok((installed.await.map_err(gone)??, pin))
    }

    fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(key.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// One installation under way.
struct Installation {
    wish: Wish,
    means: Means,
    key: String,
    cache: Cache,
    limits: Limits,
    registries: Vec<(String, String)>,
    launcher: Launcher,
    progress: Progress,
}

impl Installation {
    async fn carry_out(self, given_up: CancellationToken) -> Result<PathBuf, InstallError> {
        let began = Instant::now();
        let file = self.wish.file.clone();
        let unwritable = |cause: std::io::Error| failure(&file, format!("the disk failed: {cause}"));
        let (unfinished, wish) = on_disk({
            let (cache, key, wish) = (self.cache.clone(), self.key.clone(), self.wish.clone());
            move || (cache.begin(&key), wish)
        })
        .await;
        let unfinished = unfinished.map_err(unwritable)?;
        let run = tool::run(&self, &unfinished, given_up);
        // Whatever became of it: the tool is dead now, and the folder can go.
        let ran = run.await;
        let limits = (self.limits.package_bytes, self.limits.package_files);
        let (cache, key) = (self.cache.clone(), self.key.clone());
        let made = on_disk(move || match ran {
            Ok(()) => finish(unfinished, &wish, limits, &cache, &key),
            Err(error) => Err(error),
        })
        .await;
        let (folder, size) = made?;
        let (seconds, mib) = (began.elapsed().as_secs_f64(), size.bytes as f64 / f64::from(1 << 20));
        self.progress
            .tell(format!("{file}: installed in {seconds:.1} s, {mib:.1} MiB in {} files", size.files));
        tracing::info!(file, key = self.key, seconds, size.bytes, size.files, "packages were installed");
        Ok(folder)
    }
}

/// From what the tool left to what is used. Blocks on the disk.
fn finish(
    unfinished: Unfinished,
    wish: &Wish,
    (bytes_max, files_max): (u64, usize),
    cache: &Cache,
    key: &str,
) -> Result<(PathBuf, seal::Size), InstallError> {
    let result = tool::result(wish, &unfinished);
    let size = seal::seal(&result, bytes_max, files_max).map_err(|cause| failure(&wish.file, cause))?;
    let published = cache.publish(unfinished, &result, name(wish.language), key, size.bytes);
    let folder = published.map_err(|cause| failure(&wish.file, format!("the disk failed: {cause}")))?;
    cache.make_room();
    Ok((folder, size))
}

/// What installed packages are called beside the file that asks for them.
pub(crate) fn name(language: Language) -> &'static str {
    match language {
        Language::Node => "node_modules",
        Language::Python => "site-packages",
    }
}

fn failure(file: &str, message: impl Into<String>) -> InstallError {
    InstallError {
        file: file.to_owned(),
        line: None,
        message: message.into(),
        output: Vec::new(),
        help: None,
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    on_disk_thread(work).await
}
