//! Objects: files named by the SHA-256 of their bytes, `objects/ab/abcd…`.
//!
//! A file has its name only once its bytes are on the disk; the name is durable when `put` returns.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evoke_core::store::StoreError;
use evoke_core::time::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::dir;

/// The folder of objects.
#[derive(Debug)]
pub(crate) struct Objects {
    root: PathBuf,
    unfinished: AtomicU64,
    /// Objects that nothing referred to, and since when. Held while a file gets its name or loses it.
    idle: Mutex<HashMap<String, Timestamp>>,
}

impl Objects {
    /// Opens the folder, and removes what an earlier process left unfinished.
    pub fn open(root: PathBuf) -> std::io::Result<Self> {
        dir::create(&root)?;
        for file in fs::read_dir(&root)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(Self { root, unfinished: AtomicU64::new(0), idle: Mutex::default() })
    }

    /// Stores bytes; their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let digest = hex(&Sha256::digest(bytes));
        let file = self.file(&digest);
        let folder = file.parent().unwrap_or(&self.root);
        self.write(bytes, folder, &file, &digest).map_err(|error| failed(&file, &error))?;
        Ok(digest)
    }

    /// The bytes with this digest.
    pub fn get(&self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_digest {
            return Ok(None);
        }
        let file = self.file(digest);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&file, &error)),
        };
        if hex(&Sha256::digest(&bytes)) != digest {
            let what = format!("objects {digest}: the bytes have another digest; deploy the app again");
            return Err(StoreError::Corrupt(what));
        }
        Ok(Some(bytes.into()))
    }

    /// Removes what is not `needed`, and was not `grace` ago; how many files.
    pub fn sweep(
        &self,
        needed: &HashSet<String>,
        grace: Duration,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let failed = |error: std::io::Error| failed(&self.root, &error);
        let mut gone = 0;
        self.idle.lock().retain(|digest, _| !needed.contains(digest));
        for folder in fs::read_dir(&self.root).map_err(failed)? {
            let folder = folder.map_err(failed)?.path();
            if !folder.is_dir() {
                continue;
            }
            for file in fs::read_dir(&folder).map_err(failed)? {
                let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
                if needed.contains(&name) || place(&self.root, &name) != folder.join(&name) {
                    continue;
                }
                let mut idle = self.idle.lock();
                if now.before(grace) < *idle.entry(name.clone()).or_insert(now) {
                    continue;
                }
                match fs::remove_file(folder.join(&name)) {
                    Ok(()) => gone += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
                idle.remove(&name);
            }
        }
        Ok(gone)
    }

    fn file(&self, digest: &str) -> PathBuf {
        place(&self.root, digest)
    }

    fn write(&self, bytes: &[u8], folder: &Path, file: &Path, digest: &str) -> std::io::Result<()> {
        if !folder.is_dir() {
            dir::create(folder)?;
            dir::sync(&self.root)?;
        }
        let n = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(format!("{UNFINISHED}{n}"));
        let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let name = || {
            // From now on it counts as new, also if it was about to go.
            let mut idle = self.idle.lock();
            idle.remove(digest);
            fs::rename(&unfinished, file)
        };
        let named = written.write_all(bytes).and_then(|()| written.sync_all()).and_then(|()| name());
        if named.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        named?;
        dir::sync(folder)
    }
}

/// What the name of a file begins with that is still being written.
pub(crate) const UNFINISHED: &str = "unfinished-";

/// The digest of a file below `root`, if that is its name and its place.
pub(crate) fn of_file(root: &Path, file: &Path) -> std::io::Result<Option<String>> {
    let digest = digest_of(file)?;
    Ok((place(root, &digest) == file).then_some(digest))
}

/// SHA-256 of a file's bytes, which need not fit into memory.
pub(crate) fn digest_of(file: &Path) -> std::io::Result<String> {
    let mut digest = Sha256::new();
    std::io::copy(&mut fs::File::open(file)?, &mut digest)?;
    Ok(hex(&digest.finalize()))
}

fn place(root: &Path, digest: &str) -> PathBuf {
    root.join(digest.get(..2).unwrap_or(digest)).join(digest)
}

fn failed(file: &Path, error: &std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            StoreError::Full(dir::room(file, &error.to_string()))
        }
        _ => StoreError::Unavailable(format!("{}: {error}", file.display())),
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
