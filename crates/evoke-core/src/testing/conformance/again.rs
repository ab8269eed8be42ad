//! Events of the log that are delivered again.

use super::Subject;
use super::samples::*;
use crate::store::{
    Append, Dedup, EventQuery, Expect, Retention, SettleError, Settlement, Store, StoreError, StoredEvent,
    StoredInput, Verdict,
};

/// It is not stored a second time; its invocation gets the event, and it knows the run.
pub async fn an_event_is_delivered_again_from_the_log(subject: &mut dyn Subject) {
    let seq = only_event(subject, 1).await;
    let store = subject.store();
    let again = Append::again(app(), seq, vec![delivery(2, "g"), delivery(3, "h")]);
    let answer = store.append(vec![again], at(10)).await.expect("append").remove(0);
    assert_eq!((answer.seq, answer.duplicate), (seq, false));
    assert_eq!(answer.runs, [run_id(2), run_id(3)]);
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    let stored = events(&*store).await;
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0].runs[..], stored[0].accepted_at), (&[run_id(1)][..], START));
    assert_eq!(stored[0].again, [run_id(2), run_id(3)]);
    let leased = lease_one(&store, "g", at(10)).await;
    assert!(matches!(leased.input, StoredInput::Event(got) if got == event("e1")));
}

/// A duplicate of the event is still answered with what it caused at first.
pub async fn a_duplicate_is_answered_with_the_first_runs_only(subject: &mut dyn Subject) {
    let seq = only_event(subject, 1).await;
    let store = subject.store();
    store.append(vec![Append::again(app(), seq, vec![delivery(2, "g")])], START).await.expect("append");
    let twice = store.append(vec![append("e1", 9, "f")], START).await.expect("append").remove(0);
    assert!(twice.duplicate);
    assert_eq!(twice.runs, [run_id(1)]);
}

/// The same run twice is the same delivery, as with any append.
pub async fn repeating_it_changes_nothing(subject: &mut dyn Subject) {
    let seq = only_event(subject, 1).await;
    let store = subject.store();
    let again = || vec![Append::again(app(), seq, vec![delivery(2, "g")])];
    store.append(again(), START).await.expect("append");
    assert!(store.append(again(), START).await.expect("append")[0].duplicate);
    assert_eq!(events(&*store).await[0].again, [run_id(2)]);
    assert_eq!(lease_all(&store, "g", START).await.len(), 1);
}

/// An event that is gone is not an error: whoever reads the log and delivers from it may be late.
pub async fn one_that_is_gone_is_passed_over(subject: &mut dyn Subject) {
    let store = subject.store();
    let items = vec![Append::again(app(), 4_000, vec![delivery(2, "g")]), append("e1", 1, "f")];
    let answers = store.append(items, START).await.expect("append");
    assert_eq!((answers[0].seq, answers[0].duplicate, answers[0].runs.len()), (4_000, false, 0));
    assert!(!answers[1].duplicate);
    assert!(lease_all(&store, "g", START).await.is_empty());
}

/// It is kept until that is done as well, and then goes.
pub async fn the_event_stays_for_its_sake(subject: &mut dyn Subject) {
    let seq = only_event(subject, 1).await;
    let store = subject.store();
    let first = lease_one(&store, "f", START).await;
    store.settle(complete(&first.lease), START).await.expect("settle");
    store.append(vec![Append::again(app(), seq, vec![delivery(2, "g")])], START).await.expect("append");
    let keep = Retention::default();
    let late = START.after(2 * keep.events);
    while store.sweep(&keep, late).await.expect("sweep") > 0 {}
    assert_eq!(events(&*store).await.len(), 1);
    let leased = lease_one(&store, "g", late).await;
    let reason = "gave up".to_owned();
    store.settle(settlement(&leased.lease, Verdict::DeadLetter { reason }), late).await.expect("settle");
    while store.sweep(&keep, late).await.expect("sweep") > 0 {}
    assert_eq!(events(&*store).await.len(), 1, "a dead letter has it for its input");
    store.redrive(&app(), &[run_id(2)], late).await.expect("redrive");
    let leased = lease_one(&store, "g", late).await;
    store.settle(complete(&leased.lease), late).await.expect("settle");
    while store.sweep(&keep, late).await.expect("sweep") > 0 {}
    assert!(events(&*store).await.is_empty());
}

