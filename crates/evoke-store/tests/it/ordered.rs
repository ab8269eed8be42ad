//! What waits for subscriptions, in order by key, where a store is verified, saved and salvaged.

use std::path::Path;

use evoke_core::id::{RunId, SubscriptionName};
use evoke_core::store::{NewInvocation, Queue};
use evoke_core::testing::conformance::samples::{HOLD, START, append_to, complete, delivery, queue, run_id};
use evoke_store::backup::{backup, salvage};
use evoke_store::verify;
use rusqlite::Connection;

use super::sample;

fn name() -> SubscriptionName {
    SubscriptionName::from_text("s")
}

fn keyed(n: u64) -> NewInvocation {
    let mut new = delivery(n, "f");
    new.run.subscription = Some(name());
    new.run.key = Some("a".to_owned());
    new
}

/// Four events of one key wait for a subscription.
async fn fill(dir: &Path) {
    let store = sample::open(dir);
    for n in 1..=4 {
        store.append(vec![append_to(&format!("e{n}"), vec![keyed(n)])], START).await.unwrap();
    }
    store.close().await.unwrap();
}

/// The runs of the subscription's queue, as they come when each ends well.
async fn order(dir: &Path) -> Vec<RunId> {
    let store = sample::open(dir);
    let of = Queue { subscription: Some(name()), ..queue("f") };
    let mut order = Vec::new();
    while let Some(leased) = store.lease(&of, 100, START, HOLD).await.unwrap().pop() {
        store.settle(complete(&leased.lease), START).await.unwrap();
        order.push(leased.lease.run);
    }
    store.close().await.unwrap();
    order
}

#[tokio::test]
async fn what_waits_for_a_subscription_is_sound_and_saved() {
    let place = tempfile::tempdir().unwrap();
    let [data, saved] = ["data", "saved"].map(|name| place.path().join(name));
    fill(&data).await;
    assert_eq!(verify(&data).unwrap().findings, []);
    backup(&data, &saved, START).unwrap();
    assert_eq!(order(&data).await, [1, 2, 3, 4].map(run_id));
}

#[tokio::test]
async fn what_waits_in_another_functions_queue_is_found() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fill(&data).await;
    let store = sample::open(&data);
    store.append(vec![append_to("other", vec![delivery(9, "g")])], START).await.unwrap();
    store.close().await.unwrap();
    let conn = Connection::open(data.join("evoke.db")).unwrap();
    let damage =
        "UPDATE pending SET queue = (SELECT max(queue) FROM pending) WHERE n = (SELECT min(n) FROM pending)";
    conn.execute_batch(damage).unwrap();
    let ids: i64 = conn.query_row("SELECT count(DISTINCT queue) FROM pending", [], |row| row.get(0)).unwrap();
    assert_eq!(ids, 2);
    drop(conn);
    let findings = verify(&data).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.what.contains("of another function")), "{findings:?}");
}

#[tokio::test]
async fn a_lost_place_in_line_is_found_again() {
    for damage in [
        "UPDATE pending SET attempts = 77 WHERE n = (SELECT n FROM pending ORDER BY n LIMIT 1 OFFSET 1)",
        "UPDATE pending SET attempts = 77 WHERE n = (SELECT min(n) FROM pending)",
        "UPDATE pending SET attempts = 77",
        "UPDATE entries SET value = '7' WHERE space = 'sys/order'",
        "UPDATE queues SET function = function || 'x' WHERE function LIKE '%/%'",
        "UPDATE queues SET function = function || 'x'",
    ] {
        let place = tempfile::tempdir().unwrap();
        let [data, new] = ["data", "new"].map(|name| place.path().join(name));
        fill(&data).await;
        Connection::open(data.join("evoke.db")).unwrap().execute_batch(damage).unwrap();
        assert!(!salvage(&data, &new, START).unwrap().is_intact(), "{damage}");
        assert_eq!(verify(&new).unwrap().findings, [], "{damage}");
        assert_eq!(order(&new).await, [1, 2, 3, 4].map(run_id), "{damage}");
    }
}
