//! How long events are kept: by the rules of their types, and never while they are needed unless told so.

use std::time::Duration;

use super::Subject;
use super::samples::*;
use crate::archive::{Archive, TypeRule};
use crate::event::Event;
use crate::manifest::TypePattern;
use crate::outcome::{FailureCode, Outcome};
use crate::record::RunState;
use crate::store::{
    Append, DeadLetterQuery, EventQuery, Held, NewInvocation, Retention, RunQuery, Store, StoredEvent,
    StoredInput, Verdict,
};
use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What no rule names is kept as the app says, and other apps as the server says.
pub async fn each_type_has_its_own_time(subject: &mut dyn Subject) {
    let store = subject.store();
    let other = Append { app: app_named("other"), ..of_type("other", "page.view", vec![]) };
    let items = vec![
        of_type("click", "page.click", vec![]),
        of_type("view", "page.view", vec![]),
        of_type("order", "order", vec![]),
        other,
    ];
    store.append(items, START).await.expect("append");
    let keep = keep(Archive {
        keep: Some(3 * HOUR),
        types: vec![rule("page.*", 2 * HOUR), rule("page.click", HOUR)],
        ..Archive::default()
    });
    let after = [(0, vec!["other", "order", "view", "click"]), (1, vec!["other", "order", "view"])];
    for (hours, left) in after.into_iter().chain([(2, vec!["other", "order"]), (3, vec!["other"])]) {
        sweep(&*store, &keep, START.after(hours * HOUR).after(MINUTE)).await;
        assert_eq!(ids(&*store).await, left, "after {hours} hours");
    }
    sweep(&*store, &keep, START.after(11 * HOUR)).await;
    assert!(ids(&*store).await.is_empty());
}

/// Queued, put off, leased, behind another of its key, or a dead letter.
pub async fn what_is_needed_stays_however_old_it_is(subject: &mut dyn Subject) {
    let store = subject.store();
    let keyed = |n| {
        let mut new = delivery(n, "keyed");
        new.run.key = Some("k".to_owned());
        new
    };
    let items = vec![
        append("queued", 1, "queued"),
        append("put off", 2, "put-off"),
        append("leased", 3, "leased"),
        append_to("first", vec![keyed(4)]),
        append_to("behind", vec![keyed(5)]),
        append("dead", 6, "dead"),
        append("done", 7, "done"),
    ];
    store.append(items, START).await.expect("append");
    let put_off = lease_one(&store, "put-off", START).await;
    let until = START.after(100 * HOUR);
    store.settle(settlement(&put_off.lease, Verdict::Defer { until }), START).await.expect("settle");
    let dead = lease_one(&store, "dead", START).await;
    let reason = "no".to_owned();
    store.settle(settlement(&dead.lease, Verdict::DeadLetter { reason }), START).await.expect("settle");
    let done = lease_one(&store, "done", START).await;
    store.settle(complete(&done.lease), START).await.expect("settle");
    let leased = store.lease(&queue("leased"), 1, START, 100 * HOUR).await.expect("lease").remove(0);

    let keep = keep(Archive {
        keep: Some(MINUTE),
        bytes: Some(1),
        types: vec![TypeRule { bytes: Some(1), ..rule("*", MINUTE) }],
    });
    let late = START.after(50 * HOUR);
    sweep(&*store, &keep, late).await;
    assert_eq!(ids(&*store).await, ["dead", "behind", "first", "leased", "put off", "queued"]);

    drop(store);
    subject.reopen().await;
    let store = subject.store();
    sweep(&*store, &keep, late).await;
    let input =
        |input: &StoredInput, id: &str| matches!(input, StoredInput::Event(kept) if *kept == event(id));
    for (name, id) in [("queued", "queued"), ("leased", "leased"), ("keyed", "first"), ("keyed", "behind")] {
        let one = lease_one(&store, name, late).await;
        assert!(input(&one.input, id), "{id}");
        assert!(id != "leased" || one.lease.run == leased.lease.run);
        store.settle(complete(&one.lease), late).await.expect("settle");
        sweep(&*store, &keep, late).await;
    }
    assert_eq!(ids(&*store).await, ["dead", "put off"]);
    let redriven = store.redrive(&app(), &[run_id(6)], late).await.expect("redrive");
    assert_eq!(redriven, [run_id(6)]);
    sweep(&*store, &keep, late).await;
    assert!(input(&lease_one(&store, "dead", late).await.input, "dead"));
    assert!(input(&lease_one(&store, "put-off", until).await.input, "put off"));
}

