//! Taking away all that an app has.

use super::Subject;
use super::samples::*;
use crate::holdings::Holdings;
use crate::id::AppName;
use crate::record::{LogRecord, RunState};
use crate::store::{
    Append, DeadLetterQuery, Dedup, EventQuery, Expect, ListQuery, LogQuery, NewInvocation, Queue, RunQuery,
    SettleError, Space, Store, Verdict, Write,
};

/// Of each kind something, and more than one call takes.
pub async fn everything_of_the_app_goes_and_nothing_of_another(subject: &mut dyn Subject) {
    let store = subject.store();
    for name in ["shop", "shops"] {
        fill(&*store, &app_named(name), 600).await;
    }
    let other = all_of(&*store, &app_named("shops")).await;
    assert_ne!(other, Holdings::default());
    erase(&*store, &app()).await;
    assert_eq!(all_of(&*store, &app()).await, Holdings::default());
    assert_eq!(all_of(&*store, &app_named("shops")).await, other);
    assert!(store.due().await.expect("due").iter().all(|due| due.queue.app == app_named("shops")));
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    assert_eq!(all_of(&*store, &app()).await, Holdings::default());
    assert_eq!(all_of(&*store, &app_named("shops")).await, other);
}

/// As the readers see it.
pub async fn what_is_held_is_counted(subject: &mut dyn Subject) {
    let store = subject.store();
    fill(&*store, &app(), 20).await;
    let Holdings { event_bytes, entry_bytes, .. } = store.holdings(&app()).await.expect("holdings");
    let expected = Holdings {
        events: 20,
        event_bytes,
        pending: 39,
        dead_letters: 1,
        runs: 60,
        log_lines: 20,
        entries: 20,
        entry_bytes,
    };
    assert_eq!(store.holdings(&app()).await.expect("holdings"), expected);
    assert!(event_bytes > 20 * 50 && entry_bytes == 20, "{event_bytes} {entry_bytes}");
}

/// Whoever settles it is told so, and nothing of it comes.
pub async fn a_lease_of_an_app_that_is_erased_is_no_longer_held(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    erase(&*store, &app()).await;
    assert!(!store.extend(&leased.lease, at(100)).await.expect("extend"));
    let mut settlement = complete(&leased.lease);
    settlement.writes.push(put("k", "1", Expect::Anything));
    let settled = store.settle(settlement, at(1)).await;
    assert!(matches!(settled, Err(SettleError::StaleLease { .. })), "{settled:?}");
    assert_eq!(all_of(&*store, &app()).await, Holdings::default());
}

/// Neither its events nor its runs are duplicates of what went.
pub async fn what_comes_afterwards_is_new(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    erase(&*store, &app()).await;
    let again = store.append(vec![append("a", 1, "f")], at(1)).await.expect("append").remove(0);
    assert!(!again.duplicate);
    let leased = lease_one(&store, "f", at(1)).await;
    store.settle(complete(&leased.lease), at(2)).await.expect("settle");
}

/// Whoever follows goes on where it was.
pub async fn lines_of_others_keep_their_positions(subject: &mut dyn Subject) {
    let store = subject.store();
    let of = |name: &str, n: u64| LogRecord { app: app_named(name), ..line(n, "f", "said", at(n)) };
    let lines = (0..10).map(|n| of(if n % 2 == 0 { "shop" } else { "other" }, n)).collect();
    store.record(Vec::new(), lines).await.expect("record");
    let query = LogQuery { limit: 100, ..LogQuery::default() };
    let before = store.logs(&query).await.expect("logs");
    erase(&*store, &app()).await;
    let kept: Vec<_> = before.into_iter().filter(|(_, line)| line.app != app()).collect();
    assert_eq!(store.logs(&query).await.expect("logs"), kept);
    store.record(Vec::new(), vec![of("other", 11)]).await.expect("record");
    let after = LogQuery { after: Some(10), limit: 100, ..LogQuery::default() };
    let positions = store.logs(&after).await.expect("logs").into_iter().map(|(position, _)| position);
    assert_eq!(positions.collect::<Vec<_>>(), [11]);
}

