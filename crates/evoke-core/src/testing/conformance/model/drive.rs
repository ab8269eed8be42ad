//! Does a history to a store and to the model, and compares.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;

use super::state::{Model, Place};
use super::{End, Op};
use crate::outcome::Outcome;
use crate::record::RunState;
use crate::store::{
    Append, Appended, Cancellation, DeadLetterQuery, EventQuery, Leased, ListQuery, NewInvocation, Retention,
    RunQuery, SettleError, Settlement, Store, Verdict,
};
use crate::testing::conformance::Subject;
use crate::testing::conformance::samples::{app, append_to, delivery, queue, run_id, space};
use crate::time::Timestamp;

type Step = Result<(), TestCaseError>;

pub(super) async fn drive(subject: &mut impl Subject, history: &[Op]) -> Step {
    let mut model = Model::new();
    for op in history {
        let store = subject.store();
        match op {
            Op::Append { key, queue, fan_out, delay } => {
                append(&store, &mut model, *key, *queue, *fan_out, *delay).await?;
            }
            Op::Lease { queue, max, hold } => lease(&store, &mut model, *queue, *max, *hold).await?,
            Op::Extend { lease, by } => extend(&store, &mut model, lease, *by).await?,
            Op::Settle { lease, end } => settle(&store, &mut model, lease, end).await?,
            Op::Redrive { run } => redrive(&store, &mut model, run).await?,
            Op::Cancel { run } => cancel(&store, &mut model, run).await?,
            Op::Write(wanted) => {
                let writes = model.writes(std::slice::from_ref(wanted));
                let expected = model.conflict(&writes);
                match store.write(writes.clone(), model.now).await {
                    Ok(revisions) => {
                        prop_assert_eq!(None, expected);
                        prop_assert!(model.apply(&writes, &revisions));
                    }
                    Err(SettleError::Conflict { key, .. }) => prop_assert_eq!(Some(key), expected),
                    Err(other) => return Err(TestCaseError::fail(format!("write: {other}"))),
                }
            }
            Op::Look => look(&store, &model).await?,
            Op::Advance { by } => model.now = later(model.now, *by),
            Op::Sweep { keep } => sweep(&store, &mut model, *keep).await?,
            Op::Reopen => {
                drop(store);
                subject.reopen().await;
                model.restart();
            }
        }
    }
    subject.reopen().await;
    drain(&subject.store(), model).await
}

async fn append(store: &Arc<dyn Store>, model: &mut Model, key: u8, to: u8, fan_out: u8, delay: u8) -> Step {
    let due = later(model.now, delay);
    let (item, numbers) = item(model, key, to, fan_out, due);
    let answer = store.append(vec![item], model.now).await.map_err(fail)?.remove(0);
    accepted(model, key, to, &numbers, due, &answer)
}

fn item(model: &mut Model, key: u8, to: u8, fan_out: u8, due: Timestamp) -> (Append, Vec<u64>) {
    let numbers = model.fresh_runs(fan_out);
    let deliveries =
        numbers.iter().map(|n| NewInvocation { due_at: due, ..delivery(*n, name(to)) }).collect();
    (append_to(&format!("e{key}"), deliveries), numbers)
}

fn accepted(model: &mut Model, key: u8, to: u8, numbers: &[u64], due: Timestamp, answer: &Appended) -> Step {
    if let Some((seq, runs)) = model.accepted.get(&key) {
        prop_assert!(answer.duplicate, "event e{} was taken twice", key);
        prop_assert_eq!((answer.seq, &answer.runs), (*seq, runs));
        return Ok(());
    }
    let runs: Vec<_> = numbers.iter().map(|n| run_id(*n)).collect();
    prop_assert!(!answer.duplicate, "event e{} is new", key);
    prop_assert_eq!(&answer.runs, &runs);
    prop_assert!(model.accepted.values().all(|(seq, _)| *seq < answer.seq), "positions grow");
    model.accepted.insert(key, (answer.seq, runs));
    model.enqueue(numbers, to, due);
    Ok(())
}

