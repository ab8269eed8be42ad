//! A row that is not as it was written is noticed, named, and hurts nobody else.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use evoke_core::record::RunState;
use evoke_core::store::{
    Append, DeadLetterQuery, EventQuery, Expect, LogQuery, NewInvocation, RunQuery, SettleError, Store,
    StoreError, Verdict,
};
use evoke_core::testing::conformance::samples::*;
use evoke_store::{OpenError, OpenOptions, SqliteStore};
use rusqlite::Connection;
use tempfile::TempDir;

/// A store with a row in each table: queued run 1, dead run 2, queued request 3.
async fn filled() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path(), OpenOptions::default()).unwrap());
    let call = NewInvocation { request: Some(request()), ..delivery(3, "h") };
    let call =
        Append { app: app(), dedup: None, event: None, invocations: vec![call], version: None, again: None };
    store.append(vec![append("a", 1, "f"), append("b", 2, "g"), call], START).await.unwrap();
    let dead = lease_one(&store, "g", START).await;
    let verdict = Verdict::DeadLetter { reason: "gave up".to_owned() };
    store.settle(settlement(&dead.lease, verdict), START).await.unwrap();
    store.write(vec![put("k", "\"precious\"", Expect::Anything)], START).await.unwrap();
    store.record(vec![ended(4, "f", RunState::Completed)], vec![line(4, "f", "hello", START)]).await.unwrap();
    let object = store.put_object("bundle".into()).await.unwrap();
    store.close().await.unwrap();
    (dir, object)
}

/// Opens what `damage` (SQL) was done to.
async fn damaged(damage: &str) -> (TempDir, Arc<dyn Store>) {
    let (dir, _) = filled().await;
    let changed = Connection::open(dir.path().join("evoke.db")).unwrap().execute(damage, []).unwrap();
    assert_eq!(changed, 1, "{damage}");
    let store = Arc::new(SqliteStore::open(dir.path(), OpenOptions::default()).unwrap());
    (dir, store)
}

