//! `kill -9` under load: whatever was acknowledged is there, and nothing is half there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evoke_core::record::RunState;
use evoke_core::store::{EventQuery, Expect, ListQuery, RunQuery, SettleError, Store};
use evoke_core::testing::conformance::samples::{
    START, append, complete, lease_all, put, queue, run_id, space,
};
use evoke_store::{OpenOptions, SqliteStore};

use super::child;

/// Runs that events cause are numbered below this; those that settlements emit, from here on.
const EMITTED: u64 = 1_000_000_000;

#[tokio::test]
async fn acknowledged_work_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (mut accepted, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for (round, patience) in [300, 1_500, 40, 900].into_iter().enumerate() {
        let prelude = format!("export FIRST={};", round * 1_000_000);
        let mut running = child::start(&prelude, "kill::child_under_load", dir.path());
        for _ in 0..patience {
            note(running.line().expect("the child goes on until it is killed"), &mut accepted, &mut settled);
        }
        running.child.kill().unwrap();
        // What it had said before it died counts too.
        while let Some(line) = running.line() {
            note(line, &mut accepted, &mut settled);
        }
        running.child.wait().unwrap();
        check(dir.path(), &accepted, &settled).await;
    }
    assert!(settled.len() > 100, "the load has settlements in it: {}", settled.len());
}

pub fn note((word, n): (String, String), accepted: &mut BTreeSet<u64>, settled: &mut BTreeSet<u64>) {
    let n = n.parse().unwrap();
    let set = if word == "accepted" { accepted } else { settled };
    assert!(set.insert(n), "{word} {n} was said twice");
}

pub async fn check(dir: &Path, accepted: &BTreeSet<u64>, settled: &BTreeSet<u64>) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir, OpenOptions::default()).unwrap());
    let all = usize::MAX >> 1;
    let events = store.events(&EventQuery { limit: all, ..EventQuery::default() }).await.unwrap();
    let ids: BTreeSet<&str> = events.iter().map(|stored| stored.event.id()).collect();
    assert_eq!(ids.len(), events.len(), "no event is there twice");
    for n in accepted {
        assert!(ids.contains(format!("e{n}").as_str()), "event {n} was acknowledged and is gone");
    }
    let done = RunQuery { state: Some(RunState::Completed), limit: all, ..RunQuery::default() };
    let done: BTreeSet<u64> = numbers(store.runs(&done).await.unwrap().iter().map(|run| run.id.as_str()));
    assert!(settled.is_subset(&done), "a settlement was acknowledged and is gone");
    // Verdict, state and event of each settlement are there together or not at all, acknowledged or not.
    let page = ListQuery { space: space(), prefix: "done/".to_owned(), after: None, limit: all };
    let written = store.list(&page, START).await.unwrap();
    assert_eq!(done, written.iter().map(|entry| entry.key["done/".len()..].parse().unwrap()).collect());
    let emitted = ids.iter().filter_map(|id| id.strip_prefix("of"));
    assert_eq!(done, emitted.map(|n| n.parse().unwrap()).collect());
    // And whatever is not settled can be leased, once.
    let leased = store.lease(&queue("f"), all, START, Duration::from_secs(1)).await.unwrap();
    let waiting = numbers(leased.iter().map(|one| one.lease.run.as_str()));
    assert_eq!(waiting.len(), leased.len());
    assert!(waiting.is_disjoint(&done));
    assert!(accepted.iter().all(|n| waiting.contains(n) || done.contains(n)), "an invocation was lost");
    assert!(lease_all(&store, "f", START).await.is_empty());
    store.close().await.unwrap();
}

fn numbers<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeSet<u64> {
    ids.map(|id| id.trim_start_matches("run_").parse().unwrap()).collect()
}

#[tokio::test]
#[ignore = "the other process of acknowledged_work_survives_kill_9"]
async fn child_under_load() {
    load(Arc::new(SqliteStore::open(&child::dir(), OpenOptions::default()).unwrap())).await;
}

/// Accepts and settles without end, and says so.
pub async fn load(store: Arc<dyn Store>) {
    let next = Arc::new(AtomicU64::new(std::env::var("FIRST").unwrap().parse().unwrap()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(settle_forever(store.clone()));
        let (store, next) = (store.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                store.append(vec![append(&format!("e{n}"), n, "f")], START).await.unwrap();
                child::say("accepted", n);
            }
        });
    }
    tasks.join_all().await;
}

async fn settle_forever(store: Arc<dyn Store>) {
    loop {
        for leased in store.lease(&queue("f"), 3, START, Duration::from_secs(60)).await.unwrap() {
            let run = leased.lease.run.as_str().trim_start_matches("run_").to_owned();
            let n: u64 = run.parse().unwrap();
            let mut settlement = complete(&leased.lease);
            settlement.writes = vec![put(&format!("done/{n}"), "1", Expect::Absent)];
            settlement.appends = vec![append(&format!("of{n}"), EMITTED + n, "g")];
            match store.settle(settlement, START).await {
                Ok(_) => child::say("settled", n),
                Err(SettleError::Conflict { .. }) => panic!("{} was settled twice", run_id(n)),
                Err(error) => panic!("{error}"),
            }
        }
        tokio::task::yield_now().await;
    }
}
