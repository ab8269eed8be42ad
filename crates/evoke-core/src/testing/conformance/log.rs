//! Accepting work.

use bytes::Bytes;

use super::Subject;
use super::samples::*;
use crate::event::{Attribute, Data, Event};
use crate::id::RunId;
use crate::store::{Append, Dedup, EventQuery, NewInvocation, StoredInput};

/// Later appends have higher positions, and the answers stand where their items stood.
pub async fn positions_grow_and_answers_keep_the_order(subject: &mut dyn Subject) {
    let store = subject.store();
    let first = store.append(vec![append("a", 1, "f"), append("b", 2, "f")], START).await.expect("append");
    let second = store.append(vec![append("c", 3, "f")], START).await.expect("append");
    assert_eq!(
        first.iter().map(|one| one.runs.clone()).collect::<Vec<_>>(),
        [vec![run_id(1)], vec![run_id(2)]]
    );
    assert!(first[0].seq < first[1].seq && first[1].seq < second[0].seq, "{first:?} {second:?}");
    assert!(first.iter().chain(&second).all(|one| !one.duplicate));
}

/// The second time nothing is stored, and the answer is that of the first.
pub async fn the_same_event_twice_is_one(subject: &mut dyn Subject) {
    let store = subject.store();
    let first = store.append(vec![append("a", 1, "f")], START).await.expect("append").remove(0);
    let again = store.append(vec![append("a", 2, "f")], at(5)).await.expect("append").remove(0);
    assert!(again.duplicate);
    assert_eq!((again.seq, &again.runs), (first.seq, &first.runs));
    assert_eq!(lease_all(&store, "f", at(10)).await.len(), 1);
    assert_eq!(
        store.events(&EventQuery { limit: 10, ..EventQuery::default() }).await.expect("events").len(),
        1
    );
}

/// Also when both come in one call.
pub async fn equal_items_of_one_call_are_one(subject: &mut dyn Subject) {
    let store = subject.store();
    let answers = store.append(vec![append("a", 1, "f"), append("a", 2, "f")], START).await.expect("append");
    assert_eq!(answers.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, true]);
    assert_eq!(answers[1].runs, [run_id(1)]);
    assert_eq!(lease_all(&store, "f", START).await.len(), 1);
}

/// De-duplication looks at the app, the scope and the id, and at where one ends and the next begins.
pub async fn another_source_app_or_id_is_another_event(subject: &mut dyn Subject) {
    let store = subject.store();
    let named = |scope: &str, id: &str| Append {
        app: app(),
        dedup: Some(Dedup { scope: scope.to_owned(), id: id.to_owned() }),
        event: Some(event(id)),
        invocations: Vec::new(),
        version: None,
        again: None,
    };
    let mut items =
        vec![named("ab", "c"), named("a", "bc"), named("", "abc"), named("abc", ""), named("ab", "C")];
    items.push(Append { app: app_named("other"), ..named("ab", "c") });
    let answers = store.append(items, START).await.expect("append");
    assert!(answers.iter().all(|one| !one.duplicate), "{answers:?}");
}

/// Repeating an append whose outcome was unknown is safe, also without a key.
pub async fn an_append_without_dedup_is_known_by_its_run(subject: &mut dyn Subject) {
    let store = subject.store();
    let item = Append { dedup: None, ..append("a", 1, "f") };
    let first = store.append(vec![item.clone()], START).await.expect("append").remove(0);
    let again = store.append(vec![item], START).await.expect("append").remove(0);
    assert!(!first.duplicate && again.duplicate);
    assert_eq!((again.seq, &again.runs), (first.seq, &first.runs));
    let leased = lease_one(&store, "f", START).await;
    store.settle(complete(&leased.lease), START).await.expect("settle");
    let late =
        store.append(vec![Append { dedup: None, ..append("a", 1, "f") }], at(1)).await.expect("append");
    assert!(late[0].duplicate, "a run that is over is known as well");
    assert!(lease_all(&store, "f", at(100)).await.is_empty());
}

/// An event nobody subscribes to is still an event.
pub async fn an_item_without_invocations_is_kept(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append_to("a", Vec::new())], START).await.expect("append");
    let events = store.events(&EventQuery { limit: 10, ..EventQuery::default() }).await.expect("events");
    assert_eq!(events.len(), 1);
    assert!(events[0].runs.is_empty());
    assert!(store.due().await.expect("due").is_empty());
}

