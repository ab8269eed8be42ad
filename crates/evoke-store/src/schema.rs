//! The tables, the format's version, and how a connection is set up.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::limit;
use crate::trouble::Trouble;

/// The format this code reads and writes, in `PRAGMA user_version`.
pub const VERSION: i64 = 3;
/// `EVOK`, in `PRAGMA application_id`: tells the file from any other SQLite database.
pub(crate) const APPLICATION: i64 = 0x4556_4f4b;

const TABLES: &str = include_str!("schema.sql");

/// What a file says of itself.
pub(crate) enum Found {
    /// Nothing: it is new.
    Empty,
    /// It is ours, of this version.
    Version(i64),
    /// Something else.
    Foreign,
}

/// Opens the writing connection.
pub(crate) fn writer(file: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    common(&conn, limit::WRITER_CACHE_KIB)?;
    if conn.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        give_back(&conn)?;
    }
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "wal_autocheckpoint", limit::LOG_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", limit::LOG_BYTES)?;
    Ok(conn)
}

/// Has pages that are free given back (`write/shrink.rs`), from the first page on or from the next `VACUUM`. It may write to a file
/// that has pages.
pub(crate) fn give_back(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "auto_vacuum", "incremental")
}

/// Opens a reading connection; the writing one must be open.
pub(crate) fn reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    set_up_reader(&conn)?;
    Ok(conn)
}

/// Sets up a connection that only reads.
pub(crate) fn set_up_reader(conn: &Connection) -> rusqlite::Result<()> {
    common(conn, limit::READER_CACHE_KIB)
}

fn common(conn: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(64);
    // Plans must not depend on the values bound: a statement is prepared once.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))
}

/// What the file is.
pub(crate) fn look(conn: &Connection) -> rusqlite::Result<Found> {
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, version, tables) {
        (APPLICATION, version, _) => Found::Version(version),
        (0, 0, 0) => Found::Empty,
        _ => Found::Foreign,
    })
}

/// Whether there is a table of this name.
pub(crate) fn has_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let find = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    conn.query_row(find, [name], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

/// What makes up the schema: type, name, table and definition of each table and index, the last without comments and
/// space.
type Shape = Vec<[String; 4]>;

/// Whether its tables and indices are those of this version: what was made by a version between two formats may have others.
pub(crate) fn is_as_expected(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(shape(conn)? == expected_shape()?)
}

/// The schema of a database.
fn shape(conn: &Connection) -> rusqlite::Result<Shape> {
    let mut find = conn
        .prepare("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")?;
    let rows = find.query_map([], |row| {
        let sql: String = row.get(3)?;
        let words = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, words.flat_map(str::split_whitespace).collect()])
    })?;
    rows.collect()
}

/// The schema as it should be.
fn expected_shape() -> rusqlite::Result<Shape> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(TABLES)?;
    shape(&conn)
}

/// Makes the tables, in one transaction.
pub(crate) fn create(conn: &mut Connection) -> Result<(), Trouble> {
    let tx = conn.transaction()?;
    tx.execute_batch(TABLES)?;
    crate::table::counters::Counters::default().insert(&tx)?;
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    Ok(tx.commit()?)
}
