//! Leases.

use std::collections::HashSet;
use std::time::Duration;

use super::Subject;
use super::samples::*;
use crate::outcome::Outcome;
use crate::record::RunState;
use crate::store::{NewInvocation, Queue, QueueDue, SettleError};
use crate::time::Timestamp;

/// Not a microsecond early.
pub async fn nothing_is_leased_before_it_is_due(subject: &mut dyn Subject) {
    let store = subject.store();
    let item = append_to("a", vec![NewInvocation { due_at: at(10), ..delivery(1, "f") }]);
    store.append(vec![item], START).await.expect("append");
    assert!(lease_all(&store, "f", Timestamp(at(10).0 - 1)).await.is_empty());
    assert_eq!(lease_all(&store, "f", at(10)).await.len(), 1);
}

/// In order of the time at which they became available; no more than asked for.
pub async fn the_longest_available_come_first(subject: &mut dyn Subject) {
    let store = subject.store();
    let due = |n: u64, second| NewInvocation { due_at: at(second), ..delivery(n, "f") };
    store
        .append(vec![append_to("a", vec![due(1, 30), due(2, 10), due(3, 20), due(4, 99)])], START)
        .await
        .expect("ok");
    let mut order = Vec::new();
    for _ in 0..3 {
        let leased = store.lease(&queue("f"), 1, at(50), HOLD).await.expect("lease");
        assert_eq!(leased.len(), 1);
        order.push(leased[0].lease.run.clone());
    }
    assert_eq!(order, [run_id(2), run_id(3), run_id(1)]);
    assert!(lease_all(&store, "f", at(50)).await.is_empty());
}

/// A queue is an app and a function.
pub async fn queues_are_apart(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f"), append("b", 2, "g")], START).await.expect("append");
    let other = Queue::calls(app_named("other"), function("f"));
    assert!(store.lease(&other, 10, START, HOLD).await.expect("lease").is_empty());
    let leased = lease_all(&store, "g", START).await;
    assert_eq!(leased.iter().map(|one| one.lease.run.clone()).collect::<Vec<_>>(), [run_id(2)]);
}

/// Until it ends, nobody else gets it.
pub async fn a_held_lease_is_not_given_again(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    assert_eq!((leased.attempt, leased.run.state), (1, RunState::Running));
    assert!(lease_all(&store, "f", Timestamp(START.after(HOLD).0 - 1)).await.is_empty());
}

/// When it ends, the next one gets it with a greater token, and the attempt before is recorded as lost.
pub async fn a_lease_that_ran_out_is_handed_on(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let first = lease_one(&store, "f", START).await;
    let second = lease_one(&store, "f", START.after(HOLD)).await;
    assert!(second.lease.token > first.lease.token);
    assert_eq!(second.attempt, 2);
    let lost = &second.run.attempts[0];
    assert_eq!((lost.number, &lost.outcome, lost.started_at), (1, &Outcome::Lost, START));
    let third = lease_one(&store, "f", at(100)).await;
    assert_eq!(third.run.attempts.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2]);
    let stale = store.settle(complete(&first.lease), at(100)).await;
    assert!(matches!(stale, Err(SettleError::StaleLease { run }) if run == run_id(1)));
    store.settle(complete(&third.lease), at(100)).await.expect("the newest token settles");
}

/// An extended lease ends at its new end, and a lease that ran out can still be extended while nobody took it.
pub async fn extending_keeps_a_lease(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let leased = lease_one(&store, "f", START).await;
    assert!(store.extend(&leased.lease, at(100)).await.expect("extend"));
    assert!(lease_all(&store, "f", at(99)).await.is_empty());
    assert_eq!(store.due().await.expect("due"), [QueueDue { queue: queue("f"), at: at(100) }]);
    assert!(store.extend(&leased.lease, at(300)).await.expect("extend"));
    assert!(lease_all(&store, "f", at(200)).await.is_empty());
    store.settle(complete(&leased.lease), at(201)).await.expect("settle");
    assert!(!store.extend(&leased.lease, at(400)).await.expect("extend"), "it is settled");
}

