//! Opening a data directory.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use crate::dir::{self, Owner};
use crate::migrate::{self, Tell};
use crate::object::Objects;
use crate::schema::{self, Found};
use crate::table::counters::Counters;
use crate::table::pending::Pending;
use crate::trouble::Trouble;

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Threads that read, each with a connection; at least 1.
    pub readers: usize,
    /// Told how a migration from an older format goes on, which may take a while.
    pub progress: Option<Tell>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { readers: 2, progress: None }
    }
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "data directory {} is in use by {}; stop it, or use another directory",
        dir.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who, when that could be read.
        pid: Option<u32>,
    },
    /// This user may not write there.
    #[error("data directory {} is not writable: {cause}; change its owner or mode, or use another directory", dir.display())]
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A newer version wrote it.
    #[error(
        "data directory {} has format {found}, this version knows formats up to {known}; \
         run the version that wrote it, or a newer one",
        dir.display()
    )]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// The format it has.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// It can only be looked at in the present format.
    #[error(
        "data directory {} has format {found}, and this version looks at format {known} only; start a server on it \
         once, which brings it there",
        dir.display()
    )]
    Older {
        /// The directory.
        dir: PathBuf,
        /// The format it has.
        found: i64,
        /// The format that can be looked at.
        known: i64,
    },
    /// There is none.
    #[error("{} has no store: there is no file evoke.db in it", dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// The path is something else.
    #[error("data directory {} is not a directory; choose another path", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The database is no database of Evoke's, or damaged.
    #[error("{}: {cause}; restore the data directory from a copy, or use another directory", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The disk, or the system, failed.
    #[error("data directory {} cannot be opened: {cause}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What failed.
        cause: String,
    },
}

impl OpenError {
    /// Stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "data_locked",
            Self::NotWritable { .. } => "data_not_writable",
            Self::Newer { .. } => "data_newer",
            Self::Older { .. } => "data_older",
            Self::NoStore { .. } => "data_absent",
            Self::NotADirectory { .. } => "data_not_a_directory",
            Self::Corrupt { .. } => "data_corrupt",
            Self::Io { .. } => "data_io",
        }
    }

    pub(crate) fn of(dir: &Path, cause: io::Error) -> Self {
        let dir = dir.to_owned();
        match cause.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotWritable { dir, cause },
            ErrorKind::NotADirectory => Self::NotADirectory { dir },
            _ => Self::Io { dir, cause: cause.to_string() },
        }
    }
}

/// An open data directory.
pub(crate) struct Opened {
    pub owner: Owner,
    pub writer: Connection,
    pub readers: Vec<Connection>,
    pub counters: Counters,
    pub objects: Arc<Objects>,
}

/// Takes the directory, checks its format, and ends the leases of its former owner.
pub(crate) fn open(dir: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let owner = Owner::claim(dir)?;
    let file = dir::database(dir);
    // SQLite gives the files beside the database the mode of the database.
    dir::private(&file).map_err(|error| OpenError::of(dir, error))?;
    let failed = |error: rusqlite::Error| trouble(dir, &file, error.into());
    let mut writer = schema::writer(&file).map_err(failed)?;
    match schema::look(&writer).map_err(failed)? {
        Found::Empty => schema::create(&mut writer).map_err(|error| trouble(dir, &file, error))?,
        Found::Version(found) if found > schema::VERSION => {
            return Err(OpenError::Newer { dir: dir.to_owned(), found, known: schema::VERSION });
        }
        Found::Version(found) if found >= migrate::OLDEST => {
            migrate::run(&mut writer, found, options.progress).map_err(|error| trouble(dir, &file, error))?;
        }
        Found::Version(found) => {
            return Err(OpenError::Corrupt { file, cause: format!("there is no format {found}") });
        }
        Found::Foreign => {
            return Err(OpenError::Corrupt { file, cause: "it is not a database of Evoke".to_owned() });
        }
    }
    if !schema::is_as_expected(&writer).map_err(failed)? {
        let cause = format!("its tables and indices are not those of format {}", schema::VERSION);
        return Err(OpenError::Corrupt { file, cause });
    }
    void_leases(&mut writer).map_err(|error| trouble(dir, &file, error))?;
    let counters = Counters::read(&writer).map_err(|error| trouble(dir, &file, error))?;
    let readers = (0..options.readers.max(1))
        .map(|_| schema::reader(&file))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let objects = Objects::open(dir::objects(dir)).map_err(|error| OpenError::of(dir, error))?;
    dir::sync(dir).map_err(|error| OpenError::of(dir, error))?;
    Ok(Opened { owner, writer, readers, counters, objects: Arc::new(objects) })
}

/// Nobody can settle them any more: whoever held them had the directory before.
fn void_leases(conn: &mut Connection) -> Result<(), Trouble> {
    const AT_ONCE: i64 = 1_000;
    let tx = conn.transaction()?;
    loop {
        let leased = Pending::leased(&tx, 0, AT_ONCE)?;
        if leased.is_empty() {
            break;
        }
        for mut row in leased {
            row.void();
            row.update(&tx)?;
        }
    }
    Ok(tx.commit()?)
}

fn trouble(dir: &Path, file: &Path, trouble: Trouble) -> OpenError {
    use evoke_core::store::StoreError;
    match trouble.error {
        StoreError::Corrupt(cause) => OpenError::Corrupt { file: file.to_owned(), cause },
        other => OpenError::Io { dir: dir.to_owned(), cause: other.to_string() },
    }
}
