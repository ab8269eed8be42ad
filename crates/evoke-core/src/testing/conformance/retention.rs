//! What sweeping takes, and what it leaves.

use std::time::Duration;

use super::Subject;
use super::samples::*;
use crate::record::{LogRecord, RunRecord, RunState};
use crate::store::{
    Append, DeadLetterQuery, Dedup, EventQuery, Expect, LogQuery, NewInvocation, Retention, RunQuery, Space,
    Store, StoredInput, Verdict, Write,
};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);

/// Sweeping is not seen by readers, to whom they had gone already.
pub async fn expired_keys_go(subject: &mut dyn Subject) {
    let store = subject.store();
    let short = |n: u64| Write { expires_at: Some(at(n)), ..put(&format!("k{n}"), "1", Expect::Anything) };
    let mut writes: Vec<Write> = (1..=10).map(short).collect();
    writes.push(put("stays", "1", Expect::Anything));
    store.write(writes, START).await.expect("write");
    assert_eq!(sweep(&*store, &keep(), at(5)).await, 5);
    assert!(store.get(&space(), "k6", at(5)).await.expect("get").is_some());
    assert_eq!(sweep(&*store, &keep(), at(10)).await, 5);
    assert!(store.get(&space(), "stays", at(10)).await.expect("get").is_some());
}

/// Not before their time is over.
pub async fn forgotten_duplicates_are_new(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    sweep(&*store, &keep(), START.after(HOUR)).await;
    assert!(store.append(vec![append("a", 2, "f")], at(3_600)).await.expect("append")[0].duplicate);
    sweep(&*store, &keep(), at(3_601)).await;
    let again = store.append(vec![append("a", 3, "f")], at(3_602)).await.expect("append").remove(0);
    assert!(!again.duplicate);
    assert_eq!(again.runs, [run_id(3)]);
    assert!(store.append(vec![append("a", 4, "f")], at(3_603)).await.expect("append")[0].duplicate);
}

/// By a queued, a running or a dead invocation; then by age.
pub async fn events_stay_while_they_are_needed(subject: &mut dyn Subject) {
    let store = subject.store();
    let items = vec![
        append("done", 1, "f"),
        append("dead", 2, "g"),
        append("queued", 3, "h"),
        append_to("alone", vec![]),
    ];
    store.append(items, START).await.expect("append");
    let done = lease_one(&store, "f", START).await;
    store.settle(complete(&done.lease), START).await.expect("settle");
    let dead = lease_one(&store, "g", START).await;
    store
        .settle(settlement(&dead.lease, Verdict::DeadLetter { reason: "no".to_owned() }), START)
        .await
        .expect("settle");
    sweep(&*store, &keep(), START.after(2 * HOUR)).await;
    assert_eq!(event_ids(&*store).await.len(), 4, "not old enough");
    sweep(&*store, &keep(), START.after(3 * HOUR)).await;
    assert_eq!(event_ids(&*store).await, ["queued", "dead"]);
    let letters = store.dead_letters(&DeadLetterQuery { limit: 9, ..DeadLetterQuery::default() }).await;
    assert!(
        matches!(&letters.expect("dead letters")[0].input, StoredInput::Event(kept) if *kept == event("dead"))
    );
    let queued = lease_one(&store, "h", START.after(3 * HOUR)).await;
    assert!(matches!(&queued.input, StoredInput::Event(kept) if *kept == event("queued")));
    store.settle(complete(&queued.lease), START.after(3 * HOUR)).await.expect("settle");
    sweep(&*store, &keep(), START.after(3 * HOUR)).await;
    assert_eq!(event_ids(&*store).await, ["dead"]);
}

