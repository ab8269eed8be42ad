//! The conformance suite against the in-memory store, and the faulty store around it.

use std::sync::Arc;

use evoke_core::store::{SettleError, Store, StoreError};
use evoke_core::testing::conformance::model;
use evoke_core::testing::conformance::samples::{START, append, complete, lease_one};
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::store::MemoryStore;

evoke_core::store_conformance!(Arc::new(MemoryStore::new()));

#[test]
fn random_histories_agree_with_the_model() {
    model::holds(256, async || Arc::new(MemoryStore::new()));
}

#[tokio::test]
async fn a_fault_before_leaves_nothing_and_a_fault_after_leaves_everything() {
    let memory = Arc::new(MemoryStore::new());
    let store = FaultyStore::new(memory.clone());
    store.fail_next(Fault::Before);
    let refused = store.append(vec![append("a", 1, "f")], START).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert!(memory.due().await.unwrap().is_empty());
    store.fail_at(2, Fault::After);
    let unknown = store.append(vec![append("a", 1, "f")], START).await;
    assert!(matches!(unknown, Err(StoreError::Outcome(_))));
    assert_eq!(memory.due().await.unwrap().len(), 1);
    assert!(store.append(vec![append("a", 1, "f")], START).await.unwrap()[0].duplicate);
    assert_eq!(store.mutations(), 3);
}

#[tokio::test]
async fn after_a_crash_every_call_fails_until_the_data_is_opened_again() {
    for (fault, happened) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
        let memory = Arc::new(MemoryStore::new());
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory.clone()));
        store.append(vec![append("a", 1, "f")], START).await.unwrap();
        let leased = lease_one(&store, "f", START).await;
        let faulty = FaultyStore::new(memory.clone());
        faulty.fail_next(fault);
        let dead = faulty.settle(complete(&leased.lease), START).await;
        assert!(matches!(dead, Err(SettleError::Store(StoreError::Closed(_)))));
        assert!(faulty.crashed());
        assert!(matches!(faulty.due().await, Err(StoreError::Closed(_))));
        assert_eq!(faulty.mutations(), 1);
        memory.reopen();
        assert_eq!(memory.due().await.unwrap().is_empty(), happened, "{fault:?}");
    }
}