/// There is nothing to do.
pub async fn an_app_without_anything_is_erased_at_once(subject: &mut dyn Subject) {
    let store = subject.store();
    erase(&*store, &app()).await;
    assert_eq!(store.holdings(&app()).await.expect("holdings"), Holdings::default());
}

/// `n` events that cause one keyed invocation each, `n` calls, `n` ended runs, `n` lines, `n` entries; one is a dead letter.
async fn fill(store: &dyn Store, app: &AppName, n: u64) {
    let base = u64::from(app.as_str() == "shop") * 1_000_000;
    let numbers = || (base + 1)..=(base + n);
    let keyed = |m: u64| {
        let mut new = delivery(m, "f");
        new.run.app = app.clone();
        new.run.key = Some(format!("key-{}", m % 3));
        new
    };
    let events = numbers().map(|m| Append { app: app.clone(), ..append_to(&m.to_string(), vec![keyed(m)]) });
    store.append(events.collect(), START).await.expect("append");
    let calls = numbers().map(|m| {
        let mut new = NewInvocation { request: Some(request()), ..delivery(m + 100_000, "g") };
        new.run.app = app.clone();
        let dedup = Some(Dedup { scope: "call".to_owned(), id: m.to_string() });
        Append { app: app.clone(), dedup, event: None, invocations: vec![new], version: None, again: None }
    });
    store.append(calls.collect(), START).await.expect("append");
    let queue = Queue::calls(app.clone(), function("f"));
    let leased = store.lease(&queue, 1, START, HOLD).await.expect("lease").remove(0);
    let dead = Verdict::DeadLetter { reason: "no".to_owned() };
    store.settle(settlement(&leased.lease, dead), START).await.expect("settle");
    let runs = numbers().map(|m| {
        let mut run = ended(m + 200_000, "h", RunState::Completed);
        run.app = app.clone();
        run
    });
    let lines = numbers().map(|m| LogRecord { app: app.clone(), ..line(m, "f", "said", START) });
    store.record(runs.collect(), lines.collect()).await.expect("record");
    let entry = |m: u64| Write {
        space: Space::app(app, if m.is_multiple_of(2) { "even" } else { "odd" }),
        ..put(&m.to_string(), "1", Expect::Anything)
    };
    store.write(numbers().map(entry).collect(), START).await.expect("write");
}

/// What readers find of an app, which is what [`Store::holdings`] must say.
async fn all_of(store: &dyn Store, app: &AppName) -> Holdings {
    let (of, limit) = (Some(app.clone()), 10_000);
    let query = EventQuery { app: of.clone(), limit, ..EventQuery::default() };
    let events = store.events(&query).await.expect("events").len() as u64;
    let query = DeadLetterQuery { app: of.clone(), limit, ..DeadLetterQuery::default() };
    let dead_letters = store.dead_letters(&query).await.expect("dead letters").len() as u64;
    let query = RunQuery { app: of.clone(), limit, ..RunQuery::default() };
    let runs = store.runs(&query).await.expect("runs");
    let query = LogQuery { app: of, limit, ..LogQuery::default() };
    let log_lines = store.logs(&query).await.expect("logs").len() as u64;
    let mut entries = 0;
    for namespace in ["even", "odd"] {
        let space = Space::app(app, namespace);
        let query = ListQuery { space, prefix: String::new(), after: None, limit };
        entries += store.list(&query, START).await.expect("list").len() as u64;
    }
    let pending = runs.iter().filter(|run| matches!(run.state, RunState::Queued | RunState::Running));
    let pending = pending.count() as u64;
    let held = store.holdings(app).await.expect("holdings");
    let found =
        Holdings { events, dead_letters, pending, runs: runs.len() as u64, log_lines, entries, ..held };
    assert_eq!(found, held);
    found
}

async fn erase(store: &dyn Store, app: &AppName) {
    while store.erase(app).await.expect("erase") {}
}