/// It keeps its attributes until then, and is found by its id only.
pub async fn an_event_that_expired_is_recognised_until_duplicates_are_forgotten(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let done = lease_one(&store, "f", START).await;
    store.settle(complete(&done.lease), START).await.expect("settle");
    let keep = keep(Archive { types: vec![rule("*", MINUTE)], ..Archive::default() });
    let expired = START.after(2 * MINUTE);
    assert_eq!(sweep(&*store, &keep, expired).await, 1);
    assert_eq!(sweep(&*store, &keep, expired).await, 0, "once");
    assert!(ids(&*store).await.is_empty());
    let forwards = EventQuery { after: Some(0), limit: 9, ..EventQuery::default() };
    assert!(store.events(&forwards).await.expect("events").is_empty());
    let found = by_id(&*store, "a").await.expect("it is found");
    assert_eq!((found.event.clone(), found.expired_at), (event("a").without_data(), Some(expired)));
    assert_eq!(found.runs, [run_id(1)]);
    let again = store.append(vec![append("a", 2, "f")], expired).await.expect("append").remove(0);
    assert!(again.duplicate && again.runs == [run_id(1)]);

    let later = START.after(HOUR).after(MINUTE);
    assert!(sweep(&*store, &keep, later).await > 0);
    assert!(by_id(&*store, "a").await.is_none());
    assert!(!store.append(vec![append("a", 3, "f")], later).await.expect("append")[0].duplicate);
}

/// As one that is gone.
pub async fn an_event_that_expired_is_not_delivered_again(subject: &mut dyn Subject) {
    let store = subject.store();
    let seq = store.append(vec![append_to("a", vec![])], START).await.expect("append")[0].seq;
    let keep = keep(Archive { keep: Some(MINUTE), ..Archive::default() });
    let now = START.after(2 * MINUTE);
    sweep(&*store, &keep, now).await;
    let again = store.append(vec![Append::again(app(), seq, vec![delivery(1, "f")])], now).await;
    assert!(again.expect("append")[0].runs.is_empty());
    assert!(store.lease(&queue("f"), 1, now, HOLD).await.expect("lease").is_empty());
}

/// By what the store does not know, such as a replay that has not come to it.
pub async fn what_is_held_stays(subject: &mut dyn Subject) {
    let store = subject.store();
    let items = ["a", "b", "c", "d"].map(|id| append_to(id, vec![]));
    let appended = store.append(items.into(), START).await.expect("append");
    let held = Held { app: app(), after: appended[0].seq, through: appended[2].seq };
    let archive = Archive { keep: Some(MINUTE), bytes: Some(1), ..Archive::default() };
    let now = START.after(2 * HOUR);
    sweep(&*store, &Retention { held: vec![held], ..keep(archive.clone()) }, now).await;
    assert_eq!(ids(&*store).await, ["c", "b"]);
    sweep(&*store, &keep(archive), now).await;
    assert!(ids(&*store).await.is_empty());
}

/// They end as failed, which they say for as long as runs are kept; those of its key that are behind them go on.
pub async fn told_so_it_goes_and_each_run_says_so(subject: &mut dyn Subject) {
    let store = subject.store();
    let keyed = |n, id: &str, ty: &str| {
        let mut new = delivery(n, "keyed");
        new.run.key = Some("k".to_owned());
        of_type(id, ty, vec![new])
    };
    let items = vec![
        of_type("queued", "old", vec![delivery(1, "queued")]),
        of_type("dead", "old", vec![delivery(2, "dead")]),
        keyed(3, "first", "old"),
        keyed(4, "behind", "new"),
    ];
    store.append(items, START).await.expect("append");
    let dead = lease_one(&store, "dead", START).await;
    let reason = "no".to_owned();
    store.settle(settlement(&dead.lease, Verdict::DeadLetter { reason }), START).await.expect("settle");
    let old = TypeRule { even_if_needed: true, ..rule("old", MINUTE) };
    let keep = keep(Archive { types: vec![old], ..Archive::default() });
    let now = START.after(2 * MINUTE);
    assert_eq!(sweep(&*store, &keep, now).await, 3);
    assert_eq!(ids(&*store).await, ["behind"]);

    let runs = store.runs(&RunQuery { limit: 9, ..RunQuery::default() }).await.expect("runs");
    for run in runs.iter().filter(|run| run.id != run_id(4)) {
        assert_eq!((run.state, run.ended_at, run.due_at), (RunState::Failed, Some(now), None), "{}", run.id);
        let last = run.attempts.last().expect("it says why");
        assert!(matches!(&last.outcome, Outcome::Rejected(failure) if failure.code == FailureCode::Expired));
    }
    assert!(
        store
            .dead_letters(&DeadLetterQuery { limit: 9, ..Default::default() })
            .await
            .expect("dead")
            .is_empty()
    );
    assert!(store.redrive(&app(), &[run_id(2)], now).await.expect("redrive").is_empty());
    for name in ["queued", "dead"] {
        assert!(store.lease(&queue(name), 9, now, HOLD).await.expect("lease").is_empty(), "{name}");
    }
    assert_eq!(lease_one(&store, "keyed", now).await.lease.run, run_id(4), "it was behind one that went");

    sweep(&*store, &keep, START.after(2 * HOUR)).await;
    let found = by_id(&*store, "queued").await.expect("as long as its run is kept");
    assert_eq!(found.expired_at, Some(now));
    sweep(&*store, &keep, now.after(keep.runs).after(MINUTE)).await;
    assert!(by_id(&*store, "queued").await.is_none());
}