/// Pending ones and dead letters do not count and do not go.
pub async fn ended_runs_go_by_age_and_number(subject: &mut dyn Subject) {
    let store = subject.store();
    let recorded = (1..=10).map(|n| {
        let mut run = ended(n, "f", if n % 2 == 0 { RunState::Completed } else { RunState::Failed });
        run.ended_at = Some(at(n));
        run
    });
    store.record(recorded.collect(), Vec::new()).await.expect("record");
    store.append(vec![append("a", 11, "f"), append("b", 12, "g")], START).await.expect("append");
    let dead = lease_one(&store, "g", START).await;
    store
        .settle(settlement(&dead.lease, Verdict::DeadLetter { reason: "no".to_owned() }), START)
        .await
        .expect("settle");
    let three = Retention { runs_max: 6, ..keep() };
    sweep(&*store, &three, at(10)).await;
    assert_eq!(run_numbers(&*store).await, [12, 11, 10, 9, 8, 7, 6, 5]);
    sweep(&*store, &keep(), at(8).after(2 * HOUR)).await;
    assert_eq!(run_numbers(&*store).await, [12, 11, 10, 9, 8]);
    sweep(&*store, &keep(), at(1_000_000)).await;
    assert_eq!(run_numbers(&*store).await, [12, 11]);
}

/// The oldest go; positions of what stays do not change.
pub async fn logs_go_by_age_and_number(subject: &mut dyn Subject) {
    let store = subject.store();
    let lines = (1..=10_u64).map(|n| line(1, "f", &n.to_string(), at(n)));
    store.record(Vec::new(), lines.collect()).await.expect("record");
    let before = log_lines(&*store).await;
    sweep(&*store, &Retention { logs_max: 6, ..keep() }, at(10)).await;
    assert_eq!(log_lines(&*store).await, before[4..]);
    sweep(&*store, &keep(), at(8).after(HOUR)).await;
    assert_eq!(log_lines(&*store).await, before[7..]);
    sweep(&*store, &keep(), at(1_000_000)).await;
    assert!(log_lines(&*store).await.is_empty());
    store.record(Vec::new(), vec![line(1, "f", "new", at(1_000_000))]).await.expect("record");
    assert!(log_lines(&*store).await[0].0 > before[9].0, "positions are not given twice");
}

/// Of the app that has too much, and of all when there is too much together.
pub async fn ended_runs_go_by_bytes(subject: &mut dyn Subject) {
    let store = subject.store();
    let recorded = (1..=40).map(|n| {
        let mut run = ended(n, if n % 4 == 0 { "f" } else { "g" }, RunState::Completed);
        run.app = app_named(if n > 20 { "shop" } else { "other" });
        run
    });
    let recorded: Vec<RunRecord> = recorded.collect();
    let one = serde_json::to_vec(&recorded[0]).expect("JSON").len() as u64;
    store.record(recorded, Vec::new()).await.expect("record");
    // What a record counts for is the store's own affair: the first goes when twenty are too much.
    let mut bound = one * 20;
    while run_numbers(&*store).await.len() == 40 {
        bound -= one / 16;
        sweep(&*store, &Retention { app_runs_bytes: bound, ..keep() }, at(1)).await;
    }
    // About ten, and less than eleven.
    let bound = bound * 21 / 40;
    sweep(&*store, &Retention { app_runs_bytes: bound, ..keep() }, at(1)).await;
    let (left, of_shop): (Vec<u64>, Vec<u64>) =
        run_numbers(&*store).await.into_iter().partition(|n| *n <= 20);
    assert_eq!((left, of_shop), ((11..=20).rev().collect(), (31..=40).rev().collect()));
    sweep(&*store, &Retention { runs_bytes: bound, ..keep() }, at(1)).await;
    assert_eq!(run_numbers(&*store).await, (31..=40).rev().collect::<Vec<_>>());
    sweep(&*store, &Retention { runs_bytes: 0, ..keep() }, at(1)).await;
    assert!(run_numbers(&*store).await.is_empty());
}