async fn lease(store: &Arc<dyn Store>, model: &mut Model, from: u8, max: usize, hold: u8) -> Step {
    let now = model.now;
    let mut available: Vec<Timestamp> = Vec::new();
    for run in model.runs.values().filter(|run| run.queue == from) {
        available.extend(Model::available(run.place).filter(|at| *at <= now));
    }
    available.sort();
    let leased =
        store.lease(&queue(name(from)), max, now, Duration::from_secs(hold.into())).await.map_err(fail)?;
    prop_assert!(leased.len() <= max, "no more than asked for");
    prop_assert!(
        leased.len() >= available.len().min(max),
        "{} of {} available",
        leased.len(),
        available.len()
    );
    let orphans = model.runs.values().any(|run| matches!(run.place, Place::Orphaned(_)));
    for (n, one) in leased.iter().enumerate() {
        let at = taken(model, from, one, hold)?;
        prop_assert!(orphans || at == available[n], "the longest available come first");
    }
    Ok(())
}

/// Checks one lease and notes it; says since when it had been available at the latest.
fn taken(model: &mut Model, from: u8, one: &Leased, hold: u8) -> Result<Timestamp, TestCaseError> {
    let (now, until) = (model.now, later(model.now, hold));
    let Some(run) = model.runs.get_mut(&one.lease.run) else {
        return Err(TestCaseError::fail(format!("{} was never accepted", one.lease.run)));
    };
    let Some(at) = Model::available(run.place) else {
        return Err(TestCaseError::fail(format!(
            "{} was leased although it is {:?}",
            one.lease.run, run.place
        )));
    };
    prop_assert_eq!(run.queue, from);
    prop_assert!(at <= now || matches!(run.place, Place::Orphaned(_)), "{} was leased early", one.lease.run);
    prop_assert!(one.lease.token > run.newest_token, "tokens grow");
    if !matches!(run.place, Place::Waiting(_)) {
        run.lost += 1;
    }
    run.attempts += 1;
    run.newest_token = one.lease.token;
    run.place = Place::Held { token: one.lease.token, until };
    prop_assert_eq!(one.attempt, run.attempts);
    prop_assert_eq!(one.run.state, RunState::Running);
    let lost = one.run.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Lost).count();
    prop_assert_eq!(lost, run.lost, "lost attempts are recorded");
    model.leases.push(one.lease.clone());
    Ok(at)
}

async fn extend(store: &Arc<dyn Store>, model: &mut Model, which: &Index, by: u8) -> Step {
    let Some(lease) = pick(&model.leases, which) else { return Ok(()) };
    let end = later(model.now, by);
    let extended = store.extend(&lease, end).await.map_err(fail)?;
    let held = model.holder(&lease);
    prop_assert_eq!(extended, held.is_some());
    if let Some(run) = held {
        run.place = Place::Held { token: lease.token, until: end };
    }
    Ok(())
}

