//! Runs of a function, and of a root, are found by the slices of time they are in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::{Correlation, IdSource};
use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::{Retention, RunQuery, Store};
use evoke_core::testing::conformance::samples::*;
use evoke_core::time::Timestamp;
use evoke_store::{OpenOptions, SqliteStore, verify};
use rusqlite::Connection;
use tempfile::TempDir;

const FUNCTIONS: [&str; 3] = ["f", "g", "h"];

fn open(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(dir, OpenOptions::default()).unwrap())
}

/// Ended calls, `apart` after each other, most of them completed.
fn calls(count: u64, apart: Duration) -> Vec<RunRecord> {
    let (mut ids, mut now) = (IdSource::seeded(7), START);
    let call = |n| {
        now = now.after(apart);
        let state = if n % 5 == 0 { RunState::Failed } else { RunState::Completed };
        let run = ended(n, FUNCTIONS[n as usize % 3], state);
        RunRecord { id: ids.run(now), created_at: now, ..run }
    };
    (0..count).map(call).collect()
}

async fn filled(calls: &[RunRecord]) -> (TempDir, Arc<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.record(calls.to_vec(), Vec::new()).await.unwrap();
    (dir, store)
}

/// All pages of a question, one after the other.
async fn pages(store: &dyn Store, query: &RunQuery) -> Vec<RunRecord> {
    let mut all: Vec<RunRecord> = Vec::new();
    loop {
        let before = all.last().map(|run| run.id.clone());
        let page = store.runs(&RunQuery { before, ..query.clone() }).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn slices(dir: &Path) -> i64 {
    let conn = Connection::open(dir.join("evoke.db")).unwrap();
    conn.query_row("SELECT count(*) FROM slices", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn pages_of_a_function_and_a_state_are_those_of_all_runs() {
    for apart in [1, 11, 40, 5_000].map(Duration::from_millis) {
        let mut calls = calls(300, apart);
        let (_dir, store) = filled(&calls).await;
        calls.sort_by(|a, b| b.id.cmp(&a.id));
        for function in [None, Some("f"), Some("h"), Some("unknown")] {
            for state in [None, Some(RunState::Completed), Some(RunState::Failed), Some(RunState::Queued)] {
                let of = |run: &&RunRecord| {
                    function.is_none_or(|name| run.function.as_str() == name)
                        && state.is_none_or(|state| run.state == state)
                };
                let wanted: Vec<RunRecord> = calls.iter().filter(of).cloned().collect();
                let function = function.map(|name| name.parse().unwrap());
                let query = RunQuery { function, state, limit: 7, ..RunQuery::default() };
                assert_eq!(pages(&*store, &query).await, wanted, "{query:?}, {apart:?} apart");
            }
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_runs_of_a_slice_are_one_entry_that_goes_with_the_last_of_them() {
    let calls = calls(300, Duration::from_micros(10));
    let (dir, store) = filled(&calls).await;
    let all = RunQuery { limit: 1_000, ..RunQuery::default() };
    assert_eq!(store.runs(&all).await.unwrap().len(), 300);
    assert!(slices(dir.path()) <= 12, "three functions, two states, 3 ms: {}", slices(dir.path()));
    // With a line the queue of the function stays, and its number.
    store.record(Vec::new(), vec![line(1, FUNCTIONS[0], "hello", START)]).await.unwrap();
    let few = Retention { runs_max: 1, ..Retention::default() };
    while store.sweep(&few, START).await.unwrap() > 0 {}
    let left = store.runs(&all).await.unwrap();
    assert_eq!((left.len(), slices(dir.path())), (1, 1));
    // It comes back.
    store.record(calls, Vec::new()).await.unwrap();
    let function = Some(FUNCTIONS[0].parse().unwrap());
    let found = store.runs(&RunQuery { function, ..all }).await.unwrap();
    assert_eq!(found.len(), 100);
    while store.erase(&app()).await.unwrap() {}
    assert_eq!(slices(dir.path()), 0);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_run_that_ends_otherwise_changes_its_list() {
    let calls = calls(30, Duration::from_millis(7));
    let (dir, store) = filled(&calls).await;
    let now_failed = calls.iter().map(|run| RunRecord { state: RunState::Failed, ..run.clone() });
    store.record(now_failed.collect(), Vec::new()).await.unwrap();
    let of = |state| RunQuery { state: Some(state), limit: 99, ..RunQuery::default() };
    assert_eq!(store.runs(&of(RunState::Completed)).await.unwrap(), []);
    assert_eq!(store.runs(&of(RunState::Failed)).await.unwrap().len(), 30);
    store.close().await.unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(report.is_intact(), "{:?}", report.findings);
}

#[tokio::test]
async fn runs_of_a_root_are_found_wherever_they_are() {
    let (mut ids, mut calls) = (IdSource::seeded(3), calls(200, Duration::from_millis(3)));
    let [made, late, run] = [calls[20].created_at, calls[150].created_at, calls[40].created_at];
    let roots = [ids.event(made), calls[40].id.to_string(), "order 17".to_owned(), "evt".to_owned()];
    for (n, run) in calls.iter_mut().enumerate() {
        // Some in the slice of their root, some long after it.
        run.cause.root = match n % 5 {
            4 => Correlation::from_text(ids.event(run.created_at)),
            n => Correlation::from_text(roots[n].as_str()),
        };
    }
    let (_dir, store) = filled(&calls).await;
    calls.sort_by(|a, b| b.id.cmp(&a.id));
    let others = calls.iter().map(|run| run.cause.root.clone()).skip(5).step_by(9);
    for root in roots.iter().map(|root| Correlation::from_text(root.as_str())).chain(others) {
        let wanted: Vec<_> = calls.iter().filter(|run| run.cause.root == root).cloned().collect();
        let query = RunQuery { root: Some(root), limit: 13, ..RunQuery::default() };
        assert_eq!(pages(&*store, &query).await, wanted, "{query:?}");
    }
    assert!(made < run && run < late);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_record_with_another_root_is_found_by_that_one_only() {
    let (mut ids, calls) = (IdSource::seeded(5), calls(1, Duration::ZERO));
    let (_dir, store) = filled(&calls).await;
    let roots = [ids.event(START), "order 17".to_owned(), ids.event(START), calls[0].id.to_string()];
    for root in &roots {
        let mut run = calls[0].clone();
        run.cause.root = Correlation::from_text(root.as_str());
        store.record(vec![run], Vec::new()).await.unwrap();
        for other in &roots {
            let of = Some(Correlation::from_text(other.as_str()));
            let found = store.runs(&RunQuery { root: of, limit: 9, ..RunQuery::default() }).await.unwrap();
            assert_eq!(found.len(), usize::from(other == root), "{other} while it is {root}");
        }
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_slice_that_is_missing_and_one_of_nothing_are_damage() {
    for (sql, found) in [
        (
            "DELETE FROM slices WHERE state = 3",
            "it is in no slice: the list of its function does not have it",
        ),
        ("INSERT INTO slices VALUES (1, 2, 'run_0zzzzzzzz')", "no run is in it"),
    ] {
        let (dir, store) = filled(&calls(20, Duration::from_millis(1))).await;
        store.close().await.unwrap();
        Connection::open(dir.path().join("evoke.db")).unwrap().execute(sql, []).unwrap();
        let report = verify(dir.path()).unwrap();
        assert!(report.findings.iter().any(|finding| finding.what == found), "{:?}", report.findings);
    }
}

#[test]
fn the_time_of_an_id_is_where_slices_look_for_it() {
    let mut ids = IdSource::seeded(1);
    let at = |ms: u64| Timestamp::from_millis(1_790_000_000_000 / 32 * 32 + ms);
    let begin = |text: String| text[4..13].to_owned();
    assert_eq!(begin(ids.run(at(0)).to_string()), begin(ids.event(at(31))));
    assert_ne!(begin(ids.run(at(31)).to_string()), begin(ids.event(at(32))));
}
