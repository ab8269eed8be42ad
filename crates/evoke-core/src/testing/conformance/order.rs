//! Queues of subscriptions, order by key, and batches.

use super::Subject;
use super::samples::*;
use crate::id::{RunId, SubscriptionName};
use crate::record::RunState;
use crate::store::{
    Conclusion, Expect, Lease, Leased, NewInvocation, Queue, SettleError, Settlement, Verdict,
};
use crate::testing::conformance::samples;
use crate::time::Timestamp;

fn name(text: &str) -> SubscriptionName {
    SubscriptionName::from_text(text)
}

fn of(subscription: &str) -> Queue {
    Queue { subscription: Some(name(subscription)), ..queue("f") }
}

/// A delivery of subscription `s` with a key.
fn keyed(n: u64, key: &str) -> NewInvocation {
    let mut new = delivery(n, "f");
    new.run.subscription = Some(name("s"));
    new.run.key = Some(key.to_owned());
    new
}

/// One event after the other, each with one delivery.
async fn accept(subject: &dyn Subject, deliveries: Vec<NewInvocation>) {
    for (at, new) in deliveries.into_iter().enumerate() {
        let item = append_to(&format!("e{at}{}", new.run.id), vec![new]);
        subject.store().append(vec![item], START).await.expect("append");
    }
}

async fn take(subject: &dyn Subject, now: Timestamp) -> Vec<Leased> {
    subject.store().lease(&of("s"), 100, now, HOLD).await.expect("lease")
}

fn runs(leased: &[Leased]) -> Vec<RunId> {
    leased.iter().map(|one| one.lease.run.clone()).collect()
}

async fn settle(subject: &dyn Subject, lease: &Lease, verdict: Verdict) {
    subject.store().settle(samples::settlement(lease, verdict), at(1)).await.expect("settle");
}

fn give_up() -> Verdict {
    Verdict::DeadLetter { reason: "no".to_owned() }
}

/// In the order they were accepted, however many are asked for; those of other keys go at the same time.
pub async fn those_of_a_key_come_one_after_the_other(subject: &mut dyn Subject) {
    let mut loose = delivery(4, "f");
    loose.run.subscription = Some(name("s"));
    accept(subject, vec![keyed(1, "a"), keyed(2, "a"), keyed(3, "b"), loose, keyed(5, "a")]).await;
    let first = take(subject, START).await;
    assert_eq!(runs(&first), [run_id(1), run_id(3), run_id(4)]);
    assert!(take(subject, at(1)).await.is_empty());
    settle(subject, &first[0].lease, Verdict::Complete).await;
    let second = take(subject, at(1)).await;
    assert_eq!(runs(&second), [run_id(2)]);
    settle(subject, &second[0].lease, Verdict::Complete).await;
    assert_eq!(runs(&take(subject, at(1)).await), [run_id(5)]);
}

/// Its successors wait as long as it does.
pub async fn one_that_waits_again_holds_up_its_key_only(subject: &mut dyn Subject) {
    accept(subject, vec![keyed(1, "a"), keyed(2, "a"), keyed(3, "b"), keyed(4, "b")]).await;
    let first = take(subject, START).await;
    settle(subject, &first[0].lease, Verdict::Defer { until: at(100) }).await;
    settle(subject, &first[1].lease, Verdict::Complete).await;
    assert_eq!(runs(&take(subject, at(50)).await), [run_id(4)]);
    assert_eq!(
        runs(&take(subject, at(100)).await),
        [run_id(4), run_id(1)],
        "the lease of 4 ran out meanwhile"
    );
}

/// Giving up is an end too.
pub async fn a_dead_letter_lets_the_next_go(subject: &mut dyn Subject) {
    accept(subject, vec![keyed(1, "a"), keyed(2, "a")]).await;
    let first = take(subject, START).await;
    settle(subject, &first[0].lease, give_up()).await;
    assert_eq!(runs(&take(subject, at(1)).await), [run_id(2)]);
}

/// Not beside another of its key, and before those that were accepted after it.
pub async fn a_redriven_one_takes_its_turn(subject: &mut dyn Subject) {
    accept(subject, vec![keyed(1, "a"), keyed(2, "a"), keyed(3, "a")]).await;
    let first = take(subject, START).await;
    settle(subject, &first[0].lease, give_up()).await;
    let second = take(subject, at(1)).await;
    assert_eq!(subject.store().redrive(&app(), &[run_id(1)], at(1)).await.expect("redrive"), [run_id(1)]);
    assert!(take(subject, at(2)).await.is_empty(), "2 is still being attempted");
    settle(subject, &second[0].lease, Verdict::Complete).await;
    let again = take(subject, at(2)).await;
    assert_eq!((runs(&again), again[0].attempt), (vec![run_id(1)], 1));
    settle(subject, &again[0].lease, Verdict::Complete).await;
    assert_eq!(runs(&take(subject, at(2)).await), [run_id(3)]);
}

/// Who is behind whom is as durable as what waits.
pub async fn the_order_survives_a_restart(subject: &mut dyn Subject) {
    accept(subject, vec![keyed(1, "a"), keyed(2, "a"), keyed(3, "a")]).await;
    let first = take(subject, START).await;
    settle(subject, &first[0].lease, Verdict::Complete).await;
    subject.reopen().await;
    let second = take(subject, at(100)).await;
    assert_eq!(runs(&second), [run_id(2)]);
    settle(subject, &second[0].lease, Verdict::Complete).await;
    assert_eq!(runs(&take(subject, at(100)).await), [run_id(3)]);
}