async fn settle(store: &Arc<dyn Store>, model: &mut Model, which: &Index, end: &End) -> Step {
    let Some(lease) = pick(&model.leases, which) else { return Ok(()) };
    let now = model.now;
    let (wanted, emit, verdict, place) = match end {
        End::Complete { writes, emit } => (writes.as_slice(), *emit, Verdict::Complete, Place::Done),
        End::Defer(by) => {
            (&[][..], None, Verdict::Defer { until: later(now, *by) }, Place::Waiting(later(now, *by)))
        }
        End::Release => (&[][..], None, Verdict::Release, Place::Waiting(now)),
        End::DeadLetter => (&[][..], None, Verdict::DeadLetter { reason: "no".to_owned() }, Place::Dead),
    };
    let writes = model.writes(wanted);
    let emitted = emit.map(|key| (key, item(model, key, 1, 1, now)));
    let appends = emitted.iter().map(|(_, (item, _))| item.clone()).collect();
    let settlement = Settlement {
        lease: Some(lease.clone()),
        verdict,
        run: None,
        others: Vec::new(),
        writes: writes.clone(),
        appends,
    };
    let conflict = model.conflict(&writes);
    let held = model.holder(&lease);
    match store.settle(settlement, now).await {
        Ok(settled) => {
            let Some(run) = held else {
                return Err(TestCaseError::fail(format!("{lease:?} is stale and settled all the same")));
            };
            prop_assert_eq!(None, conflict);
            run.place = place;
            run.attempts -= u32::from(matches!(end, End::Release));
            prop_assert!(model.apply(&writes, &settled.revisions), "revisions grow");
            prop_assert_eq!(settled.appended.len(), usize::from(emitted.is_some()));
            for ((key, (_, numbers)), answer) in emitted.iter().zip(&settled.appended) {
                accepted(model, *key, 1, numbers, now, answer)?;
            }
        }
        Err(SettleError::StaleLease { run }) => {
            prop_assert_eq!(run, lease.run);
            prop_assert!(held.is_none(), "the newest token was refused");
        }
        Err(SettleError::Conflict { key, .. }) => prop_assert_eq!(Some(key), conflict),
        Err(SettleError::Store(error)) => return Err(fail(error)),
    }
    Ok(())
}

async fn redrive(store: &Arc<dyn Store>, model: &mut Model, which: &Index) -> Step {
    let runs: Vec<_> = model.runs.keys().cloned().collect();
    let Some(id) = pick(&runs, which) else { return Ok(()) };
    let redriven = store.redrive(&app(), std::slice::from_ref(&id), model.now).await.map_err(fail)?;
    let now = model.now;
    let dead = model.runs.get_mut(&id).filter(|run| run.place == Place::Dead);
    prop_assert_eq!(redriven.is_empty(), dead.is_none());
    if let Some(run) = dead {
        run.place = Place::Waiting(now);
        run.attempts = 0;
    }
    Ok(())
}

async fn cancel(store: &Arc<dyn Store>, model: &mut Model, which: &Index) -> Step {
    let runs: Vec<_> = model.runs.keys().cloned().collect();
    let Some(id) = pick(&runs, which) else { return Ok(()) };
    let wanted =
        Cancellation { app: app(), run: id.clone(), reason: "enough".to_owned(), appends: Vec::new() };
    let cancelled = store.cancel(wanted, model.now).await.map_err(fail)?;
    let pending = model.runs.get_mut(&id).filter(|run| Model::available(run.place).is_some());
    prop_assert_eq!(cancelled.is_some(), pending.is_some());
    if let Some(run) = pending {
        run.place = Place::Cancelled;
    }
    Ok(())
}

