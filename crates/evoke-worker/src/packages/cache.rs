//! The folder of installed trees: one folder per digest, which is there whole or not at all.
//!
//! `packages/<format>/<digest>` holds `site-packages` or `node_modules`, and `bytes`, a file with the size. The time the folder was
//! last changed is when it was last used.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
use tokio::time::Instant;

use crate::idle::Idle;
use crate::prepare::{opened, remove, sync};

const FORMAT: &str = "1";
const BYTES: &str = "bytes";

/// The trees there are.
#[derive(Debug, Clone)]
pub(super) struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    bytes_max: u64,
    last: AtomicU64,
    /// Digests in use, and how often. Also those that are not there yet.
    pins: Mutex<HashMap<String, usize>>,
    idle: Idle,
}

/// Keeps a tree from being removed while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    cache: Cache,
    key: String,
}

/// A folder in which a tree is being made. Goes with all that is in it, unless it is published.
#[derive(Debug)]
pub(super) struct Unfinished(PathBuf);

impl Cache {
    /// Uses (and makes) the folder `dir`; clears away what was left half-made, and what is of another format.
    pub fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        let current = opened(dir, FORMAT)?;
        let (last, pins, idle) = (AtomicU64::new(0), Mutex::default(), Idle::default());
        Ok(Self(Arc::new(Inner { dir: current, bytes_max, last, pins, idle })))
    }

    /// The digest of a tree in this cache.
    pub fn key_of<'t>(&self, tree: &'t Path) -> Option<&'t str> {
        if tree.parent() == Some(&*self.0.dir) { tree.file_name()?.to_str() } else { None }
    }

    /// From now on the tree of this digest stays, once it is there.
    pub fn pin(&self, key: &str) -> Pin {
        *self.0.pins.lock().entry(key.to_owned()).or_default() += 1;
        Pin { cache: self.clone(), key: key.to_owned() }
    }

    /// The tree's folder, if it is there. It counts as used now.
    pub fn find(&self, key: &str) -> Option<PathBuf> {
        let folder = self.0.dir.join(key);
        if !folder.is_dir() {
            return None;
        }
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        // It is only the order in which they go.
        let _ = rustix::fs::utimensat(
            CWD,
            &folder,
            &Timestamps { last_access: now, last_modification: now },
            AtFlags::empty(),
        );
        Some(folder)
    }

    /// An empty folder to make the tree in.
    pub fn begin(&self, key: &str) -> io::Result<Unfinished> {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed) + 1;
        let unfinished = Unfinished(self.0.dir.join(format!(".{key}-{number}")));
        std::fs::create_dir(&unfinished.0)?;
        Ok(unfinished)
    }

    /// Makes `result`, a folder in `unfinished` that is checked and sealed, the tree of this digest, called `name`.
    pub fn publish(
        &self,
        unfinished: Unfinished,
        result: &Path,
        name: &str,
        key: &str,
        bytes: u64,
    ) -> io::Result<PathBuf> {
        let whole = Unfinished(unfinished.0.with_extension("whole"));
        std::fs::create_dir(&whole.0)?;
        // A folder that is moved must be writable on some file systems.
        std::fs::set_permissions(result, PermissionsExt::from_mode(0o755))?;
        std::fs::rename(result, whole.0.join(name))?;
        std::fs::set_permissions(whole.0.join(name), PermissionsExt::from_mode(0o555))?;
        std::fs::write(whole.0.join(BYTES), bytes.to_string())?;
        std::fs::set_permissions(&whole.0, PermissionsExt::from_mode(0o755))?;
        drop(unfinished);
        sync(&whole.0)?;
        let folder = self.0.dir.join(key);
        std::fs::rename(&whole.0, &folder)?;
        sync(&folder)?;
        Ok(folder)
    }

    /// Removes what was in nobody's use for `grace`.
    pub fn discard(&self, grace: Duration, now: Instant) {
        let Inner { dir, pins, idle, .. } = &*self.0;
        for (_, size, path) in std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(tree) {
            let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let gone = dir.join(format!(".{key}-gone"));
            // Under the lock, so that nobody pins it in between.
            let pins = pins.lock();
            if pins.contains_key(&key) {
                idle.used(&key);
                continue;
            }
            idle.unused(&key, grace, now, || _ = std::fs::rename(&path, &gone));
            drop(pins);
            if gone.exists() {
                remove(&gone);
                tracing::info!(key, size, "installed packages that nobody needs were removed");
            }
        }
    }

    /// Removes what was not used for longest and is not in use, until the rest fits.
    pub fn make_room(&self) {
        let Inner { dir, bytes_max, pins, .. } = &*self.0;
        let mut trees: Vec<_> =
            std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(tree).collect();
        trees.sort();
        let mut bytes: u64 = trees.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in trees {
            if bytes <= *bytes_max {
                return;
            }
            let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let gone = self.0.dir.join(format!(".{key}-gone"));
            // Under the lock, so that nobody pins it in between; out of the way first, so that it is never there in part.
            let pins = pins.lock();
            if pins.contains_key(&key) || std::fs::rename(&path, &gone).is_err() {
                continue;
            }
            drop(pins);
            remove(&gone);
            bytes = bytes.saturating_sub(size);
            tracing::info!(key, size, "installed packages that nobody uses were removed to make room");
        }
        if bytes > *bytes_max {
            tracing::warn!(bytes, bytes_max, "the packages in use are larger than all packages should be");
        }
    }
}

