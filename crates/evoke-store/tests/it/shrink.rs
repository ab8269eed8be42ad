//! What is freed goes back to the file system.

use std::fs;
use std::path::Path;
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::store::{Append, Retention, Store};
use evoke_core::testing::conformance::samples::{START, append_to};
use evoke_store::{OpenOptions, SqliteStore, compact, verify};
use tokio::time::Instant;

use super::format::fixture;
use super::sample;

const EVENTS: u64 = 4_000;
const BATCH: u64 = 100;

fn item(n: u64) -> Append {
    let event = Event::new(n.to_string(), "/shop", "t").with_json(serde_json::json!("x".repeat(4_000)));
    Append { event: Some(event), ..append_to(&n.to_string(), vec![]) }
}

async fn fill(store: &SqliteStore) {
    for begin in (0..EVENTS).step_by(BATCH as usize) {
        store.append((begin..begin + BATCH).map(item).collect(), START).await.unwrap();
    }
}

fn bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join("evoke.db")).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sweeping_frees_goes_back_while_others_publish() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    fill(&store).await;
    let before = EVENTS * 2 * 4_096;
    let publish = async {
        let mut longest = Duration::ZERO;
        for n in 0..200 {
            let begun = Instant::now();
            store.append(vec![item(EVENTS + n)], START.after(Duration::from_secs(1 << 30))).await.unwrap();
            longest = longest.max(begun.elapsed());
        }
        longest
    };
    let sweep = async {
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        loop {
            let step = Instant::now();
            let gone =
                store.sweep(&Retention::default(), START.after(Duration::from_secs(1 << 29))).await.unwrap();
            longest = longest.max(step.elapsed());
            if gone == 0 {
                return (begun.elapsed(), longest);
            }
        }
    };
    let (publish, (all, step)) = tokio::join!(publish, sweep);
    store.close().await.unwrap();
    drop(store);
    let after = bytes(dir.path());
    eprintln!(
        "about {before} bytes before, now {after}; all {all:?}, longest step {step:?}, longest publish meanwhile {publish:?}"
    );
    assert!(after < EVENTS * 4_000 / 2, "{after} bytes are left");
    assert_eq!(verify(dir.path()).unwrap().findings, []);
}

#[tokio::test]
async fn a_store_of_before_is_compacted_and_gives_back_by_itself_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    sample::copy(&fixture(1), dir.path());
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    assert!(compact(dir.path()).is_err(), "a server has it");
    store.close().await.unwrap();
    drop(store);
    let header = |at: usize| fs::read(dir.path().join("evoke.db")).unwrap()[at + 3];
    assert_eq!(header(64), 0);
    let done = compact(dir.path()).unwrap();
    assert!(done.after_bytes > 0 && done.after_bytes == bytes(dir.path()));
    assert_eq!(header(64), 1);
    assert_eq!(verify(dir.path()).unwrap().findings, []);
    sample::check(dir.path()).await;
}
