//! What is left of a damaged store makes a new one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use evoke_core::store::{EventQuery, RunQuery};
use evoke_core::testing::conformance::samples::{START, lease_all};
use evoke_store::backup::salvage;
use evoke_store::verify;
use rusqlite::Connection;

use super::flip::Seed;
use super::sample;

/// Salvages what `damage` (SQL) leaves of the sample, and checks that it is sound.
async fn salvaged(damage: &str) -> (tempfile::TempDir, evoke_store::Report) {
    let place = tempfile::tempdir().unwrap();
    let [data, new] = ["data", "new"].map(|name| place.path().join(name));
    sample::fill(&data).await;
    Connection::open(data.join("evoke.db")).unwrap().execute_batch(damage).unwrap();
    let report = salvage(&data, &new, START).unwrap();
    assert_eq!(verify(&new).unwrap().findings, [], "{damage}");
    (place, report)
}

#[tokio::test]
async fn an_intact_store_is_salvaged_whole() {
    let (place, report) = salvaged("").await;
    assert_eq!(report.findings, []);
    sample::check(&place.path().join("new")).await;
}

#[tokio::test]
async fn a_damaged_record_is_lost_alone_and_named() {
    let (place, report) = salvaged("UPDATE log SET type = 'other' WHERE seq = 3").await;
    let lost: Vec<&str> = report.findings.iter().map(|finding| finding.place.as_str()).collect();
    assert!(lost.contains(&"log"), "{:?}", report.findings);
    let store = sample::open(&place.path().join("new"));
    let events = store.events(&EventQuery { limit: 1_000, ..EventQuery::default() }).await.unwrap();
    assert_eq!(events.len() as u64, sample::EVENTS + sample::EVENTS / 2, "one of them is gone");
    let runs = store.runs(&RunQuery { limit: 1_000, ..RunQuery::default() }).await.unwrap();
    assert_eq!(runs.len() as u64, sample::EVENTS + 2 + sample::EVENTS / 2 + 2, "no run is");
}

#[tokio::test]
async fn an_invocation_whose_place_in_the_queue_is_lost_gets_another() {
    let (place, report) =
        salvaged("UPDATE pending SET attempts = 77; UPDATE queues SET function = function || 'x'").await;
    assert!(!report.is_intact());
    let store = sample::open(&place.path().join("new"));
    assert_eq!(lease_all(&store, "f", START).await.len() as u64, sample::EVENTS / 2);
    assert_eq!(lease_all(&store, "h", START).await.len(), 1);
}

#[tokio::test]
async fn a_page_of_rubbish_costs_what_was_on_it() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    sample::fill(&data).await;
    let file = data.join("evoke.db");
    let good = fs::read(&file).unwrap();
    let whole = all(&data);
    let mut opened = 0;
    // The first page is that of the tables' own places.
    for page in 1..good.len() / 4096 {
        let mut bad = good.clone();
        let mut random = Seed(page as u64);
        bad[page * 4096..][..4096].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        fs::write(&file, bad).unwrap();
        let new = place.path().join(format!("new-{page}"));
        if salvage(&data, &new, START).is_err() {
            continue; // The page was of the tables' definitions.
        }
        opened += 1;
        let findings = verify(&new).unwrap().findings;
        assert!(findings.iter().all(|finding| finding.place == "objects"), "page {page}: {findings:?}");
        assert!(all(&new).is_subset(&whole), "page {page}: nothing is there that was not");
        sample::open(&new).close().await.unwrap();
    }
    assert!(opened > good.len() / 4096 / 2, "{opened}");
}

/// The events and entries there are.
fn all(dir: &Path) -> BTreeSet<(i64, String)> {
    let conn = Connection::open(dir.join("evoke.db")).unwrap();
    let sql = "SELECT seq, 'event ' || hex(event) FROM log UNION ALL SELECT revision, space || key || hex(value) FROM entries";
    let mut find = conn.prepare(sql).unwrap();
    let found = find
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())))
        .unwrap();
    found.map(|row| row.unwrap()).collect()
}
