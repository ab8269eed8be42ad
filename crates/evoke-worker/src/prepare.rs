//! From a bundle (a tar of an app's files) to files a worker can load.
//!
//! A prepared bundle is the folder `bundles/<format>/<digest>`: the files as they were packed, read-only, with each
//! TypeScript file's translation beside it. It appears by a rename, so it is there whole or not at all; what a crash left
//! half-made is removed at the next start.

mod archive;
mod entry;
mod executable;
mod resolve;
mod script;

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::manifest::RuntimeKind;
use evoke_core::runtime::{PrepareError, PreparedBundle};
use tokio::time::Instant;

use crate::idle::Idle;

pub use entry::{Entry, find as find_entry};
pub(crate) use executable::script_interpreter;

/// Changes whenever the same bundle would be prepared differently: older results are made anew.
const FORMAT: &str = "2";

/// Where prepared bundles are kept.
#[derive(Debug, Clone)]
pub struct Bundles {
    dir: PathBuf,
    limits: Limits,
    idle: Arc<Idle>,
}

impl Bundles {
    /// Uses (and makes) the folder `dir`, and clears away what was left half-made there.
    pub fn open(dir: &Path, limits: Limits) -> io::Result<Self> {
        let current = opened(dir, FORMAT)?;
        Ok(Self { dir: current, limits, idle: Arc::default() })
    }

    /// The folder of a prepared bundle.
    pub fn folder(&self, digest: &str) -> PathBuf {
        self.dir.join(digest)
    }

    /// Unpacks and translates, into the folder that is returned. Does nothing when that has been done before. Blocks on the
    /// disk.
    pub fn prepare(&self, bundle: &PreparedBundle, tar: &[u8]) -> Result<PathBuf, PrepareError> {
        if bundle.digest.is_empty() || !bundle.digest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(PrepareError::Archive(format!("{:?} is no digest", bundle.digest)));
        }
        let folder = self.folder(&bundle.digest);
        self.idle.used(&bundle.digest);
        if !folder.is_dir() {
            // Unique among threads; other processes are kept out by the owner lock of the data directory.
            let unfinished = self.dir.join(format!(".{}-{:?}", bundle.digest, std::thread::current().id()));
            let made = self.make(&unfinished, bundle, tar).and_then(|()| publish(&unfinished, &folder));
            if made.is_err() {
                remove(&unfinished);
            }
            made?;
        }
        bundle.sources.iter().try_for_each(|(kind, source)| entry::find(&folder, *kind, source).map(drop))?;
        Ok(folder)
    }

    /// Removes prepared bundles that are not `wanted` and were not for `grace`: out of the way first, so that none is ever there in
    /// part. Blocks on the disk.
    pub(crate) fn discard(&self, wanted: &HashSet<String>, grace: Duration, now: Instant) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let digest = entry.file_name().to_string_lossy().into_owned();
            if digest.starts_with('.') {
                continue;
            }
            if wanted.contains(&digest) {
                self.idle.used(&digest);
                continue;
            }
            let gone = self.dir.join(format!(".{digest}-gone"));
            self.idle.unused(&digest, grace, now, || {
                // A folder that is moved must be writable on some file systems.
                let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o755));
                if let Err(cause) = std::fs::rename(entry.path(), &gone) {
                    tracing::warn!(digest, %cause, "a prepared bundle that nobody needs stays");
                }
            });
            if gone.exists() {
                remove(&gone);
                tracing::info!(digest, "a prepared bundle that nobody needs was removed");
            }
        }
    }

    fn make(&self, to: &Path, bundle: &PreparedBundle, tar: &[u8]) -> Result<(), PrepareError> {
        remove(to);
        std::fs::create_dir(to).map_err(|cause| unwritable(to, &cause))?;
        archive::unpack(tar, to, &self.limits)?;
        let node = bundle.sources.iter().filter(|(kind, _)| *kind == RuntimeKind::Node);
        let entries = node
            .map(|(kind, source)| entry::find_source(to, *kind, source))
            .collect::<Result<Vec<_>, _>>()?;
        script::translate(to, entries)?;
        seal(to).and_then(|()| sync(to)).map_err(|cause| unwritable(to, &cause))
    }
}

