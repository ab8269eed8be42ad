//! What the record of a call costs: `perf stat -e instructions:u cargo bench -p evoke-store --bench record`.
//!
//! Calls of two functions, recorded in batches as the engine does: so many ids are made and so many rows written that one without
//! them can be taken away (`CALLS=0` for what the start costs). `CALLS=200000`, `BATCH=40`. A report, not a gate.
#![allow(clippy::unwrap_used, reason = "a bench ends where its preparation fails")]

use evoke_core::id::{Correlation, FunctionName, IdSource, RevisionId};
use evoke_core::record::{RunRecord, RunState, Trigger};
use evoke_core::store::{RunQuery, Store};
use evoke_core::testing::conformance::samples::{START, ended};
use evoke_core::time::Timestamp;
use evoke_core::usage::Usage;
use evoke_store::{OpenOptions, SqliteStore};

fn main() {
    let (calls, batch) = (number("CALLS", 200_000), number("BATCH", 40).max(1));
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = tokio::time::Instant::now();
    runtime.block_on(async {
        let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
        let mut ids = IdSource::seeded(1);
        let sample = call(&mut ids, 0);
        for begin in (0..calls).step_by(batch as usize) {
            let end = calls.min(begin + batch);
            let runs = (begin..end).map(|n| {
                let run = RunRecord { id: ids.run(at(n)), created_at: at(n), ..sample.clone() };
                let root = Correlation::from_text(ids.event(run.created_at));
                RunRecord { cause: evoke_core::record::Cause { root, ..run.cause }, ..run }
            });
            store.record(runs.collect(), Vec::new()).await.unwrap();
        }
        let found = store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await.unwrap();
        assert_eq!(found.len() as u64, calls.min(1));
        store.close().await.unwrap();
    });
    let bytes = std::fs::metadata(dir.path().join("evoke.db")).unwrap().len();
    println!("{calls} calls, {batch} at once: {:.2?}, {} bytes each", start.elapsed(), bytes / calls.max(1));
}

/// 20,000 a second.
fn at(n: u64) -> Timestamp {
    Timestamp(START.0 + n * 50)
}

fn call(ids: &mut IdSource, n: u64) -> RunRecord {
    let mut run = ended(n, "hello", RunState::Completed);
    run.function = FunctionName::new("hello").unwrap();
    run.trigger = Trigger::Http { method: "GET".to_owned(), path: "/proxy/hello".to_owned() };
    (run.cause.trace_id, run.cause.span_id) = (ids.trace(), ids.span());
    for attempt in &mut run.attempts {
        attempt.revision = Some(RevisionId::from_text("0123456789abcdef"));
        attempt.usage = Usage { cpu_us: Some(240), peak_memory_bytes: Some(9 << 20), ..Usage::default() };
    }
    run
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
