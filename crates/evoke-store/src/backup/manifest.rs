//! What a backup consists of.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::object::digest_of;
use crate::schema;
use crate::{dir, verify};

const FILE: &str = "manifest.json";

/// The list of what is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the store.
    pub format: i64,
    /// When it was made, microseconds since 1970.
    pub made_at: u64,
    /// The files, by path.
    pub files: Vec<Listed>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Relative to the backup.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// Of what is in `dir` now.
    pub(super) fn of(dir: &Path, format: i64, now: Timestamp) -> Result<Self, BackupError> {
        let mut ignored = verify::Report::default();
        let mut files = Vec::new();
        let objects = verify::objects::files(&dir::objects(dir), &mut ignored);
        for file in std::iter::once(dir::database(dir)).chain(objects) {
            let listed = || -> io::Result<Listed> {
                let path = file.strip_prefix(dir).unwrap_or(&file).display().to_string();
                Ok(Listed { path, bytes: fs::metadata(&file)?.len(), sha256: digest_of(&file)? })
            };
            files.push(listed().map_err(|cause| BackupError::io(&file, cause))?);
        }
        Ok(Self { format, made_at: now.0, files })
    }

    /// Makes a backup of what is in `dir`.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join("unfinished-manifest");
        let mut file = dir::private(&unfinished)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        for folder in folders(&dir::objects(dir)) {
            File::open(folder)?.sync_all()?;
        }
        dir::sync(dir)?;
        fs::rename(&unfinished, dir.join(FILE))?;
        dir::sync(dir)
    }

    /// That of the backup in `dir`.
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let file = dir.join(FILE);
        let wrong = |cause: String| BackupError::Manifest { file: file.clone(), cause };
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::NoBackup { dir: dir.to_owned() });
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        // The number first: what else is in the manifest of a newer format is not known.
        #[derive(Deserialize)]
        struct Format {
            format: i64,
        }
        let Format { format } = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if format > schema::VERSION {
            return Err(BackupError::Newer { dir: dir.to_owned(), found: format, known: schema::VERSION });
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        match manifest.files.iter().find(|listed| !listed.has_a_place()) {
            Some(listed) => Err(wrong(format!("{:?} is no file of a backup", listed.path))),
            None => Ok(manifest),
        }
    }
}

impl Listed {
    /// Only what a store consists of, so that nothing is written elsewhere.
    fn has_a_place(&self) -> bool {
        let is_hex = |part: &str, len| {
            part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match self.path.split('/').collect::<Vec<_>>()[..] {
            ["evoke.db"] => true,
            ["objects", folder, file] => is_hex(folder, 2) && is_hex(file, 64),
            _ => false,
        }
    }
}

/// A folder and those in it.
pub(super) fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root)
        .into_iter()
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    if root.is_dir() {
        found.push(root.to_owned());
    }
    found
}
