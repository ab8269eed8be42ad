//! The data directory: who owns it, and the modes of what is in it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::open::OpenError;

/// The database in a data directory.
pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join("evoke.db")
}

/// What was committed to the database since it was last put in order.
pub(crate) fn log(dir: &Path) -> PathBuf {
    dir.join("evoke.db-wal")
}

/// The objects in a data directory.
pub(crate) fn objects(dir: &Path) -> PathBuf {
    dir.join("objects")
}

/// The only owner of a data directory, as long as it lives. The kernel releases the lock when the process dies.
#[derive(Debug)]
pub(crate) struct Owner(#[expect(unused, reason = "holds the lock")] File);

impl Owner {
    /// Makes the directory if it is not there, and takes it.
    pub fn claim(dir: &Path) -> Result<Self, OpenError> {
        create(dir).map_err(|error| OpenError::of(dir, error))?;
        if !dir.is_dir() {
            return Err(OpenError::NotADirectory { dir: dir.to_owned() });
        }
        let mut lock = private(&dir.join("lock")).map_err(|error| OpenError::of(dir, error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let pid = lock.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
                return Err(OpenError::Locked { dir: dir.to_owned(), pid });
            }
            Err(error) => return Err(OpenError::of(dir, error.into())),
        }
        sign(&mut lock).map_err(|error| OpenError::of(dir, error))?;
        Ok(Self(lock))
    }
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    writeln!(lock, "{}", std::process::id())
}

/// Makes a directory for its owner only. One that is there stays as it is: it may be somebody else's to decide.
pub(crate) fn create(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Opens a file for reading and writing; one that is made is for its owner only.
pub(crate) fn private(file: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)
}

/// Says of a full disk which it is, and how much room it has left: some disks refuse before they are full (quotas, space for
/// root only).
pub(crate) fn room(file: &Path, what: &str) -> String {
    let free = rustix::fs::statvfs(file.parent().unwrap_or(file)).map(|disk| disk.f_bavail * disk.f_frsize);
    match free {
        Ok(free) => format!("{}: {what}; {free} bytes are free there", file.display()),
        Err(_) => format!("{}: {what}", file.display()),
    }
}

/// Makes what was created, renamed or removed in a directory durable.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