fn publish(from: &Path, to: &Path) -> Result<(), PrepareError> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(()),
        // Somebody else was faster, with the same bytes.
        Err(_) if to.is_dir() => {
            remove(from);
            Ok(())
        }
        Err(cause) => Err(unwritable(to, &cause)),
    }
}

/// A folder that is there is taken for whole, so its files must be on the disk before its name is.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(folder)?)?)
}

/// Takes away the right to write, from the leaves up.
fn seal(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            seal(&entry.path())?;
        } else {
            // What can be executed stays so.
            let executable = entry.metadata()?.permissions().mode() & 0o111;
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o444 | executable))?;
        }
    }
    // The topmost folder is renamed, which needs write permission on some file systems; it follows the same rule then.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555))
}

/// The folder in `dir` for what is kept in this format, made where it is not there. What is of another format, and what was left
/// half-made there, with a name that begins with a dot, is cleared away.
pub(crate) fn opened(dir: &Path, format: &str) -> io::Result<PathBuf> {
    let current = dir.join(format);
    std::fs::create_dir_all(&current)?;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path != current {
            remove(&path);
        }
    }
    for entry in std::fs::read_dir(&current)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            remove(&entry.path());
        }
    }
    Ok(current)
}

/// Removes a folder whether it is sealed or not. Best effort: what stays is tried again at the next start.
pub(crate) fn remove(path: &Path) {
    fn unseal(path: &Path) {
        let is_dir = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        if is_dir && std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).is_ok() {
            std::fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| unseal(&entry.path()));
        }
    }
    match std::fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(meta) if meta.is_dir() => {
            unseal(path);
            if let Err(cause) = std::fs::remove_dir_all(path) {
                tracing::warn!(path = %path.display(), %cause, "a folder cannot be removed");
            }
        }
        Ok(_) => _ = std::fs::remove_file(path),
    }
}

fn unwritable(path: &Path, cause: &io::Error) -> PrepareError {
    PrepareError::Io(format!("{}: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use evoke_core::manifest::Install;

    use super::*;

    fn prepare(bundles: &Bundles, digest: &str) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "lib/main.py", &b"pass\n"[..]).unwrap();
        let bundle =
            PreparedBundle { digest: digest.to_owned(), sources: Vec::new(), install: Install::default() };
        bundles.prepare(&bundle, &tar.into_inner().unwrap()).unwrap();
    }

    #[test]
    fn a_bundle_nobody_wants_goes_after_a_while_and_can_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(dir.path(), Limits::default()).unwrap();
        ["a", "b", "c"].iter().for_each(|digest| prepare(&bundles, digest));
        let there = || ["a", "b", "c"].map(|digest| bundles.folder(digest).join("lib/main.py").is_file());
        let wanted = HashSet::from(["a".to_owned()]);
        let (grace, start) = (Duration::from_secs(60), Instant::now());
        bundles.discard(&wanted, grace, start);
        assert_eq!(there(), [true; 3], "found for the first time");
        // A deploy that has not switched yet.
        prepare(&bundles, "b");
        bundles.discard(&wanted, grace, start + grace);
        assert_eq!(there(), [true, true, false]);
        prepare(&bundles, "c");
        assert_eq!(there(), [true; 3]);
        bundles.discard(&wanted, grace, start + 2 * grace);
        assert_eq!(there(), [true, false, true]);
    }

    #[test]
    fn what_was_half_removed_when_the_process_died_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(dir.path(), Limits::default()).unwrap();
        prepare(&bundles, "a");
        std::fs::rename(bundles.folder("a"), bundles.dir.join(".a-gone")).unwrap();
        let bundles = Bundles::open(dir.path(), Limits::default()).unwrap();
        assert_eq!(std::fs::read_dir(&bundles.dir).unwrap().count(), 0);
        prepare(&bundles, "a");
        assert!(bundles.folder("a").is_dir());
    }
}
