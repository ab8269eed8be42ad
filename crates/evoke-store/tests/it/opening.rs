//! Opening a data directory: whose it is, what is in it, and what is said when it cannot be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evoke_core::store::Store;
use evoke_core::testing::conformance::samples::{START, append};
use evoke_store::{OpenError, OpenOptions, SqliteStore, verify};
use rusqlite::Connection;

use super::sample;

fn open(dir: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(dir, OpenOptions::default())
}

/// The message, with the directory's name made the same for everybody.
fn refusal(dir: &Path, said: &Path) -> String {
    let error = open(dir).expect_err("it must not open");
    format!("{}: {}", error.code(), error.to_string().replace(&said.display().to_string(), "DIR"))
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let pid = std::process::id();
    let expected = format!(
        "data_locked: data directory DIR is in use by process {pid}; stop it, or use another directory"
    );
    assert_eq!(refusal(dir.path(), dir.path()), expected);
    first.append(vec![append("a", 1, "f")], START).await.unwrap();
    first.close().await.unwrap();
    let second = open(dir.path()).expect("closing gives it back, also before the store is dropped");
    drop(second);
    open(dir.path()).expect("dropping gives it back");
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let database = dir.path().join("evoke.db");
    Connection::open(&database).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&database).unwrap();
    assert_eq!(
        refusal(dir.path(), dir.path()),
        "data_newer: data directory DIR has format 7, this version knows formats up to 3; \
         run the version that wrote it, or a newer one"
    );
    assert_eq!(fs::read(&database).unwrap(), before);
}

#[test]
fn a_file_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "hello").unwrap();
    let expected = "data_not_a_directory: data directory DIR is not a directory; choose another path";
    assert_eq!(refusal(&file, &file), expected);
    assert_eq!(refusal(&file.join("below"), &file.join("below")), expected);
}

#[test]
fn a_place_where_nobody_may_write_is_named() {
    let dir = Path::new("/sys/evoke-test");
    let said = refusal(dir, dir);
    assert!(said.starts_with("data_not_writable: data directory DIR is not writable: "), "{said}");
    assert!(said.ends_with("; change its owner or mode, or use another directory"), "{said}");
}

#[test]
fn somebody_elses_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("evoke.db");
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert_eq!(
        refusal(dir.path(), dir.path()),
        "data_corrupt: DIR/evoke.db: it is not a database of Evoke; \
         restore the data directory from a copy, or use another directory"
    );
    fs::write(&database, [7; 8_192]).unwrap();
    assert_eq!(
        refusal(dir.path(), dir.path()),
        "data_corrupt: DIR/evoke.db: file is not a database; \
         restore the data directory from a copy, or use another directory"
    );
}

#[tokio::test]
async fn only_the_owner_may_read_what_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("deep/.evoke");
    let store = open(&dir).unwrap();
    store.append(vec![append("a", 1, "f")], START).await.unwrap();
    store.put_object("bundle".into()).await.unwrap();
    let mut seen = Vec::new();
    modes(&dir, &mut seen);
    for (path, mode, is_dir) in &seen {
        assert_eq!(*mode, if *is_dir { 0o700 } else { 0o600 }, "{path}");
    }
    let names: Vec<&str> = seen.iter().map(|(path, ..)| path.as_str()).collect();
    for name in ["evoke.db", "evoke.db-wal", "evoke.db-shm", "lock"] {
        assert!(names.iter().any(|path| path.ends_with(name)), "{name} is one of {names:?}");
    }
}

fn modes(path: &Path, seen: &mut Vec<(String, u32, bool)>) {
    let data = fs::metadata(path).unwrap();
    seen.push((path.display().to_string(), data.permissions().mode() & 0o777, data.is_dir()));
    if data.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| modes(&entry.unwrap().path(), seen));
    }
}

#[tokio::test]
async fn a_clean_shutdown_leaves_one_database_file() {
    // Often: of connections that are closed at the same time, none takes the log away.
    for round in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        store.append(vec![append("a", 1, "f")], START).await.unwrap();
        match round % 2 {
            0 => store.close().await.unwrap(),
            _ => drop(store),
        }
        assert!(!dir.path().join("evoke.db-wal").exists(), "in round {round}");
        assert!(dir.path().join("evoke.db").exists());
    }
}

#[test]
fn unfinished_objects_of_a_former_process_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let left = dir.path().join("objects/unfinished-0");
    fs::write(&left, "half").unwrap();
    drop(open(dir.path()).unwrap());
    assert!(!left.exists());
}

#[tokio::test]
async fn a_store_whose_server_died_as_soon_as_it_was_made_is_sound() {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path()).unwrap();
    store.append(vec![append("a", 1, "f")], START).await.unwrap();
    // Nothing is carried over from the log yet.
    sample::copy(dir.path(), left.path());
    assert_eq!(verify(left.path()).unwrap().findings, []);
    store.close().await.unwrap();
}

#[tokio::test]
async fn tables_that_are_not_those_of_the_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    SqliteStore::open(dir.path(), OpenOptions::default()).unwrap().close().await.unwrap();
    let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
    conn.execute_batch("DROP INDEX runs_open; CREATE INDEX runs_by_queue ON runs (queue, state, id)")
        .unwrap();
    drop(conn);
    assert_eq!(
        refusal(dir.path(), dir.path()),
        "data_corrupt: DIR/evoke.db: its tables and indices are not those of format 3; restore the data directory from a \
         copy, or use another directory"
    );
    assert!(!verify(dir.path()).unwrap().is_intact());
}
