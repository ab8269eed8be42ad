//! Writing a store anew, without the pages that are free.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::dir::{self, Owner};
use crate::open::OpenError;
use crate::schema::{self, Found};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Bytes of the database before.
    pub before_bytes: u64,
    /// And now.
    pub after_bytes: u64,
}

/// Writes the database in `dir` anew, in one transaction, and so that it gives back by itself what is freed from now on. No server
/// may have the directory. Blocks; takes as much room again as the database has while it does.
pub fn compact(dir: &Path) -> Result<Compacted, OpenError> {
    let file = dir::database(dir);
    let bytes = || fs::metadata(&file).map(|metadata| metadata.len());
    let before_bytes = bytes().map_err(|_| OpenError::NoStore { dir: dir.to_owned() })?;
    let _owner = Owner::claim(dir)?;
    let failed = |error: rusqlite::Error| OpenError::Io { dir: dir.to_owned(), cause: error.to_string() };
    let conn = schema::writer(&file).map_err(failed)?;
    match schema::look(&conn).map_err(failed)? {
        Found::Version(schema::VERSION) => {}
        Found::Version(found) if found > schema::VERSION => {
            return Err(OpenError::Newer { dir: dir.to_owned(), found, known: schema::VERSION });
        }
        Found::Version(found) => {
            return Err(OpenError::Older { dir: dir.to_owned(), found, known: schema::VERSION });
        }
        Found::Empty | Found::Foreign => {
            return Err(OpenError::Corrupt { file, cause: "it is not a database of Evoke".to_owned() });
        }
    }
    schema::give_back(&conn).and_then(|()| conn.execute_batch("VACUUM")).map_err(failed)?;
    conn.pragma_update(None, "wal_checkpoint", "truncate").map_err(failed)?;
    conn.close().map_err(|(_, error)| failed(error))?;
    Ok(Compacted { before_bytes, after_bytes: bytes().map_err(|error| OpenError::of(dir, error))? })
}