/// Accepted is durable.
pub async fn acknowledged_appends_survive_a_restart(subject: &mut dyn Subject) {
    let answers = subject.store().append((1..=20).map(numbered).collect(), START).await.expect("append");
    subject.reopen().await;
    let store = subject.store();
    let mut leased: Vec<RunId> =
        lease_all(&store, "f", START).await.into_iter().map(|one| one.lease.run).collect();
    leased.sort();
    assert_eq!(leased, (1..=20).map(run_id).collect::<Vec<_>>());
    let later = store.append(vec![append("later", 99, "f")], START).await.expect("append");
    assert!(later[0].seq > answers[19].seq, "positions go on growing");
}

/// The memory of duplicates is durable too.
pub async fn duplicates_are_known_after_a_restart(subject: &mut dyn Subject) {
    let first = subject.store().append(vec![append("a", 1, "f")], START).await.expect("append").remove(0);
    subject.reopen().await;
    let again = subject.store().append(vec![append("a", 2, "f")], at(1)).await.expect("append").remove(0);
    assert!(again.duplicate);
    assert_eq!((again.seq, again.runs), (first.seq, first.runs));
}

/// Every attribute and every kind of data comes back as it went in.
pub async fn events_are_kept_exactly(subject: &mut dyn Subject) {
    let plain = || Event::new("x", "/s?a=1#f", "com.example.t");
    let events = [
        plain(),
        event("json").with_subject("order-1").with_time("2026-11-21T01:42:00.25Z"),
        plain().with_json(serde_json::json!(null)),
        plain().with_json(serde_json::json!([1.5, -3, "\u{1f980}", {}, 9_007_199_254_740_993_u64])),
        plain().with_data(Data::Text("<a>ü</a>".to_owned()), Some("text/xml".to_owned())),
        plain().with_data(
            Data::Bytes(Bytes::from_iter(0..=255_u8)),
            Some("application/octet-stream".to_owned()),
        ),
        plain()
            .with_data_schema("https://example.com/schema")
            .with_extension("flag", Attribute::Boolean(true))
            .with_extension("number", Attribute::Integer(-7))
            .with_extension("text", Attribute::String("ä".to_owned())),
    ];
    let store = subject.store();
    let items = events.iter().zip(1..).map(|(event, n)| Append {
        app: app(),
        dedup: None,
        event: Some(event.clone()),
        invocations: vec![delivery(n, "f")],
        version: Some(7),
        again: None,
    });
    store.append(items.collect(), START).await.expect("append");
    let mut stored = store.events(&EventQuery { limit: 100, ..EventQuery::default() }).await.expect("events");
    stored.reverse();
    assert_eq!(stored.iter().map(|one| one.event.clone()).collect::<Vec<_>>(), events);
    assert!(stored.iter().all(|one| one.accepted_at == START && one.app == app() && one.runs.len() == 1));
    assert!(stored.iter().all(|one| one.version == Some(7) && one.again.is_empty()));
    for leased in lease_all(&store, "f", START).await {
        let n = (1..).find(|n| run_id(*n) == leased.lease.run).expect("one of ours");
        assert!(matches!(leased.input, StoredInput::Event(event) if event == events[n as usize - 1]));
    }
}

/// A request that waits comes back byte by byte.
pub async fn requests_are_kept_exactly(subject: &mut dyn Subject) {
    let invocation = NewInvocation { request: Some(request()), ..delivery(1, "f") };
    let item = Append {
        app: app(),
        dedup: None,
        event: None,
        invocations: vec![invocation],
        version: None,
        again: None,
    };
    subject.store().append(vec![item], START).await.expect("append");
    subject.reopen().await;
    let store = subject.store();
    for second in [0, 100, 200] {
        let leased = lease_one(&store, "f", at(second)).await;
        assert!(matches!(leased.input, StoredInput::Request(kept) if kept == request()));
    }
    assert!(
        store.events(&EventQuery { limit: 9, ..EventQuery::default() }).await.expect("events").is_empty()
    );
}

/// Concurrent appends neither get lost nor share positions, and of equal ones exactly one counts.
pub async fn many_appends_at_once_all_count(subject: &mut dyn Subject) {
    let store = subject.store();
    let tasks = (0..64_u64).map(|n| {
        let store = store.clone();
        async move {
            store.append(vec![append(&format!("e{}", n / 2), n, "f")], START).await.expect("append").remove(0)
        }
    });
    let answers = all_at_once(tasks).await;
    assert_eq!(answers.iter().filter(|one| one.duplicate).count(), 32);
    let mut positions: Vec<u64> = answers.iter().filter(|one| !one.duplicate).map(|one| one.seq).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), 32);
    assert_eq!(lease_all(&store, "f", START).await.len(), 32);
}

fn numbered(n: u64) -> Append {
    append(&format!("e{n}"), n, "f")
}
