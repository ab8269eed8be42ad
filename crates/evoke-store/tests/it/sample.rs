//! A store with something in each table, always the same, and what must be found in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::record::RunState;
use evoke_core::store::{
    Append, DeadLetterQuery, EventQuery, Expect, ListQuery, LogQuery, NewInvocation, RunQuery, Space, Store,
    Value, ValueKind, Verdict, Write,
};
use evoke_core::testing::conformance::samples::*;
use evoke_store::{OpenOptions, SqliteStore};

/// Events to `f`; every second one is settled, with a state write and an emitted event.
pub const EVENTS: u64 = 24;
/// Bytes of a value that takes several pages.
pub const LARGE: usize = 20_000;
/// The two bundles.
pub const OBJECTS: [&str; 2] = ["the files of the app", "the files of the app, later"];

pub fn open(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(dir, OpenOptions::default()).unwrap())
}

/// Fills the store of an empty directory and closes it.
pub async fn fill(dir: &Path) {
    let store = open(dir);
    let events = (1..=EVENTS).map(|n| append(&format!("e{n}"), n, "f"));
    store.append(events.collect(), START).await.unwrap();
    let call = NewInvocation { request: Some(request()), ..delivery(101, "h") };
    let call =
        Append { app: app(), dedup: None, event: None, invocations: vec![call], version: None, again: None };
    store.append(vec![Append { version: Some(3), ..append("dead", 100, "g") }, call], START).await.unwrap();
    let dead = lease_one(&store, "g", START).await;
    let verdict = Verdict::DeadLetter { reason: "gave up after 5 attempts".to_owned() };
    store.settle(settlement(&dead.lease, verdict), START).await.unwrap();
    for leased in lease_all(&store, "f", START).await.into_iter().step_by(2) {
        let id = leased.lease.run.as_str().to_owned();
        let n: u64 = id.trim_start_matches("run_").parse().unwrap();
        let mut settlement = complete(&leased.lease);
        settlement.writes = vec![put(&format!("done/{n}"), "1", Expect::Absent)];
        settlement.appends = vec![append(&format!("of{n}"), 1_000 + n, "later")];
        store.settle(settlement, START).await.unwrap();
    }
    let large = Value { kind: ValueKind::Bytes, bytes: (0..LARGE).map(|n| (n * 7) as u8).collect() };
    let large = Write { value: Some(large), ..put("large", "0", Expect::Anything) };
    let soon = Write { expires_at: Some(at(60)), ..put("soon", "\"over\"", Expect::Anything) };
    store.write(vec![large, soon, put("gone", "0", Expect::Anything)], START).await.unwrap();
    store.write(vec![delete("gone", Expect::Anything)], START).await.unwrap();
    let lines = (0..20).map(|n| line(200, "f", &format!("line {n}"), START)).collect();
    store
        .record(vec![ended(200, "f", RunState::Completed), ended(201, "f", RunState::Failed)], lines)
        .await
        .unwrap();
    for (n, object) in OBJECTS.into_iter().enumerate() {
        let digest = store.put_object(object.into()).await.unwrap();
        let document = format!("{{\"bundle\":\"{digest}\",\"created_at\":{}}}", START.0 + n as u64);
        let key = format!("shop/f/rev_{n}");
        let document = Write { space: Space::revisions(), ..put(&key, &document, Expect::Anything) };
        store.write(vec![document], START).await.unwrap();
    }
    store.close().await.unwrap();
}

/// Reads all of it back through the seam. Leases everything, so it is good for once.
pub async fn check(dir: &Path) {
    let store = open(dir);
    let limit = 1_000;
    let events = store.events(&EventQuery { limit, ..EventQuery::default() }).await.unwrap();
    assert_eq!(events.len() as u64, EVENTS + 1 + EVENTS / 2);
    let runs = store.runs(&RunQuery { limit, ..RunQuery::default() }).await.unwrap();
    assert_eq!(runs.len() as u64, EVENTS + 2 + EVENTS / 2 + 2);
    for (state, count) in [(RunState::Completed, EVENTS / 2 + 1), (RunState::Failed, 1)] {
        let of = RunQuery { function: "f".parse().ok(), state: Some(state), limit, ..RunQuery::default() };
        assert_eq!(store.runs(&of).await.unwrap().len() as u64, count, "{state:?}");
    }
    let dead = store.dead_letters(&DeadLetterQuery { limit, ..DeadLetterQuery::default() }).await.unwrap();
    assert_eq!(
        dead.iter().map(|dead| dead.reason.as_str()).collect::<Vec<_>>(),
        ["gave up after 5 attempts"]
    );
    let page = ListQuery { space: space(), prefix: String::new(), after: None, limit };
    let entries = store.list(&page, START).await.unwrap();
    assert_eq!(entries.len() as u64, EVENTS / 2 + 2);
    let large = entries.iter().find(|entry| entry.key == "large").unwrap();
    assert_eq!(large.value.bytes.len(), LARGE);
    let lines = store.logs(&LogQuery { limit, ..LogQuery::default() }).await.unwrap();
    assert_eq!(lines.len(), 20);
    for object in OBJECTS {
        // Its digest is found by storing it again, which changes nothing.
        let digest = store.put_object(object.into()).await.unwrap();
        assert_eq!(store.get_object(&digest).await.unwrap().unwrap(), object);
    }
    let again = store.append(vec![append("e1", 9_001, "f")], START).await.unwrap();
    assert!(again[0].duplicate, "e1 is remembered");
    let later = START.after(HOLD).after(Duration::from_secs(1));
    assert_eq!(lease_all(&store, "f", later).await.len() as u64, EVENTS / 2);
    assert_eq!(lease_all(&store, "later", later).await.len() as u64, EVENTS / 2);
    assert_eq!(lease_all(&store, "h", later).await.len(), 1);
    let done = store.close().await;
    done.unwrap();
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
