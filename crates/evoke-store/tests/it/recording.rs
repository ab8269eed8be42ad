//! What `record` is given is buffered, but not for long and not without bound.

use std::time::Duration;

use evoke_core::record::RunState;
use evoke_core::store::Store;
use evoke_core::testing::conformance::samples::{START, append, ended, line};
use evoke_store::{OpenOptions, SqliteStore, limit};
use rusqlite::Connection;

/// How many lines another connection sees: those that are durable.
fn durable(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM logs", [], |row| row.get(0)).unwrap()
}

/// Waits for a condition, but not for ever.
fn until(condition: impl Fn() -> bool) {
    let start = tokio::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not become durable");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_record_becomes_durable_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
    store.record(vec![ended(1, "f", RunState::Completed)], vec![line(1, "f", "hello", START)]).await.unwrap();
    until(|| durable(&conn) == 1);
}

#[tokio::test]
async fn a_record_goes_with_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
    store.record(Vec::new(), vec![line(1, "f", "hello", START)]).await.unwrap();
    store.append(vec![append("a", 1, "f")], START).await.unwrap();
    assert_eq!(durable(&conn), 1);
}

#[tokio::test]
async fn many_records_do_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
    let many = limit::RECORDS_WAITING * 20;
    for _ in 0..many {
        store.record(Vec::new(), vec![line(1, "f", &"x".repeat(8 << 10), START)]).await.unwrap();
    }
    until(|| durable(&conn) == many as i64);
}
