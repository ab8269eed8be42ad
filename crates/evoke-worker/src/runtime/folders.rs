//! The runtime's folders: prepared bundles, shims, and scratch folders for processes without a `/tmp` of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use evoke_core::limits::Limits;
use evoke_core::outcome::Failure;

use super::init_error;
use crate::prepare::Bundles;
use crate::shim::Shims;

/// Where scratch folders are made, each with a name of its own.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: PathBuf,
    last: AtomicU64,
}

impl Scratch {
    /// In the runtime's folder `dir`, which [`make_folders`] has made.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: scratch(dir), last: AtomicU64::new(0) }
    }

    /// An empty folder.
    pub(super) fn make(&self) -> Result<PathBuf, Failure> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.dir.join(number.to_string());
        // Waits for the disk's cache at most, which takes less than handing it to another thread.
        std::fs::create_dir(&path).map_err(|cause| init_error(format!("scratch folder: {cause}")))?;
        Ok(path)
    }
}

/// Removes a folder that [`Scratch::make`] made.
pub(super) async fn remove(scratch: Option<PathBuf>) {
    let Some(path) = scratch else { return };
    if let Err(cause) = tokio::fs::remove_dir_all(&path).await {
        tracing::warn!(path = %path.display(), %cause, "a scratch folder cannot be removed");
    }
}

/// Makes the runtime's folder `dir` ready, whose absolute path is returned. Blocks on the disk.
pub(super) fn make_folders(dir: &Path, limits: Limits) -> std::io::Result<(PathBuf, Bundles, Shims)> {
    std::fs::create_dir_all(dir)?;
    // Processes have other working directories.
    let dir = dir.canonicalize()?;
    let scratch = scratch(&dir);
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    std::fs::create_dir(&scratch)?;
    let bundles = Bundles::open(&dir.join("bundles"), limits)?;
    let shims = Shims::write(&dir.join("shims"))?;
    Ok((dir, bundles, shims))
}

fn scratch(dir: &Path) -> PathBuf {
    dir.join("scratch")
}
