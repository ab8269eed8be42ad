//! Formats of the past: what an older version wrote is read by this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use evoke_store::{FORMAT, OpenOptions, Progress, SqliteStore};
use rusqlite::Connection;

use super::{child, sample};

/// Where a format's fixture is kept.
pub fn fixture(format: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/format-{format}"))
}

/// Run once when a format is new, before it is released:
/// `cargo nextest run -p evoke-store --run-ignored only write_the_fixture_of_the_present_format`
#[tokio::test]
#[ignore = "writes a file of the source tree"]
async fn write_the_fixture_of_the_present_format() {
    let place = fixture(FORMAT);
    assert!(!place.exists(), "{} is there; a fixture is never written again", place.display());
    sample::fill(&place).await;
    fs::remove_file(place.join("lock")).unwrap();
}

#[tokio::test]
async fn each_format_of_the_past_can_be_opened_and_all_is_there() {
    for format in 1..=FORMAT {
        let dir = tempfile::tempdir().unwrap();
        sample::copy(&fixture(format), dir.path());
        sample::check(dir.path()).await;
    }
}

/// Stops where it is told: the parent kills it there.
fn stop_there(progress: Progress) {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let stop: usize = std::env::var("STOP").unwrap().parse().unwrap();
    if PASSED.fetch_add(1, Ordering::SeqCst) == stop {
        child::say("stopped", format_args!("{progress:?}"));
        loop {
            std::thread::park();
        }
    }
}

#[test]
#[ignore = "the other process of a_migration_that_is_killed_anywhere_goes_on"]
fn child_that_migrates() {
    let options = OpenOptions { progress: Some(stop_there), ..OpenOptions::default() };
    drop(SqliteStore::open(&child::dir(), options).unwrap());
    child::say("through", "to the end");
}

#[tokio::test]
async fn a_migration_that_is_killed_anywhere_goes_on() {
    for format in 1..FORMAT {
        let mut places = Vec::new();
        loop {
            let dir = tempfile::tempdir().unwrap();
            sample::copy(&fixture(format), dir.path());
            let prelude = format!("export STOP={};", places.len());
            let mut migrating = child::start(&prelude, "format::child_that_migrates", dir.path());
            let (word, place) = migrating.line().expect("it says how far it came");
            migrating.child.kill().unwrap();
            migrating.child.wait().unwrap();
            sample::check(dir.path()).await;
            let version: i64 = Connection::open(dir.path().join("evoke.db"))
                .unwrap()
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .unwrap();
            assert_eq!(version, FORMAT, "killed at {place}");
            if word == "through" {
                break;
            }
            places.push(place);
        }
        assert!(places.len() >= 6, "each transaction of format {format}, before and after: {places:?}");
    }
}

#[test]
fn what_is_half_way_between_formats_is_refused_by_an_older_version() {
    let dir = tempfile::tempdir().unwrap();
    sample::copy(&fixture(1), dir.path());
    let mut migrating = child::start("export STOP=1;", "format::child_that_migrates", dir.path());
    let (_, place) = migrating.line().unwrap();
    migrating.child.kill().unwrap();
    migrating.child.wait().unwrap();
    let conn = Connection::open(dir.path().join("evoke.db")).unwrap();
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2, "an Evoke that knows format 1 only goes by this number; stopped at {place}");
}
