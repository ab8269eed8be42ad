//! Looking back: events, runs, logs; and the end.

use super::Subject;
use super::samples::*;
use crate::event::{Attribute, Event};
use crate::id::{Correlation, RunId};
use crate::record::{RunRecord, RunState};
use crate::store::{
    Append, EventQuery, Expect, LogQuery, NewInvocation, RunQuery, SettleError, Store, StoreError, Verdict,
};

/// Alone and together.
pub async fn runs_are_found_by_each_filter(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut elsewhere = ended(4, "f", RunState::Failed);
    elsewhere.app = app_named("other");
    elsewhere.cause.root = run(1, "f").cause.root;
    let recorded = vec![ended(1, "f", RunState::Completed), ended(2, "g", RunState::Failed), elsewhere];
    store.record(recorded, Vec::new()).await.expect("record");
    store.append(vec![append("a", 3, "f")], START).await.expect("append");
    let all = RunQuery { limit: 10, ..RunQuery::default() };
    for (query, expected) in [
        (all.clone(), vec![4, 3, 2, 1]),
        (RunQuery { app: Some(app()), ..all.clone() }, vec![3, 2, 1]),
        (RunQuery { app: Some(app_named("none")), ..all.clone() }, vec![]),
        (RunQuery { function: Some(function("f")), ..all.clone() }, vec![4, 3, 1]),
        (RunQuery { app: Some(app()), function: Some(function("f")), ..all.clone() }, vec![3, 1]),
        (RunQuery { state: Some(RunState::Failed), ..all.clone() }, vec![4, 2]),
        (RunQuery { state: Some(RunState::Queued), ..all.clone() }, vec![3]),
        (RunQuery { state: Some(RunState::Running), ..all.clone() }, vec![]),
        (RunQuery { state: Some(RunState::DeadLettered), ..all.clone() }, vec![]),
        (RunQuery { app: Some(app()), state: Some(RunState::Completed), ..all.clone() }, vec![1]),
        (RunQuery { id: Some(run_id(2)), ..all.clone() }, vec![2]),
        (RunQuery { id: Some(run_id(9)), ..all.clone() }, vec![]),
        (RunQuery { id: Some(run_id(4)), app: Some(app()), ..all.clone() }, vec![]),
        (RunQuery { root: Some(run(1, "f").cause.root), ..all.clone() }, vec![4, 1]),
        (RunQuery { root: Some(run(1, "f").cause.root), app: Some(app()), ..all }, vec![1]),
    ] {
        let expected: Vec<RunId> = expected.into_iter().map(run_id).collect();
        assert_eq!(ids(store.runs(&query).await.expect("runs")), expected, "{query:?}");
    }
}

/// Whatever the order in which they were recorded; a page ends where the next begins.
pub async fn runs_are_paged_newest_first(subject: &mut dyn Subject) {
    let store = subject.store();
    for n in [3, 9, 1, 7, 5] {
        store.record(vec![ended(n, "f", RunState::Completed)], Vec::new()).await.expect("record");
    }
    for n in [2, 8, 4, 6] {
        store.append(vec![append(&format!("e{n}"), n, "g")], START).await.expect("append");
    }
    for filter in [RunQuery::default(), RunQuery { app: Some(app()), ..RunQuery::default() }] {
        let mut seen = Vec::new();
        loop {
            let page = RunQuery { before: seen.last().cloned(), limit: 2, ..filter.clone() };
            let found = ids(store.runs(&page).await.expect("runs"));
            if found.is_empty() {
                break;
            }
            seen.extend(found);
        }
        assert_eq!(seen, (1..=9).rev().map(run_id).collect::<Vec<_>>());
    }
}

/// As a call that runs is recorded again when it ends.
pub async fn a_record_replaces_the_one_before(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut running = run(1, "f");
    running.state = RunState::Running;
    store.record(vec![running], Vec::new()).await.expect("record");
    store.record(vec![ended(1, "f", RunState::Failed)], Vec::new()).await.expect("record");
    let runs = store.runs(&RunQuery { limit: 9, ..RunQuery::default() }).await.expect("runs");
    assert_eq!(runs, [ended(1, "f", RunState::Failed)]);
}