/// The same of lines.
pub async fn logs_go_by_bytes(subject: &mut dyn Subject) {
    let store = subject.store();
    let lines = (1..=40_u64).map(|n| {
        let name = if n % 2 == 0 { "f" } else { "g" };
        LogRecord {
            app: app_named(if n > 20 { "shop" } else { "other" }),
            ..line(1, name, "ten bytes.", at(n))
        }
    });
    store.record(Vec::new(), lines.collect()).await.expect("record");
    let positions =
        async || -> Vec<u64> { log_lines(&*store).await.into_iter().map(|(position, _)| position).collect() };
    sweep(&*store, &Retention { app_logs_bytes: 105, ..keep() }, at(50)).await;
    assert_eq!(positions().await, (11..=20).chain(31..=40).collect::<Vec<_>>());
    sweep(&*store, &Retention { logs_bytes: 105, ..keep() }, at(50)).await;
    assert_eq!(positions().await, (31..=40).collect::<Vec<_>>());
    sweep(&*store, &Retention { logs_bytes: 0, ..keep() }, at(50)).await;
    assert!(positions().await.is_empty());
}

/// That of a call with a de-duplication entry until this is forgotten, one with a wait, and dead letters.
pub async fn what_is_asked_for_is_spared_by_bounds(subject: &mut dyn Subject) {
    let store = subject.store();
    let call = NewInvocation { request: Some(request()), ..delivery(1, "f") };
    let dedup = Some(Dedup { scope: "call".to_owned(), id: "key".to_owned() });
    let call = Append { app: app(), dedup, event: None, invocations: vec![call], version: None, again: None };
    store
        .append(vec![call, append("a", 2, "f"), append("b", 3, "g"), append("c", 4, "f")], START)
        .await
        .expect("append");
    let wait =
        Write { space: Space::waits(), ..put(&format!("shop/{}.w1", run_id(4)), "1", Expect::Anything) };
    store.write(vec![wait.clone()], START).await.expect("write");
    for leased in lease_all(&store, "f", START).await {
        store.settle(complete(&leased.lease), START).await.expect("settle");
    }
    let dead = lease_one(&store, "g", START).await;
    let verdict = Verdict::DeadLetter { reason: "no".to_owned() };
    store.settle(settlement(&dead.lease, verdict), START).await.expect("settle");
    for bound in [Retention { runs_max: 0, ..keep() }, Retention { app_runs_bytes: 0, ..keep() }] {
        sweep(&*store, &Retention { runs_bytes: 0, ..bound }, at(1)).await;
        assert_eq!(run_numbers(&*store).await, [4, 3, 1]);
    }
    store.write(vec![Write { value: None, ..wait }], at(2)).await.expect("write");
    sweep(&*store, &Retention { runs_bytes: 0, ..keep() }, START.after(HOUR).after(HOUR / 60)).await;
    assert_eq!(run_numbers(&*store).await, [3]);
}

/// Nor has one that was just swept.
pub async fn a_fresh_store_has_nothing_to_sweep(subject: &mut dyn Subject) {
    let store = subject.store();
    assert_eq!(store.sweep(&Retention::default(), START).await.expect("sweep"), 0);
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    assert_eq!(store.sweep(&Retention::default(), START).await.expect("sweep"), 0);
}

fn keep() -> Retention {
    Retention {
        dedup: HOUR,
        events: 2 * HOUR,
        runs: 2 * HOUR,
        logs: HOUR,
        logs_max: 1_000,
        runs_max: 1_000,
        ..Retention::default()
    }
}

/// Sweeps until there is nothing left to take; how much went.
async fn sweep(store: &dyn Store, keep: &Retention, now: Timestamp) -> u64 {
    let mut all = 0;
    for _ in 0..1_000 {
        match store.sweep(keep, now).await.expect("sweep") {
            0 => return all,
            some => all += some,
        }
    }
    panic!("sweeping does not come to an end")
}

async fn event_ids(store: &dyn Store) -> Vec<String> {
    let events = store.events(&EventQuery { limit: 100, ..EventQuery::default() }).await.expect("events");
    events.into_iter().map(|stored| stored.event.id().to_owned()).collect()
}

async fn run_numbers(store: &dyn Store) -> Vec<u64> {
    let runs = store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await.expect("runs");
    runs.iter().filter_map(|run| (1..100).find(|n| run_id(*n) == run.id)).collect()
}

async fn log_lines(store: &dyn Store) -> Vec<(u64, LogRecord)> {
    store.logs(&LogQuery { limit: 100, ..LogQuery::default() }).await.expect("logs")
}
