//! Invocations that were given up.

use super::Subject;
use super::samples::*;
use crate::id::RunId;
use crate::outcome::{FailureCode, Outcome};
use crate::record::RunState;
use crate::store::{
    Append, DeadLetter, DeadLetterQuery, NewInvocation, RunQuery, SettleError, Store, StoredInput, Verdict,
};

/// With its reason, its record and what it was given.
pub async fn a_dead_letter_is_listed_once_with_its_input(subject: &mut dyn Subject) {
    let store = subject.store();
    let call = NewInvocation { request: Some(request()), ..delivery(2, "f") };
    let call =
        Append { app: app(), dedup: None, event: None, invocations: vec![call], version: None, again: None };
    store.append(vec![append("a", 1, "f"), call], START).await.expect("append");
    for leased in lease_all(&store, "f", START).await {
        let mut settlement = settlement(&leased.lease, Verdict::DeadLetter { reason: "gave up".to_owned() });
        let mut record = leased.run.clone();
        record.push_attempt(failed(1));
        settlement.run = Some(record);
        store.settle(settlement.clone(), at(1)).await.expect("settle");
        let again = store.settle(settlement, at(2)).await;
        assert!(matches!(again, Err(SettleError::StaleLease { .. })));
    }
    let dead = list(&*store, DeadLetterQuery::default()).await;
    assert_eq!(dead.len(), 2);
    assert!(matches!(&dead[0].input, StoredInput::Request(kept) if *kept == request()));
    assert!(matches!(&dead[1].input, StoredInput::Event(kept) if *kept == event("a")));
    for letter in dead {
        assert_eq!((letter.reason.as_str(), letter.at), ("gave up", at(1)));
        assert_eq!((letter.run.state, letter.run.ended_at), (RunState::DeadLettered, Some(at(1))));
        assert_eq!(letter.run.attempts, [failed(1)]);
    }
}

/// Nor is it due.
pub async fn a_dead_letter_is_not_leased(subject: &mut dyn Subject) {
    let store = subject.store();
    bury(&*store, 1).await;
    assert!(lease_all(&store, "f", at(10_000)).await.is_empty());
    assert!(store.due().await.expect("due").is_empty());
}

/// At attempt 1, under the same run id, with a token above all before; what was tried stays in the record.
pub async fn redriving_starts_afresh(subject: &mut dyn Subject) {
    let store = subject.store();
    bury(&*store, 1).await;
    assert_eq!(store.redrive(&app(), &[run_id(1)], at(50)).await.expect("redrive"), [run_id(1)]);
    assert!(list(&*store, DeadLetterQuery::default()).await.is_empty());
    assert!(
        store.redrive(&app(), &[run_id(1)], at(50)).await.expect("redrive").is_empty(),
        "it is queued now"
    );
    assert!(lease_all(&store, "f", at(49)).await.is_empty());
    let leased = lease_one(&store, "f", at(50)).await;
    assert_eq!((leased.attempt, leased.run.state, leased.run.ended_at), (1, RunState::Running, None));
    assert_eq!(leased.run.attempts, [failed(1)]);
    assert!(matches!(leased.input, StoredInput::Event(kept) if kept == event("e1")));
    store
        .settle(settlement(&leased.lease, Verdict::DeadLetter { reason: "again".to_owned() }), at(51))
        .await
        .expect("ok");
    let dead = list(&*store, DeadLetterQuery::default()).await;
    assert_eq!(dead.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(), ["again"]);
}

/// Its record stays and says so, its input goes, and nothing brings it back.
pub async fn a_purged_one_is_gone_and_its_run_says_so(subject: &mut dyn Subject) {
    let store = subject.store();
    bury(&*store, 1).await;
    bury(&*store, 2).await;
    assert!(store.purge(&app_named("other"), &[run_id(1)], at(9)).await.expect("purge").is_empty());
    assert_eq!(store.purge(&app(), &[run_id(1), run_id(7)], at(9)).await.expect("purge"), [run_id(1)]);
    assert!(store.purge(&app(), &[run_id(1)], at(9)).await.expect("purge").is_empty());
    assert!(store.redrive(&app(), &[run_id(1)], at(9)).await.expect("redrive").is_empty());
    let left = list(&*store, DeadLetterQuery::default()).await;
    assert_eq!(left.iter().map(|letter| letter.run.id.clone()).collect::<Vec<_>>(), [run_id(2)]);
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    let query = RunQuery { id: Some(run_id(1)), limit: 1, ..RunQuery::default() };
    let found = store.runs(&query).await.expect("runs");
    assert_eq!((found[0].state, found[0].ended_at), (RunState::Failed, Some(at(9))));
    let last = found[0].attempts.last().expect("it says why");
    assert!(matches!(&last.outcome, Outcome::Rejected(failure) if failure.code == FailureCode::Purged));
}