fn names(error: StoreError, row: &str) {
    match error {
        StoreError::Corrupt(what) => assert!(what.starts_with(row), "{what:?} should begin with {row:?}"),
        other => panic!("expected a corrupt row, got {other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_verified() {
    let (_dir, store) =
        damaged("UPDATE log SET event = CAST(replace(event, 'order', 'other') AS BLOB) WHERE seq = 1").await;
    let query = EventQuery { limit: 9, ..EventQuery::default() };
    names(store.events(&query).await.unwrap_err(), "log 1: the checksum does not match");
    names(store.lease(&queue("f"), 1, START, HOLD).await.unwrap_err(), "log 1: ");
}

#[tokio::test]
async fn an_event_moved_to_another_position_is_noticed() {
    let (_dir, store) = damaged("UPDATE log SET seq = 999 WHERE seq = 1").await;
    let query = EventQuery { limit: 9, ..EventQuery::default() };
    names(store.events(&query).await.unwrap_err(), "log 999: ");
    names(store.lease(&queue("f"), 1, START, HOLD).await.unwrap_err(), "log 1: the row is missing");
}

#[tokio::test]
async fn a_run_is_verified() {
    let damage = "UPDATE runs SET body = CAST(replace(body, 'POST', 'GETS') AS BLOB) WHERE id LIKE '%4'";
    let (_dir, store) = damaged(damage).await;
    let query = RunQuery { limit: 9, ..RunQuery::default() };
    names(store.runs(&query).await.unwrap_err(), "runs run_00000000000000000000000004: ");
}

#[tokio::test]
async fn a_pending_invocation_is_verified() {
    let (_dir, store) =
        damaged("UPDATE pending SET attempts = 4 WHERE n = (SELECT min(n) FROM pending)").await;
    names(store.lease(&queue("f"), 1, START, HOLD).await.unwrap_err(), "pending ");
}

#[tokio::test]
async fn a_dead_letter_is_verified() {
    let (_dir, store) = damaged("UPDATE dead SET reason = 'another'").await;
    let query = DeadLetterQuery { limit: 9, ..DeadLetterQuery::default() };
    names(store.dead_letters(&query).await.unwrap_err(), "dead ");
}

#[tokio::test]
async fn a_request_is_verified() {
    let (_dir, store) = damaged("UPDATE requests SET body = zeroblob(256)").await;
    names(store.lease(&queue("h"), 1, START, HOLD).await.unwrap_err(), "requests ");
}

#[tokio::test]
async fn an_entry_is_verified_with_its_key() {
    for damage in [
        "value = CAST('\"worthless\"' AS BLOB)",
        "key = 'other'",
        "revision = 1",
        "space = 'app/other/default'",
    ] {
        let (dir, store) = damaged(&format!("UPDATE entries SET {damage}")).await;
        let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
        let place =
            conn.query_row("SELECT space, key FROM entries", [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (space, key): (String, String) = place.unwrap();
        let read = store.get(&evoke_core::store::Space(space.clone()), &key, START).await;
        names(read.unwrap_err(), &format!("entries {space} {key:?}: the checksum does not match"));
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_noticed() {
    let (_dir, store) = damaged("UPDATE entries SET value = 'text'").await;
    names(store.get(&space(), "k", START).await.unwrap_err(), "Invalid column type");
}

#[tokio::test]
async fn a_log_line_is_verified() {
    let (_dir, store) = damaged("UPDATE logs SET line = 'goodbye'").await;
    names(store.logs(&LogQuery { limit: 9, ..LogQuery::default() }).await.unwrap_err(), "logs 1: ");
}

#[tokio::test]
async fn the_counters_are_verified_when_it_opens() {
    let (dir, _) = filled().await;
    let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
    conn.execute("UPDATE counters SET last = 1", []).unwrap();
    let error = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap_err();
    assert!(
        matches!(&error, OpenError::Corrupt { cause, .. } if cause.starts_with("counters 1: ")),
        "{error}"
    );
}

#[tokio::test]
async fn an_object_is_verified() {
    let (dir, object) = filled().await;
    let file = dir.path().join("objects").join(&object[..2]).join(&object);
    fs::write(file, "bungle").unwrap();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    names(store.get_object(&object).await.unwrap_err(), &format!("objects {object}: "));
    store.put_object("bundle".into()).await.unwrap();
    assert_eq!(store.get_object(&object).await.unwrap().unwrap(), "bundle", "storing it again repairs it");
}

#[tokio::test]
async fn a_flipped_bit_in_the_file_is_noticed() {
    let (dir, _) = filled().await;
    flip(&dir.path().join("evoke.db"), b"precious");
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    names(store.get(&space(), "k", START).await.unwrap_err(), "entries ");
}

fn flip(file: &Path, near: &[u8]) {
    let mut bytes = fs::read(file).unwrap();
    let place = bytes.windows(near.len()).position(|window| window == near).expect("it is in the file");
    bytes[place] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_failing_item_spares_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path(), OpenOptions::default()).unwrap());
    store.append((1..=40).map(|n| append(&format!("e{n}"), n, "f")).collect(), START).await.unwrap();
    let leased = lease_all(&store, "f", START).await;
    let damage = "UPDATE runs SET body = CAST(replace(body, 'POST', 'GETS') AS BLOB) WHERE id LIKE '%17'";
    assert_eq!(Connection::open(dir.path().join("evoke.db")).unwrap().execute(damage, []).unwrap(), 1);
    // All at once, so that they share a transaction: the damaged one fails in the midst of its changes.
    let settled = all_at_once(leased.iter().map(|one| {
        let mut settlement = complete(&one.lease);
        settlement.writes = vec![put(one.lease.run.as_str(), "1", Expect::Absent)];
        let store = store.clone();
        async move { store.settle(settlement, START).await }
    }));
    for (one, result) in leased.iter().zip(settled.await) {
        let damaged = one.lease.run == run_id(17);
        match result {
            Ok(_) => assert!(!damaged),
            Err(SettleError::Store(error)) if damaged => names(error, "runs "),
            Err(error) => panic!("{}: {error}", one.lease.run),
        }
        let written = store.get(&space(), one.lease.run.as_str(), START).await.unwrap();
        assert_eq!(written.is_some(), !damaged, "{}", one.lease.run);
    }
    store.append(vec![append("later", 99, "f")], START).await.expect("the store goes on");
}