/// When it was used, its size, and itself.
fn tree(entry: std::fs::DirEntry) -> Option<(std::time::SystemTime, u64, PathBuf)> {
    let path = entry.path();
    if entry.file_name().to_string_lossy().starts_with('.') {
        return None;
    }
    let bytes = std::fs::read_to_string(path.join(BYTES)).ok()?.parse().ok()?;
    Some((entry.metadata().ok()?.modified().ok()?, bytes, path))
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.cache.0.pins.lock();
        if let Some(count) = pins.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.key);
            }
        }
    }
}

impl Unfinished {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &Cache, key: &str, bytes: u64) {
        let unfinished = cache.begin(key).unwrap();
        let result = unfinished.path().join("out");
        std::fs::create_dir(&result).unwrap();
        cache.publish(unfinished, &result, "site-packages", key, bytes).unwrap();
        cache.make_room();
    }

    fn used_at(cache: &Cache, key: &str, seconds: i64) {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, cache.0.dir.join(key), &times, AtFlags::empty()).unwrap();
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 100).unwrap();
        for (key, second) in [("a", 1), ("b", 2), ("c", 3)] {
            put(&cache, key, 30);
            used_at(&cache, key, second);
        }
        let pin = cache.pin("a");
        cache.find("b").unwrap();
        put(&cache, "d", 30);
        let there = |key: &str| cache.0.dir.join(key).is_dir();
        assert_eq!(["a", "b", "c", "d"].map(there), [true, true, false, true]);
        drop(pin);
        used_at(&cache, "d", 4);
        put(&cache, "e", 30);
        assert_eq!(["a", "b", "d", "e"].map(there), [false, true, true, true]);
        let hidden = std::fs::read_dir(&cache.0.dir).unwrap().flatten();
        assert_eq!(hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count(), 0);
    }

    #[test]
    fn what_is_in_use_stays_also_when_it_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 10).unwrap();
        let _pin = cache.pin("a");
        put(&cache, "a", 30);
        assert!(cache.find("a").is_some());
    }

    #[test]
    fn what_nobody_uses_goes_after_a_while_and_what_is_pinned_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1_000).unwrap();
        ["a", "b", "c"].iter().for_each(|key| put(&cache, key, 30));
        let (grace, start) = (Duration::from_secs(60), Instant::now());
        let pin = cache.pin("a");
        cache.discard(grace, start);
        drop(cache.pin("b"));
        let there = |key: &str| cache.0.dir.join(key).is_dir();
        assert_eq!(["a", "b", "c"].map(there), [true; 3]);
        cache.discard(grace, start + grace);
        assert_eq!(["a", "b", "c"].map(there), [true, false, false]);
        drop(pin);
        cache.discard(grace, start + grace);
        assert!(there("a"), "it was in use until now");
        cache.discard(grace, start + 2 * grace);
        assert!(!there("a"));
    }

    #[test]
    fn what_was_left_half_made_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("1/.a-1/work")).unwrap();
        std::fs::create_dir_all(dir.path().join("0/old")).unwrap();
        std::fs::create_dir_all(dir.path().join("1/whole")).unwrap();
        let cache = Cache::open(dir.path(), 10).unwrap();
        assert!(cache.find("whole").is_some());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(dir.path().join("1")).unwrap().count(), 1);
    }
}