/// Newest first, with pages.
pub async fn events_are_found_by_each_filter(subject: &mut dyn Subject) {
    let store = subject.store();
    let item = |app, event: Event| Append {
        app,
        dedup: None,
        event: Some(event),
        invocations: Vec::new(),
        version: None,
        again: None,
    };
    let root = Attribute::String("run_1".to_owned());
    let items = vec![
        item(app(), event("a")),
        item(app(), Event::new("b", "/s", "signed_up").with_extension("correlationid", root.clone())),
        item(app_named("other"), event("a")),
        item(app(), Event::new("a", "/another", "signed_up").with_extension("correlationid", root)),
    ];
    let seqs: Vec<u64> =
        store.append(items, START).await.expect("append").iter().map(|one| one.seq).collect();
    let all = EventQuery { limit: 10, ..EventQuery::default() };
    for (query, expected) in [
        (all.clone(), vec![3, 2, 1, 0]),
        (EventQuery { limit: 2, ..all.clone() }, vec![3, 2]),
        (EventQuery { before: Some(seqs[2]), ..all.clone() }, vec![1, 0]),
        (EventQuery { app: Some(app()), ..all.clone() }, vec![3, 1, 0]),
        (EventQuery { ty: Some("signed_up".to_owned()), ..all.clone() }, vec![3, 1]),
        (EventQuery { ty: Some("signed_up".to_owned()), before: Some(seqs[3]), ..all.clone() }, vec![1]),
        (EventQuery { id: Some("a".to_owned()), ..all.clone() }, vec![3, 2, 0]),
        (EventQuery { id: Some("a".to_owned()), app: Some(app()), ..all.clone() }, vec![3, 0]),
        (EventQuery { id: Some("a".to_owned()), before: Some(seqs[3]), limit: 1, ..all.clone() }, vec![2]),
        (EventQuery { id: Some("none".to_owned()), ..all.clone() }, vec![]),
        (EventQuery { ty: Some("signed%".to_owned()), ..all.clone() }, vec![]),
        (EventQuery { root: Some(Correlation::from_text("run_1")), ..all.clone() }, vec![3, 1]),
        (EventQuery { root: Some(Correlation::from_text("run_1")), limit: 1, ..all.clone() }, vec![3]),
        (
            EventQuery {
                root: Some(Correlation::from_text("run_1")),
                id: Some("b".to_owned()),
                ..all.clone()
            },
            vec![1],
        ),
        (EventQuery { root: Some(Correlation::from_text("run")), ..all }, vec![]),
    ] {
        let found: Vec<u64> = store.events(&query).await.expect("events").iter().map(|one| one.seq).collect();
        assert_eq!(found, expected.into_iter().map(|n: usize| seqs[n]).collect::<Vec<_>>(), "{query:?}");
    }
}

/// The newest lines first of all, then whatever comes after them; oldest first in each answer.
pub async fn logs_are_tailed_and_followed(subject: &mut dyn Subject) {
    let store = subject.store();
    let lines =
        |range: std::ops::Range<u64>| range.map(|n| line(1, "f", &n.to_string(), at(n))).collect::<Vec<_>>();
    store.record(Vec::new(), lines(0..10)).await.expect("record");
    let tail = store.logs(&LogQuery { limit: 3, ..LogQuery::default() }).await.expect("logs");
    assert_eq!(tail.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(), lines(7..10));
    assert!(tail.is_sorted_by(|a, b| a.0 < b.0));
    store.record(Vec::new(), lines(10..15)).await.expect("record");
    let follow = |after, limit| LogQuery { after: Some(after), limit, ..LogQuery::default() };
    let first = store.logs(&follow(tail[2].0, 2)).await.expect("logs");
    let rest = store.logs(&follow(first[1].0, 100)).await.expect("logs");
    let followed: Vec<_> = first.into_iter().chain(rest).map(|(_, line)| line).collect();
    assert_eq!(followed, lines(10..15));
    let everything = store.logs(&follow(0, 100)).await.expect("logs");
    assert_eq!(everything.len(), 15);
}