/// It goes when its attempt is over.
pub async fn a_leased_one_does_not_go_even_so(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let forced = TypeRule { even_if_needed: true, ..rule("*", MINUTE) };
    let keep = keep(Archive { types: vec![forced], ..Archive::default() });
    let leased = store.lease(&queue("f"), 1, START, HOUR).await.expect("lease").remove(0);
    let now = START.after(2 * MINUTE);
    assert_eq!(sweep(&*store, &keep, now).await, 0);
    store.settle(settlement(&leased.lease, Verdict::Release), now).await.expect("it still has its lease");
    assert_eq!(sweep(&*store, &keep, now).await, 1);
    assert!(store.lease(&queue("f"), 1, now, HOLD).await.expect("lease").is_empty());
}

/// And no more of them than have to.
pub async fn above_its_bytes_the_oldest_go(subject: &mut dyn Subject) {
    let store = subject.store();
    let items = (1..=9).map(|n| of_type(&n.to_string(), if n % 2 == 0 { "even" } else { "odd" }, vec![]));
    store.append(items.collect(), START).await.expect("append");
    let size = of_type("1", "odd", vec![]).event.expect("an event").json_bytes();
    let bytes = Some(3 * size);
    let keep = keep(Archive {
        types: vec![TypeRule { bytes, keep: None, ..rule("odd", HOUR) }],
        ..Archive::default()
    });
    sweep(&*store, &keep, START).await;
    assert_eq!(ids(&*store).await, ["9", "8", "7", "6", "5", "4", "2"]);
    store.append(vec![of_type("0", "odd", vec![])], START).await.expect("append");
    sweep(&*store, &keep, START).await;
    assert_eq!(ids(&*store).await, ["0", "9", "8", "7", "6", "4", "2"]);
}

/// Later ones go in their place.
pub async fn a_bound_on_bytes_spares_what_is_needed(subject: &mut dyn Subject) {
    let store = subject.store();
    let deliveries = |n| if n == 1 { vec![delivery(1, "f")] } else { vec![] };
    let items = (1..=5).map(|n| of_type(&n.to_string(), "t", deliveries(n)));
    store.append(items.collect(), START).await.expect("append");
    let size = of_type("1", "t", vec![]).event.expect("an event").json_bytes();
    let keep = keep(Archive { bytes: Some(2 * size), ..Archive::default() });
    sweep(&*store, &keep, START).await;
    assert_eq!(ids(&*store).await, ["5", "1"]);
    let done = lease_one(&store, "f", START).await;
    store.settle(complete(&done.lease), START).await.expect("settle");
    store.append(vec![of_type("6", "t", vec![])], START).await.expect("append");
    sweep(&*store, &keep, START).await;
    assert_eq!(ids(&*store).await, ["6", "5"]);
}

/// What goes for one counts for the other.
pub async fn bounds_of_a_type_and_of_the_app_hold_together(subject: &mut dyn Subject) {
    let store = subject.store();
    let items = (1..=8).map(|n| of_type(&n.to_string(), if n <= 4 { "a.x" } else { "b.x" }, vec![]));
    store.append(items.collect(), START).await.expect("append");
    let size = of_type("1", "a.x", vec![]).event.expect("an event").json_bytes();
    let types = vec![TypeRule { bytes: Some(size), keep: None, ..rule("b.*", HOUR) }];
    let keep = keep(Archive { bytes: Some(4 * size), types, ..Archive::default() });
    sweep(&*store, &keep, START).await;
    let left = ids(&*store).await;
    assert!(left.len() <= 4 && left.contains(&"8".to_owned()), "{left:?}");
    assert_eq!(left.iter().filter(|id| id.as_str() > "4").count(), 1);
}

fn of_type(id: &str, ty: &str, invocations: Vec<NewInvocation>) -> Append {
    let event = Event::new(id, "/shop", ty).with_json(serde_json::json!({ "total": 42 }));
    Append { event: Some(event), ..append_to(id, invocations) }
}

fn rule(ty: &str, keep: Duration) -> TypeRule {
    TypeRule { ty: TypePattern(ty.to_owned()), keep: Some(keep), bytes: None, even_if_needed: false }
}

/// Duplicates are known for an hour, runs kept for five, and events of apps that say nothing for ten.
fn keep(archive: Archive) -> Retention {
    let archives = [(app(), archive)].into();
    Retention { dedup: HOUR, events: 10 * HOUR, runs: 5 * HOUR, archives, ..Retention::default() }
}

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

async fn ids(store: &dyn Store) -> Vec<String> {
    let events = store.events(&EventQuery { limit: 100, ..EventQuery::default() }).await.expect("events");
    events.into_iter().map(|stored| stored.event.id().to_owned()).collect()
}

async fn by_id(store: &dyn Store, id: &str) -> Option<StoredEvent> {
    let query = EventQuery { id: Some(id.to_owned()), limit: 9, ..EventQuery::default() };
    store.events(&query).await.expect("events").pop()
}
