//! A disk that is full: refused, nothing lost, and it goes on when there is room again.

use std::fs;
use std::sync::Arc;

use evoke_core::event::{Data, Event};
use evoke_core::store::{EventQuery, Store, StoreError};
use evoke_core::testing::conformance::samples::{START, append, lease_all};
use evoke_store::{OpenOptions, SqliteStore};

use super::child;

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    // A small file system of the child's own; a user namespace makes that possible for everybody.
    let prelude = format!(
        "unshare --user --map-root-user --mount true 2>/dev/null || {{ echo '> absent namespaces'; exit 0; }}; \
         exec unshare --user --map-root-user --mount sh -c \
         'mount -t tmpfs -o size=4m tmpfs {} && exec \"$0\" --exact full::child_on_a_small_disk --ignored --nocapture' \
         \"$0\";",
        place.path().display()
    );
    let said = child::start(&prelude, "full::child_on_a_small_disk", place.path()).finish();
    let words: Vec<&str> = said.iter().map(|(word, _)| word.as_str()).collect();
    assert!(
        words != ["absent"],
        "this test needs `unshare` (util-linux) and user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    );
    assert_eq!(words, ["refused", "goes-on", "reopened"], "{said:?}");
}

#[tokio::test]
#[ignore = "the other process of a_full_disk_refuses_and_loses_nothing"]
async fn child_on_a_small_disk() {
    let dir = child::dir().join("data");
    let ballast = child::dir().join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir, OpenOptions::default()).unwrap());
    let mut acknowledged = 0;
    let refusal = loop {
        match store.append(vec![large(acknowledged)], START).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk should be full by now");
    };
    assert!(matches!(refusal, StoreError::Full(_)), "{refusal:?}");
    let again = store.append(vec![large(acknowledged)], START).await;
    assert!(matches!(again, Err(StoreError::Full(_))), "refused, not closed: {again:?}");
    let object = store.put_object(vec![1; 4 << 20].into()).await;
    assert!(matches!(object, Err(StoreError::Full(_))), "{object:?}");
    assert_eq!(count(&*store).await, acknowledged, "reading goes on");
    child::say("refused", acknowledged);
    fs::remove_file(ballast).unwrap();
    assert!(!store.append(vec![large(acknowledged)], START).await.expect("there is room")[0].duplicate);
    assert_eq!(count(&*store).await, acknowledged + 1);
    child::say("goes-on", acknowledged);
    drop(store);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir, OpenOptions::default()).unwrap());
    assert_eq!(count(&*store).await, acknowledged + 1);
    assert_eq!(lease_all(&store, "f", START).await.len() as u64, acknowledged + 1);
    child::say("reopened", acknowledged);
}

/// An event of 16 KiB.
fn large(n: u64) -> evoke_core::store::Append {
    let mut item = append(&format!("e{n}"), n, "f");
    let data = Data::Text("x".repeat(16 << 10));
    item.event =
        Some(Event::new(format!("e{n}"), "/shop", "t").with_data(data, Some("text/plain".to_owned())));
    item
}

async fn count(store: &dyn Store) -> u64 {
    store.events(&EventQuery { limit: 10_000, ..EventQuery::default() }).await.unwrap().len() as u64
}
