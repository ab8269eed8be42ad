//! Ending invocations before their time.

use super::Subject;
use super::samples::*;
use crate::event::Event;
use crate::id::{RunId, SubscriptionName};
use crate::outcome::{Ender, FailureCode, Outcome};
use crate::record::{RunRecord, RunState};
use crate::store::{
    Append, Cancellation, DeadLetterQuery, Dedup, EventQuery, NewInvocation, Queue, RunQuery, SettleError,
    Store, Verdict,
};

fn of(n: u64) -> Cancellation {
    Cancellation {
        app: app(),
        run: run_id(n),
        reason: "cancelled: it was wrong".to_owned(),
        appends: Vec::new(),
    }
}

async fn cancel(store: &dyn Store, n: u64, seconds: u64) -> bool {
    store.cancel(of(n), at(seconds)).await.expect("cancel").is_some()
}

async fn found(store: &dyn Store, run: RunId) -> RunRecord {
    let query = RunQuery { id: Some(run), limit: 1, ..RunQuery::default() };
    store.runs(&query).await.expect("runs").remove(0)
}

/// Its record says so, its input goes, also after a restart; those beside it are not touched.
pub async fn what_waits_never_starts(subject: &mut dyn Subject) {
    let store = subject.store();
    let call = NewInvocation { request: Some(request()), ..delivery(1, "f") };
    let call =
        Append { app: app(), dedup: None, event: None, invocations: vec![call], version: None, again: None };
    store.append(vec![call, append("e2", 2, "f")], START).await.expect("append");
    assert!(cancel(&*store, 1, 5).await);
    assert!(!cancel(&*store, 1, 6).await, "once");
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    assert!(!cancel(&*store, 1, 7).await);
    let left: Vec<RunId> = lease_all(&store, "f", at(9)).await.into_iter().map(|one| one.lease.run).collect();
    assert_eq!(left, [run_id(2)]);
    let run = found(&*store, run_id(1)).await;
    assert_eq!((run.state, run.ended_at, run.due_at), (RunState::Failed, Some(at(5)), None));
    let last = run.attempts.last().expect("it says why");
    assert!(
        matches!(&last.outcome, Outcome::Rejected(failure) if failure.code == FailureCode::CancelledByOperator
            && failure.message == "cancelled: it was wrong")
    );
    assert_eq!(last.outcome.ended_by(), Some(Ender::Operator));
}

/// What was deferred is not tried again; the attempts it had stay in its record.
pub async fn what_waits_to_be_tried_again_is_not(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("e1", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    let mut deferred = settlement(&leased.lease, Verdict::Defer { until: at(60) });
    let mut record = leased.run;
    record.push_attempt(failed(1));
    deferred.run = Some(record);
    store.settle(deferred, START).await.expect("settle");
    assert!(cancel(&*store, 1, 5).await);
    assert!(lease_all(&store, "f", at(100)).await.is_empty());
    assert!(store.due().await.expect("due").is_empty());
    let run = found(&*store, run_id(1)).await;
    assert_eq!(run.attempts[0], failed(1));
    assert!(matches!(&run.attempts[1].outcome, Outcome::Rejected(_)));
}

/// Of a cancellation and a settlement the first happens, and the other does nothing.
pub async fn a_cancellation_and_a_settlement_exclude_each_other(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("e1", 1, "f"), append("e2", 2, "f")], START).await.expect("append");
    let leased = lease_all(&store, "f", START).await;
    assert!(cancel(&*store, 1, 5).await);
    let mut late = complete(&leased[0].lease);
    late.writes = vec![put("k", "1", crate::store::Expect::Anything)];
    late.appends = vec![append("e3", 3, "g")];
    let settled = store.settle(late, at(6)).await;
    assert!(matches!(settled, Err(SettleError::StaleLease { run }) if run == run_id(1)));
    assert!(!store.extend(&leased[0].lease, at(90)).await.expect("extend"));
    assert!(store.get(&space(), "k", at(6)).await.expect("get").is_none());
    assert!(lease_all(&store, "g", at(6)).await.is_empty());
    let run = found(&*store, run_id(1)).await;
    let last = run.attempts.last().expect("it was being made");
    assert_eq!((last.number, last.started_at, last.ended_at), (1, START, at(5)));
    assert_eq!(last.ran_us, 5_000_000);
    assert!(
        matches!(&last.outcome, Outcome::Failed(failure) if failure.code == FailureCode::CancelledByOperator)
    );
    store.settle(complete(&leased[1].lease), at(6)).await.expect("settle");
    assert!(!cancel(&*store, 2, 7).await);
    assert_eq!(found(&*store, run_id(2)).await.state, RunState::Completed);
}