/// Tailing and following.
pub async fn logs_are_found_by_each_filter(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut elsewhere = line(3, "f", "c", START);
    elsewhere.app = app_named("other");
    let lines = vec![line(1, "f", "a", START), line(2, "g", "b", START), elsewhere, line(1, "f", "d", START)];
    store.record(Vec::new(), lines).await.expect("record");
    for (filter, expected) in [
        (LogQuery { run: Some(run_id(1)), ..LogQuery::default() }, "ad"),
        (LogQuery { app: Some(app()), ..LogQuery::default() }, "abd"),
        (LogQuery { function: Some(function("f")), ..LogQuery::default() }, "acd"),
        (LogQuery { app: Some(app()), function: Some(function("f")), ..LogQuery::default() }, "ad"),
        (LogQuery { run: Some(run_id(2)), function: Some(function("f")), ..LogQuery::default() }, ""),
    ] {
        for after in [None, Some(0)] {
            let query = LogQuery { after, limit: 10, ..filter.clone() };
            let found: String =
                store.logs(&query).await.expect("logs").into_iter().map(|(_, line)| line.line).collect();
            assert_eq!(found, expected, "{query:?}");
        }
    }
}

/// Queued with its due time, running, waiting again, over.
pub async fn a_run_in_a_queue_shows_how_far_it_is(subject: &mut dyn Subject) {
    let store = subject.store();
    let later = NewInvocation { due_at: at(5), ..delivery(1, "f") };
    store.append(vec![append_to("a", vec![later])], START).await.expect("append");
    let (state, due_at) = progress(&*store).await;
    assert_eq!((state, due_at), (RunState::Queued, Some(at(5))));
    let leased = lease_one(&store, "f", at(5)).await;
    assert_eq!(progress(&*store).await, (RunState::Running, None));
    let running =
        RunQuery { state: Some(RunState::Running), app: Some(app()), limit: 9, ..RunQuery::default() };
    assert_eq!(ids(store.runs(&running).await.expect("runs")), [run_id(1)]);
    store.settle(settlement(&leased.lease, Verdict::Defer { until: at(50) }), at(6)).await.expect("settle");
    assert_eq!(progress(&*store).await, (RunState::Queued, Some(at(50))));
    assert!(store.runs(&running).await.expect("runs").is_empty());
    let leased = lease_one(&store, "f", at(50)).await;
    store.settle(complete(&leased.lease), at(51)).await.expect("settle");
    assert_eq!(progress(&*store).await, (RunState::Completed, None));
}

/// With `Closed`, in each verb; closing twice is no error.
pub async fn a_closed_store_refuses(subject: &mut dyn Subject) {
    let store = subject.store();
    store.close().await.expect("close");
    let closed = |error: StoreError| matches!(error, StoreError::Closed(_));
    assert!(store.append(vec![append("a", 1, "f")], START).await.is_err_and(closed));
    assert!(store.lease(&queue("f"), 1, START, HOLD).await.is_err_and(closed));
    assert!(store.due().await.is_err_and(closed));
    assert!(store.get(&space(), "k", START).await.is_err_and(closed));
    assert!(store.record(vec![run(1, "f")], Vec::new()).await.is_err_and(closed));
    assert!(store.put_object(bytes::Bytes::new()).await.is_err_and(closed));
    let write = store.write(vec![put("k", "1", Expect::Anything)], START).await;
    assert!(matches!(write, Err(SettleError::Store(StoreError::Closed(_)))));
    store.close().await.expect("close again");
}

/// What was buffered, too.
pub async fn a_closed_store_kept_everything(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    store
        .record(vec![ended(2, "f", RunState::Completed)], vec![line(2, "f", "hello", START)])
        .await
        .expect("record");
    store.close().await.expect("close");
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    assert_eq!(store.runs(&RunQuery { limit: 9, ..RunQuery::default() }).await.expect("runs").len(), 2);
    assert_eq!(store.logs(&LogQuery { limit: 9, ..LogQuery::default() }).await.expect("logs").len(), 1);
    assert_eq!(lease_one(&store, "f", START).await.attempt, 1);
}

fn ids(runs: Vec<RunRecord>) -> Vec<RunId> {
    runs.into_iter().map(|run| run.id).collect()
}

async fn progress(store: &dyn Store) -> (RunState, Option<crate::time::Timestamp>) {
    let query = RunQuery { id: Some(run_id(1)), limit: 1, ..RunQuery::default() };
    let run = store.runs(&query).await.expect("runs").remove(0);
    (run.state, run.due_at)
}
