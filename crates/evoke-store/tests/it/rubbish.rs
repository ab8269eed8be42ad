//! A copied store with rubbish in it, read through the seam: whatever is given out is as it was written, or it is an error.
//! Never another value, never a panic. `EVOKE_CORRUPTIONS` says how many (100); each is made of its number.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions as FileOptions};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::{DeadLetterQuery, EventQuery, ListQuery, LogQuery, RunQuery, Store};
use evoke_core::testing::conformance::samples::*;
use evoke_store::{OpenOptions, SqliteStore};

use super::flip::Seed;
use super::sample;

static CORRUPTIONS: LazyLock<u64> =
    LazyLock::new(|| std::env::var("EVOKE_CORRUPTIONS").map_or(100, |text| text.parse().unwrap()));

/// The longest run of rubbish, in bytes: a few pages.
const RUN_MAX: usize = 10_000;

#[tokio::test]
async fn what_a_corrupted_store_gives_out_is_as_it_was_written() {
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("whole");
    sample::fill(&whole).await;
    let opened = place.path().join("opened");
    sample::copy(&whole, &opened);
    let (good, errors) = read(&*sample::open(&opened)).await;
    assert_eq!(errors, 0);
    assert!(good.len() > 100, "{}", good.len());
    let (mut refused, mut noticed) = (0, 0);
    for seed in 0..*CORRUPTIONS {
        let dir = place.path().join(seed.to_string());
        sample::copy(&whole, &dir);
        damage(&dir.join("evoke.db"), &mut Seed(seed));
        match SqliteStore::open(&dir, OpenOptions::default()) {
            Err(_) => refused += 1,
            Ok(store) => {
                let store: Arc<dyn Store> = Arc::new(store);
                let (found, errors) = read(&*store).await;
                let wrong: Vec<&String> = found.difference(&good).collect();
                assert!(wrong.is_empty(), "corruption {seed}: never written: {wrong:?}");
                noticed += u64::from(errors > 0);
                // It may not close in order, with such a file.
                let _ = store.close().await;
            }
        }
        fs::remove_dir_all(&dir).unwrap();
    }
    assert!(refused + noticed > *CORRUPTIONS / 4, "{refused} did not open, {noticed} gave errors");
}

/// A flipped bit, a run of rubbish, a run of zeros, or an end that is missing.
fn damage(file: &Path, random: &mut Seed) {
    let mut bytes = fs::read(file).unwrap();
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(RUN_MAX)).min(bytes.len());
    match random.below(4) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..end].iter_mut().for_each(|byte| *byte = random.below(256) as u8),
        2 => bytes[at..end].fill(0),
        _ => {
            let file = FileOptions::new().write(true).open(file).unwrap();
            return file.set_len(at as u64).unwrap();
        }
    }
    fs::write(file, bytes).unwrap();
}

/// All there is, as text, and how many of the questions were answered with an error.
async fn read(store: &dyn Store) -> (BTreeSet<String>, u32) {
    let mut found = BTreeSet::new();
    let mut errors = 0;
    let limit = 1_000;
    let mut take = |answer: Result<Vec<String>, String>| match answer {
        Ok(more) => found.extend(more),
        Err(_) => errors += 1,
    };
    fn texts<T: std::fmt::Debug, E: ToString>(answer: Result<Vec<T>, E>) -> Result<Vec<String>, String> {
        answer
            .map(|all| all.iter().map(|one| format!("{one:?}")).collect())
            .map_err(|error| error.to_string())
    }
    take(texts(store.events(&EventQuery { limit, ..EventQuery::default() }).await));
    // Where a lease is missing in its index it is not voided by opening, but ends by itself: the run still is as it was.
    let runs = store.runs(&RunQuery { limit, ..RunQuery::default() }).await;
    take(texts(runs.map(|runs| runs.into_iter().map(at_rest).collect())));
    take(texts(store.dead_letters(&DeadLetterQuery { limit, ..DeadLetterQuery::default() }).await));
    take(texts(store.logs(&LogQuery { limit, ..LogQuery::default() }).await));
    let page = ListQuery { space: space(), prefix: String::new(), after: None, limit };
    take(texts(store.list(&page, START).await));
    for key in ["large", "soon", "done/1", "done/2", "done/3"] {
        take(texts(store.get(&space(), key, START).await.map(Vec::from_iter)));
    }
    for function in ["f", "g", "h", "later"] {
        let leased = store.lease(&queue(function), limit, START.after(HOLD), HOLD).await;
        // Who was first decides the token.
        take(texts(
            leased.map(|all| all.into_iter().map(|one| (one.run.id, one.attempt, one.input)).collect()),
        ));
    }
    (found, errors)
}

fn at_rest(mut run: RunRecord) -> RunRecord {
    if run.ended_at.is_none() {
        (run.state, run.due_at) = (RunState::Queued, None);
        run.attempts.clear();
    }
    run
}
