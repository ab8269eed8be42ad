//! Notices that files of an app changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::exit::{Error, Result};

/// An editor saves in several steps: it is done when nothing happened for so long.
const QUIET: Duration = Duration::from_millis(80);
/// Something that never stops writing does not hold a deploy up for longer than this.
const QUIET_AT_MOST: Duration = Duration::from_secs(1);
/// Folders watched at most; each costs the kernel an inotify watch of the user's 8,192 or more.
const FOLDERS_MAX: usize = 1_000;

/// Watches folders one by one, so that neither `node_modules` nor the data folder wakes it.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
}

impl Watch {
    /// A watch that sees nothing yet.
    pub fn start() -> Result<Self> {
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error (such as an overflow of the kernel's queue) may hide a change: better look once too often.
            if event.map_or(true, |event| is_change(event.kind)) {
                wake.notify_one();
            }
        })
        .map_err(|cause| Error::failed("watch", format!("files cannot be watched: {cause}")))?;
        Ok(Self { watcher, folders: BTreeSet::new(), changed })
    }

    /// Watches these folders, and no others. Whatever cannot be watched is left out; the error names the first.
    pub fn follow(&mut self, folders: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        let wanted: BTreeSet<PathBuf> = folders.into_iter().filter(|folder| !is_dependency(folder)).collect();
        for gone in self.folders.difference(&wanted) {
            // Its watch went with the folder.
            let _ = self.watcher.unwatch(gone);
        }
        self.folders.retain(|folder| wanted.contains(folder));
        let mut first_error = None;
        for folder in wanted {
            if self.folders.contains(&folder) {
                continue;
            }
            if self.folders.len() >= FOLDERS_MAX {
                first_error.get_or_insert_with(|| too_many(&folder));
                break;
            }
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert(folder)),
                // It went away again in this moment.
                Err(notify::Error { kind: notify::ErrorKind::PathNotFound, .. }) => {}
                Err(cause) => drop(first_error.get_or_insert_with(|| cannot(&folder, &cause))),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Waits for a change since the last call, and then for a moment of quiet.
    pub async fn changed(&self) {
        self.changed.notified().await;
        let latest = Instant::now() + QUIET_AT_MOST;
        while timeout_at(latest.min(Instant::now() + QUIET), self.changed.notified()).await.is_ok() {}
    }
}

/// Whether files may be different now. Reading them, as a deploy does, is no change.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn is_dependency(folder: &Path) -> bool {
    folder.components().any(|part| part.as_os_str() == "node_modules")
}

fn too_many(folder: &Path) -> Error {
    Error::failed(
        "watch",
        format!("the app has more than {FOLDERS_MAX} folders; {} is not watched", folder.display()),
    )
    .help("name what the functions do not need in .evokeignore")
}

fn cannot(folder: &Path, cause: &notify::Error) -> Error {
    Error::failed("watch", format!("{} cannot be watched: {cause}", folder.display()))
        .help("where too many files are watched already: sysctl fs.inotify.max_user_watches=524288")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for a change, but not for ever.
    async fn noticed(watch: &Watch) {
        tokio::time::timeout(Duration::from_secs(30), watch.changed())
            .await
            .expect("a change was not noticed");
    }

    #[tokio::test]
    async fn a_saved_file_is_noticed_and_a_read_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.ts");
        std::fs::write(&file, "1").unwrap();
        let mut watch = Watch::start().unwrap();
        watch.follow([dir.path().to_owned()]).unwrap();
        std::fs::read(&file).unwrap();
        std::fs::write(dir.path().join("b.ts"), "2").unwrap();
        noticed(&watch).await;
        std::fs::read(&file).unwrap();
        let again = tokio::time::timeout(QUIET * 4, watch.changed()).await;
        assert!(again.is_err(), "reading a file was taken for a change");
    }

    #[tokio::test]
    async fn a_new_folder_is_watched_once_it_is_followed_and_dependencies_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (new, dependency) = (dir.path().join("lib"), dir.path().join("node_modules"));
        let mut watch = Watch::start().unwrap();
        watch.follow([dir.path().to_owned()]).unwrap();
        std::fs::create_dir(&new).unwrap();
        std::fs::create_dir(&dependency).unwrap();
        noticed(&watch).await;
        watch.follow([dir.path().to_owned(), new.clone(), dependency.clone()]).unwrap();
        std::fs::write(dependency.join("x.js"), "1").unwrap();
        assert!(tokio::time::timeout(QUIET * 4, watch.changed()).await.is_err());
        std::fs::write(new.join("a.ts"), "1").unwrap();
        noticed(&watch).await;
    }
}
