//! Ending attempts.

use super::Subject;
use super::samples::*;
use crate::record::{RunRecord, RunState};
use crate::store::{
    EventQuery, Expect, Lease, RunQuery, SettleError, Settlement, Store, StoreError, Verdict,
};

/// Nobody gets it again, and it cannot be settled again; not after a restart either.
pub async fn completion_is_final(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    store.settle(complete(&leased.lease), at(1)).await.expect("settle");
    drop(store);
    for _ in 0..2 {
        let store = subject.store();
        assert!(lease_all(&store, "f", at(1_000)).await.is_empty());
        assert!(store.due().await.expect("due").is_empty());
        let again = store.settle(complete(&leased.lease), at(2)).await;
        assert!(matches!(again, Err(SettleError::StaleLease { .. })));
        assert_eq!(only_run(&*store).await.state, RunState::Completed);
        drop(store);
        subject.reopen().await;
    }
}

/// Nor do its effects happen.
pub async fn an_older_token_settles_nothing(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let first = lease_one(&store, "f", START).await;
    let second = lease_one(&store, "f", at(60)).await;
    for lease in [
        first.lease,
        Lease { run: run_id(1), token: second.lease.token + 1 },
        Lease { run: run_id(7), token: 1 },
    ] {
        let mut with_effects = complete(&lease);
        with_effects.writes = vec![put("k", "1", Expect::Anything)];
        with_effects.appends = vec![append("emitted", 2, "g")];
        let refused = store.settle(with_effects, at(61)).await;
        assert!(matches!(refused, Err(SettleError::StaleLease { .. })), "{lease:?}");
    }
    assert_eq!(store.get(&space(), "k", at(61)).await.expect("get"), None);
    assert!(lease_all(&store, "g", at(61)).await.is_empty());
    store.settle(complete(&second.lease), at(61)).await.expect("the holder still can");
}

/// State and emitted events are there when the settlement is.
pub async fn effects_come_with_completion(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    let mut settlement = complete(&leased.lease);
    settlement.writes = vec![put("x", "1", Expect::Absent), put("y", "2", Expect::Anything)];
    settlement.appends = vec![append("b", 2, "g"), append("c", 3, "g")];
    let settled = store.settle(settlement, at(1)).await.expect("settle");
    assert_eq!(
        settled.appended.iter().flat_map(|one| one.runs.clone()).collect::<Vec<_>>(),
        [run_id(2), run_id(3)]
    );
    let y = store.get(&space(), "y", at(1)).await.expect("get").expect("it was written");
    assert_eq!((y.revision, &y.value), (settled.revisions[1], &json("2")));
    assert!(settled.revisions[0] < settled.revisions[1]);
    assert_eq!(lease_all(&store, "g", at(1)).await.len(), 2);
}