/// An attempt nobody settled keeps its turn.
pub async fn one_that_was_lost_stays_the_first(subject: &mut dyn Subject) {
    accept(subject, vec![keyed(1, "a"), keyed(2, "a")]).await;
    take(subject, START).await;
    let again = take(subject, START.after(HOLD)).await;
    assert_eq!((runs(&again), again[0].attempt), (vec![run_id(1)], 2));
}

/// The same function, and neither sees the other's; a key is a key of one queue.
pub async fn subscriptions_have_queues_of_their_own(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut other = keyed(2, "a");
    other.run.subscription = Some(name("t"));
    accept(subject, vec![keyed(1, "a"), other, delivery(3, "f")]).await;
    assert_eq!(store.due().await.expect("due").len(), 3);
    let lease = async |queue| runs(&store.lease(&queue, 9, START, HOLD).await.expect("lease"));
    assert_eq!(lease(of("s")).await, [run_id(1)]);
    assert_eq!(lease(of("t")).await, [run_id(2)]);
    assert_eq!(lease(queue("f")).await, [run_id(3)]);
    let query = crate::store::RunQuery { function: Some(function("f")), limit: 9, ..Default::default() };
    assert_eq!(store.runs(&query).await.expect("runs").len(), 3);
}

/// Verdicts of many and the effects of all, in one transaction; one lease that is gone refuses the whole.
pub async fn a_batch_is_settled_whole_or_not_at_all(subject: &mut dyn Subject) {
    let store = subject.store();
    accept(subject, vec![keyed(1, "a"), keyed(2, "b"), keyed(3, "c"), keyed(4, "a")]).await;
    let batch = take(subject, START).await;
    let conclude = |leased: &Leased, verdict| Conclusion { lease: leased.lease.clone(), verdict, run: None };
    let settlement = Settlement {
        others: vec![conclude(&batch[1], Verdict::Defer { until: at(10) }), conclude(&batch[2], give_up())],
        writes: vec![put("k", "1", Expect::Anything)],
        ..complete(&batch[0].lease)
    };
    let mut stale = settlement.clone();
    stale.others[1].lease.token = 0;
    let refused = store.settle(stale, at(1)).await;
    assert!(matches!(refused, Err(SettleError::StaleLease { run }) if run == run_id(3)));
    assert!(store.get(&space(), "k", at(1)).await.expect("get").is_none(), "nothing of it happened");
    let mut twice = settlement.clone();
    twice.others[1].lease = batch[1].lease.clone();
    assert!(store.settle(twice, at(1)).await.is_err(), "one of them twice");

    store.settle(settlement, at(1)).await.expect("settle");
    assert!(store.get(&space(), "k", at(1)).await.expect("get").is_some());
    let record = async |n| {
        let query = crate::store::RunQuery { id: Some(run_id(n)), limit: 1, ..Default::default() };
        store.runs(&query).await.expect("runs").remove(0)
    };
    assert_eq!(record(1).await.state, RunState::Completed);
    assert_eq!((record(2).await.state, record(2).await.due_at), (RunState::Queued, Some(at(10))));
    assert_eq!(record(3).await.state, RunState::DeadLettered);
    assert_eq!(runs(&take(subject, at(1)).await), [run_id(4)], "the next of the first one's key");
    assert_eq!(runs(&take(subject, at(10)).await), [run_id(2)]);
}

/// Leased and held up ones too; dead letters do not wait.
pub async fn what_waits_is_counted(subject: &mut dyn Subject) {
    let store = subject.store();
    let count = async |now, max| {
        let waiting = store.waiting(&of("s"), now, max).await.expect("waiting");
        (waiting.pending, waiting.available, waiting.since)
    };
    assert_eq!(count(START, 10).await, (0, 0, None));
    accept(subject, vec![keyed(1, "a"), keyed(2, "a"), keyed(3, "b")]).await;
    assert_eq!(count(START, 10).await, (3, 2, Some(START)));
    assert_eq!(count(START, 1).await, (1, 1, Some(START)));
    let leased = take(subject, START).await;
    assert_eq!(count(START, 10).await, (3, 0, None));
    settle(subject, &leased[0].lease, give_up()).await;
    assert_eq!(count(at(1), 10).await, (2, 1, Some(START)));
}

/// Which are being attempted, which were and wait for the next time, and how long the oldest has been there.
pub async fn what_waits_is_told_apart(subject: &mut dyn Subject) {
    let store = subject.store();
    let count = async |now| {
        let waiting = store.waiting(&of("s"), now, 10).await.expect("waiting");
        (waiting.leased, waiting.retrying, waiting.oldest)
    };
    assert_eq!(count(START).await, (0, 0, None));
    let first = keyed(1, "a");
    let oldest = Some(first.run.created_at);
    accept(subject, vec![first, keyed(2, "b"), keyed(3, "c")]).await;
    assert_eq!(count(START).await, (0, 0, oldest));
    let leased = take(subject, START).await;
    assert_eq!(count(START).await, (3, 0, oldest));
    settle(subject, &leased[0].lease, Verdict::Defer { until: at(100) }).await;
    settle(subject, &leased[1].lease, Verdict::Release).await;
    assert_eq!(count(at(1)).await, (1, 1, oldest), "what was given back was not attempted");
    assert_eq!(count(START.after(HOLD)).await, (0, 2, oldest), "a lease that ran out is none");
}