/// Whoever lost the lease cannot have it back.
pub async fn an_older_token_cannot_extend(subject: &mut dyn Subject) {
    let store = subject.store();
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let first = lease_one(&store, "f", START).await;
    let second = lease_one(&store, "f", at(40)).await;
    assert!(!store.extend(&first.lease, at(1_000)).await.expect("extend"));
    assert!(store.extend(&second.lease, at(1_000)).await.expect("extend"));
}

/// With its earliest time: a due time, or the end of a lease.
pub async fn due_names_each_queue_once(subject: &mut dyn Subject) {
    let store = subject.store();
    assert!(store.due().await.expect("due").is_empty());
    let due = |n: u64, name: &str, second| NewInvocation { due_at: at(second), ..delivery(n, name) };
    let item = append_to("a", vec![due(1, "f", 20), due(2, "f", 50), due(3, "g", 5)]);
    store.append(vec![item], START).await.expect("append");
    let times = |mut due: Vec<QueueDue>| {
        due.sort_by(|a, b| a.queue.cmp(&b.queue));
        due.into_iter().map(|one| (one.queue.function.to_string(), one.at)).collect::<Vec<_>>()
    };
    let named = |f, g| vec![("f".to_owned(), at(f)), ("g".to_owned(), at(g))];
    assert_eq!(times(store.due().await.expect("due")), named(20, 5));
    let leased = store.lease(&queue("f"), 9, at(20), Duration::from_secs(10)).await.expect("lease").remove(0);
    assert_eq!(times(store.due().await.expect("due")), named(30, 5));
    store.settle(complete(&leased.lease), at(21)).await.expect("settle");
    assert_eq!(times(store.due().await.expect("due")), named(50, 5));
}

/// However many ask at once.
pub async fn concurrent_leases_never_overlap(subject: &mut dyn Subject) {
    let store = subject.store();
    let items = (0..200_u64).map(|n| append(&format!("e{n}"), n, "f")).collect();
    store.append(items, START).await.expect("append");
    let asks = (0..32).map(|_| {
        let store = store.clone();
        async move { store.lease(&queue("f"), 10, START, HOLD).await.expect("lease") }
    });
    let leased: Vec<_> = all_at_once(asks).await.into_iter().flatten().collect();
    let runs: HashSet<_> = leased.iter().map(|one| one.lease.run.clone()).collect();
    let tokens: HashSet<_> = leased.iter().map(|one| one.lease.token).collect();
    assert_eq!((leased.len(), runs.len(), tokens.len()), (200, 200, 200));
}

/// At once or when they would have ended, depending on the back end; the attempt is recorded as lost.
pub async fn leases_of_a_dead_process_end(subject: &mut dyn Subject) {
    subject.store().append(vec![append("a", 1, "f")], START).await.expect("append");
    let first = lease_one(&subject.store(), "f", START).await;
    subject.reopen().await;
    let store = subject.store();
    let second = lease_one(&store, "f", START.after(HOLD)).await;
    assert!(second.lease.token > first.lease.token);
    assert_eq!(second.attempt, 2);
    assert_eq!(second.run.attempts[0].outcome, Outcome::Lost);
    let stale = store.settle(complete(&first.lease), at(60)).await;
    assert!(matches!(stale, Err(SettleError::StaleLease { .. })));
}

/// No queue, or room for none.
pub async fn leasing_nothing_is_nothing(subject: &mut dyn Subject) {
    let store = subject.store();
    assert!(lease_all(&store, "f", at(1_000)).await.is_empty());
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    assert!(store.lease(&queue("f"), 0, at(1), HOLD).await.expect("lease").is_empty());
    assert_eq!(lease_one(&store, "f", at(1)).await.attempt, 1);
}