/// With a note of how far one came, in one transaction: all of it, or nothing when somebody else wrote the note.
pub async fn a_step_with_its_note_happens_once(subject: &mut dyn Subject) {
    let seq = only_event(subject, 1).await;
    let store = subject.store();
    let step = |n| Settlement {
        lease: None,
        verdict: Verdict::Complete,
        run: None,
        others: Vec::new(),
        writes: vec![put("note", "1", Expect::Absent)],
        appends: vec![Append::again(app(), seq, vec![delivery(n, "g")])],
    };
    store.settle(step(2), START).await.expect("settle");
    let second = store.settle(step(3), START).await;
    assert!(matches!(second, Err(SettleError::Conflict { .. })), "{second:?}");
    assert_eq!(events(&*store).await[0].again, [run_id(2)]);
    assert_eq!(lease_all(&store, "g", START).await.len(), 1);
}

/// It brings no event and no name of its own.
pub async fn what_it_may_not_bring_is_refused(subject: &mut dyn Subject) {
    let seq = only_event(subject, 1).await;
    let store = subject.store();
    let again = Append::again(app(), seq, Vec::new());
    let named = Some(Dedup { scope: "s".to_owned(), id: "i".to_owned() });
    for wrong in [
        Append { event: Some(event("x")), ..again.clone() },
        Append { dedup: named, ..again.clone() },
        Append { version: Some(1), ..again },
    ] {
        let answer = store.append(vec![wrong], START).await;
        assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
    }
}

/// From a position on the oldest come first, with pages.
pub async fn the_log_is_read_forwards(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut items: Vec<Append> = (1..=4).map(|n| append(&format!("e{n}"), n, "f")).collect();
    items.push(Append { app: app_named("other"), ..append("e5", 5, "f") });
    let other = crate::event::Event::new("e6", "/s", "signed_up");
    items.push(Append { event: Some(other), ..append("e6", 6, "f") });
    let seqs: Vec<u64> =
        store.append(items, START).await.expect("append").iter().map(|one| one.seq).collect();
    let from = |n: usize| EventQuery { after: Some(seqs[n]), limit: 10, ..EventQuery::default() };
    for (query, expected) in [
        (EventQuery { after: Some(0), ..from(0) }, vec![0, 1, 2, 3, 4, 5]),
        (from(0), vec![1, 2, 3, 4, 5]),
        (EventQuery { limit: 2, ..from(0) }, vec![1, 2]),
        (EventQuery { before: Some(seqs[4]), ..from(1) }, vec![2, 3]),
        (EventQuery { app: Some(app()), ..from(2) }, vec![3, 5]),
        (EventQuery { ty: Some("signed_up".to_owned()), ..from(0) }, vec![5]),
        (from(5), vec![]),
    ] {
        let found: Vec<u64> = store.events(&query).await.expect("events").iter().map(|one| one.seq).collect();
        assert_eq!(found, expected.into_iter().map(|n: usize| seqs[n]).collect::<Vec<_>>(), "{query:?}");
    }
}

/// The position of one event that caused a delivery to `f`.
async fn only_event(subject: &mut dyn Subject, n: u64) -> u64 {
    let store = subject.store();
    store.append(vec![append(&format!("e{n}"), n, "f")], START).await.expect("append")[0].seq
}

async fn events(store: &dyn Store) -> Vec<StoredEvent> {
    store.events(&EventQuery { limit: 10, ..EventQuery::default() }).await.expect("events")
}
