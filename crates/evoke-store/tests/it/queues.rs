//! The names of queues go when nothing refers to them.

use std::path::Path;

use evoke_core::id::{FunctionName, SubscriptionName};
use evoke_core::store::{Append, Queue, Retention, RunQuery, Store};
use evoke_core::testing::conformance::samples::{START, app, append_to, at, complete, delivery, line};
use evoke_core::time::Timestamp;
use evoke_store::stats::stats;
use evoke_store::{OpenOptions, SqliteStore, verify};

/// More than one sweep looks at.
const FUNCTIONS: u64 = 450;
const YEAR: u64 = 365 * 24 * 60 * 60;

fn name(n: u64) -> String {
    format!("f{n}")
}

/// A delivery to a subscription of the `n`-th function.
fn item(n: u64) -> Append {
    let mut new = delivery(n, &name(n));
    new.run.subscription = Some(SubscriptionName::from_text("s"));
    append_to(&n.to_string(), vec![new])
}

async fn deliver(store: &SqliteStore, n: u64, now: Timestamp) {
    let function = FunctionName::new(&name(n)).unwrap();
    let queue = Queue { app: app(), function, subscription: Some(SubscriptionName::from_text("s")) };
    let leased = store.lease(&queue, 1, now, std::time::Duration::from_secs(9)).await.unwrap().remove(0);
    store.settle(complete(&leased.lease), now).await.unwrap();
}

async fn sweep(store: &SqliteStore, now: Timestamp) {
    for _ in 0..20 {
        store.sweep(&Retention::default(), now).await.unwrap();
    }
}

fn queues(dir: &Path) -> i64 {
    stats(dir, &Retention::default(), START).unwrap().tables["queues"].rows
}

#[tokio::test]
async fn a_queue_goes_with_the_last_run_and_line_of_it_and_comes_again_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    store.append((1..=FUNCTIONS).map(item).collect(), START).await.unwrap();
    for n in 2..=FUNCTIONS {
        deliver(&store, n, START).await;
    }
    let late = at(YEAR);
    store.record(Vec::new(), vec![line(2, &name(2), "said", late)]).await.unwrap();
    sweep(&store, START).await;
    assert_eq!(queues(dir.path()), 451, "a function each, and the subscription that has something pending");
    sweep(&store, late).await;
    assert_eq!(queues(dir.path()), 3, "the first has a delivery pending, the second a line");
    // Under a number that another queue may have had.
    store.append(vec![item(1_000)], late).await.unwrap();
    deliver(&store, 1_000, late).await;
    deliver(&store, 1, late).await;
    let runs = store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.function.to_string()).collect::<Vec<_>>(), ["f1000", "f1"]);
    store.close().await.unwrap();
    drop(store);
    assert!(verify(dir.path()).unwrap().is_intact());
}