/// One app cannot redrive another's; unknown and live runs are passed over.
pub async fn redriving_asks_for_the_right_app(subject: &mut dyn Subject) {
    let store = subject.store();
    bury(&*store, 1).await;
    bury(&*store, 2).await;
    store.append(vec![append("live", 3, "g")], START).await.expect("append");
    assert!(store.redrive(&app_named("other"), &[run_id(1)], at(9)).await.expect("redrive").is_empty());
    let asked = [run_id(9), run_id(2), run_id(3), run_id(1), run_id(2)];
    assert_eq!(store.redrive(&app(), &asked, at(9)).await.expect("redrive"), [run_id(2), run_id(1)]);
    assert_eq!(lease_all(&store, "f", at(9)).await.len(), 2);
}

/// By run id, with each filter.
pub async fn dead_letters_are_paged_newest_first(subject: &mut dyn Subject) {
    let store = subject.store();
    for n in 1..=5 {
        bury(&*store, n).await;
    }
    let ids = |dead: Vec<DeadLetter>| dead.into_iter().map(|one| one.run.id).collect::<Vec<RunId>>();
    let page = DeadLetterQuery { limit: 2, ..DeadLetterQuery::default() };
    assert_eq!(ids(store.dead_letters(&page).await.expect("page")), [run_id(5), run_id(4)]);
    let next = DeadLetterQuery { before: Some(run_id(4)), ..page };
    assert_eq!(ids(store.dead_letters(&next).await.expect("page")), [run_id(3), run_id(2)]);
    let one = DeadLetterQuery { run: Some(run_id(3)), ..DeadLetterQuery::default() };
    assert_eq!(ids(list(&*store, one).await), [run_id(3)]);
    let of = |app, name| DeadLetterQuery {
        app: Some(app),
        function: Some(function(name)),
        ..DeadLetterQuery::default()
    };
    assert_eq!(list(&*store, of(app(), "f")).await.len(), 5);
    assert!(list(&*store, of(app(), "g")).await.is_empty());
    assert!(list(&*store, of(app_named("other"), "f")).await.is_empty());
}

/// They wait as long as it takes.
pub async fn dead_letters_survive_a_restart(subject: &mut dyn Subject) {
    bury(&*subject.store(), 1).await;
    subject.reopen().await;
    let store = subject.store();
    let dead = list(&*store, DeadLetterQuery::default()).await;
    assert_eq!(dead.iter().map(|one| one.run.id.clone()).collect::<Vec<_>>(), [run_id(1)]);
    assert_eq!(store.redrive(&app(), &[run_id(1)], at(9)).await.expect("redrive"), [run_id(1)]);
    assert_eq!(lease_one(&store, "f", at(9)).await.attempt, 1);
}

async fn list(store: &dyn Store, query: DeadLetterQuery) -> Vec<DeadLetter> {
    store.dead_letters(&DeadLetterQuery { limit: 100, ..query }).await.expect("dead letters")
}

/// Makes a dead letter of function `f` after one failed attempt.
async fn bury(store: &dyn Store, n: u64) {
    store.append(vec![append(&format!("e{n}"), n, "f")], START).await.expect("append");
    let leased = store.lease(&queue("f"), 1, START, HOLD).await.expect("lease").remove(0);
    let mut settlement = settlement(&leased.lease, Verdict::DeadLetter { reason: "gave up".to_owned() });
    let mut record = leased.run;
    record.push_attempt(failed(1));
    settlement.run = Some(record);
    store.settle(settlement, START).await.expect("settle");
}
