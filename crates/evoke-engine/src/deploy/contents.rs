//! What an uploaded bundle holds, read without unpacking it. Archives are hostile: nothing is believed but what was read.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use evoke_core::limits::Limits;
use evoke_core::manifest::FileKind;

/// The manifest's name at the top of a bundle.
pub(super) const MANIFEST: &str = "evoke.toml";

/// The largest manifest.
const MANIFEST_BYTES: u64 = 1 << 20;

/// The manifest and the names of the files beside it.
#[derive(Debug)]
pub(super) struct Contents {
    pub manifest: String,
    files: BTreeMap<PathBuf, FileKind>,
}

impl Contents {
    /// Reads a tar. The error says what is wrong with it.
    pub fn read(bundle: &[u8], limits: &Limits) -> Result<Self, String> {
        if bundle.len() as u64 > limits.bundle_bytes {
            return Err(format!("it has {} bytes, the limit is {}", bundle.len(), limits.bundle_bytes));
        }
        let mut archive = tar::Archive::new(bundle);
        let mut manifest = None;
        let mut files = BTreeMap::new();
        let not_a_tar = |error: std::io::Error| format!("it is not a tar archive: {error}");
        for entry in archive.entries().map_err(not_a_tar)? {
            let mut entry = entry.map_err(not_a_tar)?;
            let path = entry.path().map_err(not_a_tar)?.into_owned();
            let path = inside(&path).ok_or_else(|| format!("path {path:?} leads out of the app's folder"))?;
            let kind = match entry.header().entry_type() {
                tar::EntryType::Regular => FileKind::File,
                tar::EntryType::Directory => FileKind::Folder,
                other => return Err(format!("{path:?} is a {other:?}; only files and folders are taken")),
            };
            if path.as_os_str().is_empty() {
                continue;
            }
            if path == Path::new(MANIFEST) {
                let mut text = String::new();
                entry
                    .by_ref()
                    .take(MANIFEST_BYTES)
                    .read_to_string(&mut text)
                    .map_err(|_| format!("{MANIFEST} is not UTF-8 text"))?;
                manifest = Some(text);
            }
            for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                files.insert(parent.to_owned(), FileKind::Folder);
            }
            files.insert(path, kind);
            if files.len() > limits.bundle_files {
                return Err(format!("it has more than {} files", limits.bundle_files));
            }
        }
        let manifest = manifest.ok_or_else(|| format!("it has no {MANIFEST} at its top"))?;
        Ok(Self { manifest, files })
    }

    /// What lies at `path`.
    pub fn kind(&self, path: &Path) -> Option<FileKind> {
        self.files.get(&inside(path)?).copied()
    }
}

/// The path without `.`, or `None` when it is absolute or has `..`.
pub(super) fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}