/// A failed expectation keeps the verdict, the other writes and the events from happening; the lease stays.
pub async fn a_conflict_leaves_nothing_behind(subject: &mut dyn Subject) {
    let store = subject.store();
    let revision = store.write(vec![put("k", "0", Expect::Anything)], START).await.expect("write")[0];
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    let mut settlement = complete(&leased.lease);
    settlement.writes =
        vec![put("other", "1", Expect::Anything), put("k", "1", Expect::Revision(revision + 1))];
    settlement.appends = vec![append("b", 2, "g")];
    match store.settle(settlement.clone(), at(1)).await {
        Err(SettleError::Conflict { space: place, key, expected, found }) => {
            assert_eq!((place, key.as_str()), (space(), "k"));
            assert_eq!((expected, found), (Expect::Revision(revision + 1), Some(revision)));
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(store.get(&space(), "other", at(1)).await.expect("get"), None);
    assert!(lease_all(&store, "g", at(1)).await.is_empty());
    assert_eq!(only_run(&*store).await.state, RunState::Running);
    settlement.writes[1].expect = Expect::Revision(revision);
    store.settle(settlement, at(1)).await.expect("settle");
}

/// Those that come at the same moment happen or not on their own account.
pub async fn a_conflict_spares_its_neighbours(subject: &mut dyn Subject) {
    let store = subject.store();
    store.write(vec![put("taken", "0", Expect::Anything)], START).await.expect("write");
    let work = (0..40_u64).map(|n| {
        let store = store.clone();
        let key = if n % 4 == 0 { "taken".to_owned() } else { format!("k{n}") };
        async move {
            let writes =
                vec![put(&format!("side{n}"), "1", Expect::Anything), put(&key, "1", Expect::Absent)];
            (n, store.write(writes, START).await.is_ok())
        }
    });
    for (n, done) in all_at_once(work).await {
        assert_eq!(done, n % 4 != 0, "write {n}");
        let side = store.get(&space(), &format!("side{n}"), START).await.expect("get");
        assert_eq!(side.is_some(), done, "the first write of batch {n}");
    }
}

/// Not before its time, and the attempt counts.
pub async fn a_deferred_invocation_waits(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let first = lease_one(&store, "f", START).await;
    let mut record = first.run.clone();
    record.push_attempt(failed(1));
    let mut deferred = settlement(&first.lease, Verdict::Defer { until: at(20) });
    deferred.run = Some(record);
    store.settle(deferred, at(1)).await.expect("settle");
    assert!(lease_all(&store, "f", at(19)).await.is_empty());
    assert!(matches!(
        store.settle(complete(&first.lease), at(19)).await,
        Err(SettleError::StaleLease { .. })
    ));
    let second = lease_one(&store, "f", at(20)).await;
    assert_eq!((second.attempt, second.run.attempts), (2, vec![failed(1)]));
    assert!(second.lease.token > first.lease.token);
}

/// It is as if it had not been leased, but for the token.
pub async fn a_released_attempt_does_not_count(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let first = lease_one(&store, "f", START).await;
    store.settle(settlement(&first.lease, Verdict::Release), at(1)).await.expect("settle");
    assert!(matches!(store.settle(complete(&first.lease), at(1)).await, Err(SettleError::StaleLease { .. })));
    let second = lease_one(&store, "f", at(1)).await;
    assert_eq!((second.attempt, second.run.attempts.len()), (1, 0));
    assert!(second.lease.token > first.lease.token);
}

/// The record, the writes and the events of a call that was never queued.
pub async fn a_synchronous_settlement_needs_no_lease(subject: &mut dyn Subject) {
    let store = subject.store();
    let settlement = Settlement {
        lease: None,
        verdict: Verdict::Complete,
        run: Some(ended(1, "f", RunState::Completed)),
        writes: vec![put("k", "1", Expect::Absent)],
        appends: vec![append("a", 2, "g")],
        others: Vec::new(),
    };
    store.settle(settlement.clone(), START).await.expect("settle");
    let conflict =
        store.settle(Settlement { run: Some(ended(3, "f", RunState::Completed)), ..settlement }, at(1)).await;
    assert!(matches!(conflict, Err(SettleError::Conflict { found: Some(_), .. })));
    let runs = store.runs(&RunQuery { function: Some(function("f")), limit: 9, ..RunQuery::default() }).await;
    assert_eq!(runs.expect("runs"), [ended(1, "f", RunState::Completed)]);
    assert_eq!(lease_all(&store, "g", at(1)).await.len(), 1);
}

/// An attempt that runs twice emits an event of the same id once.
pub async fn an_emitted_duplicate_is_recognised(subject: &mut dyn Subject) {
    let store = subject.store();
    store
        .append(vec![append("a", 1, "f"), append("b", 2, "f"), append("known", 3, "g")], START)
        .await
        .expect("append");
    for leased in lease_all(&store, "f", START).await {
        let mut settlement = complete(&leased.lease);
        settlement.appends = vec![append("known", 9, "g")];
        let settled = store.settle(settlement, at(1)).await.expect("settle");
        assert!(settled.appended[0].duplicate);
        assert_eq!(settled.appended[0].runs, [run_id(3)]);
    }
    assert_eq!(lease_all(&store, "g", at(1)).await.len(), 1);
    assert_eq!(
        store.events(&EventQuery { limit: 9, ..EventQuery::default() }).await.expect("events").len(),
        3
    );
}

/// Whatever the record given with it says.
pub async fn the_record_follows_the_verdict(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let steps = [
        (Verdict::Defer { until: at(5) }, RunState::Queued, Some(at(5)), None),
        (Verdict::Release, RunState::Queued, Some(at(100)), None),
        (Verdict::DeadLetter { reason: "no".to_owned() }, RunState::DeadLettered, None, Some(at(100))),
        (Verdict::Complete, RunState::Completed, None, Some(at(100))),
    ];
    for (verdict, state, due_at, ended_at) in steps {
        for with_record in [true, false] {
            store.redrive(&app(), &[run_id(1)], at(100)).await.expect("redrive");
            let Some(leased) = lease_all(&store, "f", at(100)).await.pop() else { continue };
            let mut settlement = settlement(&leased.lease, verdict.clone());
            settlement.run = with_record.then(|| leased.run.clone());
            store.settle(settlement, at(100)).await.expect("settle");
            let run = only_run(&*store).await;
            assert_eq!(
                (run.state, run.due_at, run.ended_at),
                (state, due_at, ended_at),
                "{verdict:?} {with_record}"
            );
        }
    }
}

/// All of it is durable.
pub async fn effects_survive_a_restart(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    let mut settlement = complete(&leased.lease);
    settlement.writes = vec![put("k", "1", Expect::Absent)];
    settlement.appends = vec![append("b", 2, "g")];
    store.settle(settlement, at(1)).await.expect("settle");
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    assert_eq!(store.get(&space(), "k", at(1)).await.expect("get").expect("written").value, json("1"));
    assert_eq!(lease_all(&store, "g", at(1)).await.len(), 1);
    assert!(lease_all(&store, "f", at(1_000)).await.is_empty());
}

/// The event that tells of a dead letter is there with it.
pub async fn a_dead_letter_is_settled_with_what_tells_of_it(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    let given_up = Settlement {
        appends: vec![append("b", 2, "g")],
        ..settlement(&leased.lease, Verdict::DeadLetter { reason: "no".to_owned() })
    };
    store.settle(given_up, at(1)).await.expect("settle");
    drop(store);
    subject.reopen().await;
    let store = subject.store();
    assert_eq!(only_run(&*store).await.state, RunState::DeadLettered);
    assert_eq!(lease_all(&store, "g", at(1)).await.len(), 1);
    assert!(lease_all(&store, "f", at(1_000)).await.is_empty());
}

/// Effects without completion, no lease without completion, the record of another run.
pub async fn malformed_settlements_are_refused(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    let with_writes = Settlement {
        writes: vec![put("k", "1", Expect::Anything)],
        ..settlement(&leased.lease, Verdict::Release)
    };
    let without_lease = Settlement { lease: None, ..settlement(&leased.lease, Verdict::Release) };
    let anothers_record = Settlement { run: Some(run(2, "f")), ..complete(&leased.lease) };
    for malformed in [with_writes, without_lease, anothers_record] {
        let refused = store.settle(malformed, at(1)).await;
        assert!(matches!(refused, Err(SettleError::Store(StoreError::Invalid(_)))), "{refused:?}");
    }
    store.settle(complete(&leased.lease), at(1)).await.expect("settle");
}

async fn only_run(store: &dyn Store) -> RunRecord {
    let mut runs =
        store.runs(&RunQuery { id: Some(run_id(1)), limit: 2, ..RunQuery::default() }).await.expect("runs");
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}