/// What tells of it is appended if it happens, and not otherwise.
pub async fn what_tells_of_it_comes_with_it(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("e1", 1, "f")], START).await.expect("append");
    let tell = |id: &str, n| {
        let event = Event::new(id, "/shop", "cancelled");
        let dedup = Some(Dedup { scope: "/shop".to_owned(), id: id.to_owned() });
        let invocations = vec![delivery(n, "told")];
        Append { app: app(), dedup, event: Some(event), invocations, version: None, again: None }
    };
    let told =
        store.cancel(Cancellation { appends: vec![tell("c1", 8)], ..of(1) }, at(5)).await.expect("cancel");
    assert_eq!(told.expect("it was queued")[0].runs, [run_id(8)]);
    let told =
        store.cancel(Cancellation { appends: vec![tell("c2", 9)], ..of(1) }, at(6)).await.expect("cancel");
    assert_eq!(told, None);
    assert_eq!(lease_all(&store, "told", at(9)).await.len(), 1);
    let query = EventQuery { id: Some("c2".to_owned()), limit: 1, ..EventQuery::default() };
    assert!(store.events(&query).await.expect("events").is_empty());
}

/// Neither another app's, nor what has ended, nor a dead letter, which is let go by other means.
pub async fn only_what_is_pending_can_be(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("e1", 1, "f"), append("e2", 2, "f")], START).await.expect("append");
    let foreign = Cancellation { app: app_named("other"), ..of(1) };
    assert_eq!(store.cancel(foreign, at(1)).await.expect("cancel"), None);
    assert!(!cancel(&*store, 77, 1).await);
    let leased = lease_one(&store, "f", START).await;
    let dead = settlement(&leased.lease, Verdict::DeadLetter { reason: "no".to_owned() });
    store.settle(dead, at(1)).await.expect("settle");
    assert!(!cancel(&*store, 1, 2).await);
    let query = DeadLetterQuery { limit: 9, ..DeadLetterQuery::default() };
    assert_eq!(store.dead_letters(&query).await.expect("dead letters").len(), 1);
    assert_eq!(lease_all(&store, "f", at(2)).await.len(), 1, "the other is there");
}

/// Those behind one of the same key get their turn, and the one before is not hurried.
pub async fn the_next_of_its_key_goes(subject: &mut dyn Subject) {
    let store = subject.store();
    let queue = Queue { subscription: Some(SubscriptionName::from_text("s")), ..queue("f") };
    for n in 1..=4 {
        let mut new = delivery(n, "f");
        new.run.subscription.clone_from(&queue.subscription);
        new.run.key = Some("a".to_owned());
        store.append(vec![append_to(&format!("e{n}"), vec![new])], START).await.expect("append");
    }
    assert!(cancel(&*store, 2, 1).await, "one in the middle");
    let first = store.lease(&queue, 9, at(1), HOLD).await.expect("lease");
    assert_eq!(first.iter().map(|one| one.lease.run.clone()).collect::<Vec<_>>(), [run_id(1)]);
    assert!(cancel(&*store, 1, 2).await, "one that is held");
    let next = store.lease(&queue, 9, at(2), HOLD).await.expect("lease");
    assert_eq!(next.iter().map(|one| one.lease.run.clone()).collect::<Vec<_>>(), [run_id(3)]);
}