async fn look(store: &Arc<dyn Store>, model: &Model) -> Step {
    let page = ListQuery { space: space(), prefix: String::new(), after: None, limit: 100 };
    let entries = store.list(&page, model.now).await.map_err(fail)?;
    let expected: Vec<_> = model.entries.keys().filter_map(|key| model.entry(key)).cloned().collect();
    prop_assert_eq!(entries, expected);
    for key in ["k0", "k1", "k2"] {
        let entry = store.get(&space(), key, model.now).await.map_err(fail)?;
        prop_assert_eq!(entry.as_ref(), model.entry(key));
    }
    let runs = store.runs(&RunQuery { limit: 1_000, ..RunQuery::default() }).await.map_err(fail)?;
    prop_assert!(runs.iter().map(|run| &run.id).eq(model.runs.keys().rev()), "each run once, newest first");
    for run in &runs {
        let place = model.runs[&run.id].place;
        let allowed = match place {
            Place::Waiting(due) => run.state == RunState::Queued && run.due_at == Some(due),
            Place::Held { .. } => run.state == RunState::Running,
            Place::Orphaned(_) => matches!(run.state, RunState::Queued | RunState::Running),
            Place::Dead => run.state == RunState::DeadLettered,
            Place::Done => run.state == RunState::Completed,
            Place::Cancelled => run.state == RunState::Failed,
        };
        prop_assert!(allowed, "{} is {:?} and says {:?}, due {:?}", run.id, place, run.state, run.due_at);
    }
    let dead = store
        .dead_letters(&DeadLetterQuery { limit: 1_000, ..DeadLetterQuery::default() })
        .await
        .map_err(fail)?;
    let buried = model.runs.iter().rev().filter(|(_, run)| run.place == Place::Dead).map(|(id, _)| id);
    prop_assert!(dead.iter().map(|letter| &letter.run.id).eq(buried), "each dead letter once, newest first");
    let events = store.events(&EventQuery { limit: 1_000, ..EventQuery::default() }).await.map_err(fail)?;
    let kept = model.accepted.iter().filter(|(key, _)| !model.expired.contains(key));
    let mut positions: Vec<u64> = kept.map(|(_, (seq, _))| *seq).collect();
    positions.sort_unstable_by(|a, b| b.cmp(a));
    prop_assert!(events.iter().map(|event| event.seq).eq(positions), "each accepted event once");
    due(store, model).await
}

/// What is gone after it was needed by nobody; duplicates of it are known all the same.
async fn sweep(store: &Arc<dyn Store>, model: &mut Model, keep: u8) -> Step {
    let keep = Retention { events: Duration::from_secs(keep.into()), ..Retention::default() };
    while store.sweep(&keep, model.now).await.map_err(fail)? > 0 {}
    let events = store.events(&EventQuery { limit: 1_000, ..EventQuery::default() }).await.map_err(fail)?;
    for (key, (seq, runs)) in &model.accepted {
        if !events.iter().any(|event| event.seq == *seq) {
            let needed =
                runs.iter().find(|run| !matches!(model.runs[*run].place, Place::Done | Place::Cancelled));
            prop_assert!(needed.is_none(), "event e{} is gone, and {:?} needs it", key, needed);
            model.expired.insert(*key);
        }
    }
    look(store, model).await
}

async fn due(store: &Arc<dyn Store>, model: &Model) -> Step {
    let due = store.due().await.map_err(fail)?;
    for from in 0..2 {
        let here = || model.runs.values().filter(|run| run.queue == from);
        let earliest = here().filter_map(|run| Model::available(run.place)).min();
        let said =
            due.iter().filter(|one| one.queue == queue(name(from))).map(|one| one.at).collect::<Vec<_>>();
        if here().any(|run| matches!(run.place, Place::Orphaned(_))) {
            prop_assert!(
                said.len() == 1 && Some(said[0]) <= earliest,
                "{:?} said, {:?} known",
                said,
                earliest
            );
        } else {
            prop_assert_eq!(said, earliest.into_iter().collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// Whatever is not over can be leased in the end, once.
async fn drain(store: &Arc<dyn Store>, mut model: Model) -> Step {
    model.restart();
    look(store, &model).await?;
    model.now = model.now.after(Duration::from_secs(3_600));
    for from in 0..2 {
        lease(store, &mut model, from, 10_000, 60).await?;
    }
    let left = |run: &&super::state::Run| matches!(run.place, Place::Waiting(_) | Place::Orphaned(_));
    prop_assert_eq!(model.runs.values().filter(left).count(), 0);
    Ok(())
}

fn pick<T: Clone>(all: &[T], which: &Index) -> Option<T> {
    (!all.is_empty()).then(|| which.get(all).clone())
}

fn name(queue: u8) -> &'static str {
    if queue == 0 { "f" } else { "g" }
}

fn later(now: Timestamp, seconds: u8) -> Timestamp {
    now.after(Duration::from_secs(seconds.into()))
}

fn fail(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}
