//! Copies of a store that is at rest or at work, and back.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use evoke_core::store::Retention;
use evoke_core::testing::conformance::samples::{START, app, append, at};
use evoke_store::backup::{BackupError, backup, restore};
use evoke_store::{OpenError, stats, verify};

use super::sample;

fn made(from: &Path, to: &Path) -> usize {
    backup(from, to, START).unwrap().files.len()
}

#[tokio::test]
async fn a_backup_is_restored_with_all_that_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let [data, saved, again] = ["data", "saved", "again"].map(|name| place.path().join(name));
    sample::fill(&data).await;
    assert_eq!(made(&data, &saved), 1 + sample::OBJECTS.len());
    restore(&saved, &again).unwrap();
    assert_eq!(verify(&again).unwrap().findings, []);
    sample::check(&again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_at_work_is_saved_as_of_one_moment_and_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let [data, saved, again] = ["data", "saved", "again"].map(|name| place.path().join(name));
    sample::fill(&data).await;
    let store = sample::open(&data);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writer = tokio::task::JoinSet::new();
    writer.spawn({
        let (store, stop, acknowledged) = (store.clone(), stop.clone(), acknowledged.clone());
        async move {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let item = append(&format!("load{n}"), 1_000_000 + n, "load");
                store.append(vec![item], START).await.unwrap();
                acknowledged.fetch_add(1, Ordering::SeqCst);
                store.put_object(format!("object {n}").into()).await.unwrap();
            }
        }
    });
    while acknowledged.load(Ordering::SeqCst) < 20 {
        tokio::task::yield_now().await;
    }
    let before = acknowledged.load(Ordering::SeqCst);
    made(&data, &saved);
    let after = acknowledged.load(Ordering::SeqCst);
    stop.store(true, Ordering::SeqCst);
    writer.join_all().await;
    restore(&saved, &again).unwrap();
    let restored = sample::open(&again);
    let mut there = 0;
    for n in 0..=after {
        let item = append(&format!("load{n}"), 2_000_000 + n, "load");
        there += u64::from(restored.append(vec![item], START).await.unwrap()[0].duplicate);
    }
    assert!(before <= there, "what was acknowledged before it began is in it: {before} <= {there}");
}

#[tokio::test]
async fn nothing_is_written_where_something_is() {
    let place = tempfile::tempdir().unwrap();
    let [data, saved] = ["data", "saved"].map(|name| place.path().join(name));
    sample::fill(&data).await;
    made(&data, &saved);
    assert!(matches!(backup(&data, &saved, START), Err(BackupError::NotEmpty { .. })));
    assert!(matches!(restore(&saved, &data), Err(BackupError::NotEmpty { .. })));
    assert_eq!(verify(&data).unwrap().findings, []);
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let [data, saved] = ["data", "saved"].map(|name| place.path().join(name));
    sample::fill(&data).await;
    let refused = |name: &str| {
        let target = place.path().join(name);
        let error = restore(&saved, &target).unwrap_err();
        assert!(!target.join("evoke.db").exists(), "{error}");
        error.code()
    };
    made(&data, &saved);
    let manifest = saved.join("manifest.json");
    let good = fs::read_to_string(&manifest).unwrap();

    fs::write(&manifest, good.replace("\"format\": 3", "\"format\": 7000")).unwrap();
    assert_eq!(refused("newer"), "backup_newer");
    fs::write(&manifest, good.replace("evoke.db", "../evoke.db")).unwrap();
    assert_eq!(refused("outside"), "backup_manifest");
    fs::remove_file(&manifest).unwrap();
    assert_eq!(refused("half"), "no_backup");
    fs::write(&manifest, &good).unwrap();
    let database = saved.join("evoke.db");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&database, bytes).unwrap();
    assert_eq!(refused("damaged"), "backup_damaged");
}

#[tokio::test]
async fn a_damaged_store_makes_no_backup() {
    let place = tempfile::tempdir().unwrap();
    let [data, saved] = ["data", "saved"].map(|name| place.path().join(name));
    sample::fill(&data).await;
    let conn = rusqlite::Connection::open(data.join("evoke.db")).unwrap();
    conn.execute("UPDATE log SET app = 'other' WHERE seq = 1", []).unwrap();
    drop(conn);
    assert_eq!(backup(&data, &saved, START).unwrap_err().code(), "store_damaged");
    assert!(!saved.join("manifest.json").exists());
}

#[tokio::test]
async fn what_is_there_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    sample::fill(dir.path()).await;
    let seen = stats::stats(dir.path(), &Retention::default(), START).unwrap();
    let shop = &seen.apps[app().as_str()];
    let events = sample::EVENTS as i64;
    assert_eq!([shop.events, shop.dead, shop.log_lines], [events + 1 + events / 2, 1, 20]);
    assert_eq!([shop.pending, shop.ended], [events + 1, events / 2 + 2]);
    assert_eq!(seen.objects, sample::OBJECTS.len() as i64);
    assert!(shop.entry_bytes > sample::LARGE as i64 && seen.tables["log"].bytes > 0);
    assert_eq!(seen.expired.events + seen.expired.entries, 0);
    let later = stats::stats(dir.path(), &Retention::default(), at(30 * 24 * 60 * 60)).unwrap().expired;
    assert_eq!([later.events, later.runs], [events / 2, events / 2 + 2], "what waits is kept");
    assert_eq!([later.log_lines, later.entries], [20, 1]);
}

#[tokio::test]
async fn a_store_in_use_is_looked_at_beside_its_server() {
    let dir = tempfile::tempdir().unwrap();
    sample::fill(dir.path()).await;
    let store = sample::open(dir.path());
    store.append(vec![append("now", 9_000, "f")], START).await.unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(report.in_use);
    assert_eq!(report.findings, []);
    store.append(vec![append("still", 9_001, "f")], START).await.expect("the server goes on");
}

#[test]
fn a_place_without_a_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify(dir.path()), Err(OpenError::NoStore { .. })));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was made there");
}
