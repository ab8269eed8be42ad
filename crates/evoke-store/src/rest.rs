//! A store that is only looked at: closed, a copy, or beside the server that has it.

use std::fs::{self, File};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;

use crate::dir;
use crate::open::OpenError;
use crate::schema::{self, Found};

/// A store open for reading. Changes nothing in the directory.
pub(crate) struct AtRest {
    pub conn: Connection,
    pub format: i64,
    /// Another process has the directory.
    pub in_use: bool,
    /// Keeps servers away for as long as this one looks.
    _lock: Option<File>,
}

impl AtRest {
    /// Opens the store of `dir`, which must be there and of a format this version knows.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let file = dir::database(dir);
        let corrupt = |cause: String| OpenError::Corrupt { file: file.clone(), cause };
        if !fs::metadata(&file).map_err(|_| OpenError::NoStore { dir: dir.to_owned() })?.is_file() {
            return Err(OpenError::NoStore { dir: dir.to_owned() });
        }
        let (lock, in_use) = look_at_lock(dir)?;
        let conn = connect(dir, in_use).map_err(|error| corrupt(error.to_string()))?;
        match schema::look(&conn).map_err(|error| corrupt(error.to_string()))? {
            Found::Version(found) if found > schema::VERSION => {
                Err(OpenError::Newer { dir: dir.to_owned(), found, known: schema::VERSION })
            }
            Found::Version(found) if found < schema::VERSION => {
                Err(OpenError::Older { dir: dir.to_owned(), found, known: schema::VERSION })
            }
            Found::Version(format) => Ok(Self { conn, format, in_use, _lock: lock }),
            Found::Empty | Found::Foreign => Err(corrupt("it is not a database of Evoke".to_owned())),
        }
    }
}

/// A copy need not have the file; a directory that was ever served from has it.
fn look_at_lock(dir: &Path) -> Result<(Option<File>, bool), OpenError> {
    let Ok(lock) = File::open(dir.join("lock")) else { return Ok((None, false)) };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok((Some(lock), false)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok((None, true)),
        Err(error) => Err(OpenError::of(dir, error.into())),
    }
}

/// Without a write-ahead log the file can be read as it is, also where nothing may be written.
fn connect(dir: &Path, in_use: bool) -> rusqlite::Result<Connection> {
    let file = dir::database(dir);
    let has_log = fs::metadata(dir::log(dir)).is_ok_and(|log| log.len() > 0);
    if in_use || has_log {
        return schema::reader(&file);
    }
    let mut uri = "file:".to_owned();
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str()) {
        uri.push_str(&match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        });
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(uri, flags)?;
    schema::set_up_reader(&conn)?;
    Ok(conn)
}
