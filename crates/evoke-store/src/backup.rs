//! Copies of a store, also of one a server is working with, and back.
//!
//! A backup is a directory: the database as of one moment, the objects, and a manifest with the digest of each file. The
//! manifest is written last: a directory without it is no backup. The database is read through SQLite, beside the server
//! that owns the directory: it takes no lock that a writer waits for.

mod manifest;
mod restore;
mod salvage;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evoke_core::time::Timestamp;
use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::dir;
use crate::open::OpenError;
use crate::rest::AtRest;
use crate::verify::{Finding, objects, verify};
pub use manifest::{Listed, Manifest};
pub use restore::restore;
pub use salvage::salvage;

/// Pages copied in one go, and how long to wait after them: at most 60 MiB a second, so that the disk stays free for the
/// syncs of a server.
const PAGES: i32 = 256;
const PAUSE: Duration = Duration::from_millis(16);

/// Why there is no backup, or why it was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is something already.
    #[error("{} is not empty; name a directory that is empty or not there yet", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// It has no manifest.
    #[error("{} is no backup: it has no manifest.json, which is written last", dir.display())]
    NoBackup {
        /// The directory.
        dir: PathBuf,
    },
    /// The manifest is not readable, or names what no backup has.
    #[error("{}: {cause}; use another backup", file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A newer version made it.
    #[error("backup {} has format {found}, this version knows formats up to {known}; restore it with the version that made it, or a newer one", dir.display())]
    Newer {
        /// The backup.
        dir: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// A file of the backup is not as it was.
    #[error("backup file {} is damaged: {cause}; use another backup", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The copy is not intact, because the store is not.
    #[error("the store is damaged: {} findings; evoke store verify lists them, evoke store salvage keeps what is intact", .0.len())]
    Damaged(Vec<Finding>),
    /// The disk failed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
}

impl BackupError {
    /// Stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open(error) => error.code(),
            Self::NotEmpty { .. } => "target_not_empty",
            Self::NoBackup { .. } => "no_backup",
            Self::Manifest { .. } => "backup_manifest",
            Self::Newer { .. } => "backup_newer",
            Self::Changed { .. } => "backup_damaged",
            Self::Damaged(_) => "store_damaged",
            Self::Io { .. } => "backup_io",
        }
    }

    fn io(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Io { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// Copies the store in `dir` to `target`, a directory that is empty or not there. Blocks. The copy is looked at as
/// [`verify`] does before the manifest is written.
pub fn backup(dir: &Path, target: &Path, now: Timestamp) -> Result<Manifest, BackupError> {
    empty(target)?;
    let rest = AtRest::open(dir)?;
    let database = dir::database(target);
    copy_database(&rest.conn, &database).map_err(|cause| BackupError::io(&database, cause))?;
    let (from, to) = (dir::objects(dir), dir::objects(target));
    let mut report = crate::Report { in_use: rest.in_use, ..crate::Report::default() };
    for file in objects::files(&from, &mut report) {
        let name = file.strip_prefix(&from).expect("it was found below");
        match copy(&file, &to.join(name)) {
            Ok(()) => {}
            // Removed meanwhile: what the database still needs is found to be missing below.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::io(&file, error)),
        }
    }
    let copied = verify(target)?;
    if !copied.is_intact() {
        return Err(BackupError::Damaged(copied.findings));
    }
    let manifest = Manifest::of(target, rest.format, now)?;
    manifest.write(target).map_err(|cause| BackupError::io(target, cause))?;
    Ok(manifest)
}

/// As of the moment at which it begins, however long it takes: the transaction keeps that moment readable.
fn copy_database(from: &Connection, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let moment = from.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    dir::private(to)?;
    let mut copy = Connection::open(to)?;
    // The copy counts only when its manifest is there, and is synced before that.
    copy.pragma_update(None, "synchronous", "off")?;
    Backup::new(&moment, &mut copy)?.run_to_completion(PAGES, PAUSE, None)?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(File::open(to)?.sync_all()?)
}

/// Copies a file, through to the disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut read = File::open(from)?;
    if let Some(folder) = to.parent() {
        dir::create(folder)?;
    }
    let mut written = dir::private(to)?;
    io::copy(&mut read, &mut written)?;
    written.sync_all()
}

/// Makes sure that a directory is there and empty.
fn empty(dir: &Path) -> Result<(), BackupError> {
    dir::create(dir).map_err(|cause| BackupError::io(dir, cause))?;
    let mut entries = fs::read_dir(dir).map_err(|cause| BackupError::io(dir, cause))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty { dir: dir.to_owned() }),
    }
}
