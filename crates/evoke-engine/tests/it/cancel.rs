//! Cancelling runs, whatever they are at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::id::RunId;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Ender, FailureCode};
use evoke_core::record::{RunRecord, RunState, Trigger};
use evoke_core::runtime::{Ended, Input};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::{Guest, ScriptedRuntime};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::Arrival;
use evoke_engine::call::CallError;
use evoke_engine::cancel::{CancelError, CancelOrder, PendingRuns};
use evoke_engine::ingest::LaterCall;
use http::Method;
use tokio_util::task::TaskTracker;

use crate::support::{World, app, function, request};

const ON: &str = "on = [{ event = \"placed\" }]";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn later(world: &World, name: &str) -> RunId {
    let call = LaterCall {
        app: app(),
        function: function(name),
        request: request("x"),
        trigger: Trigger::Http { method: "POST".to_owned(), path: "/".to_owned() },
        from: Arrival::default(),
        idempotency_key: None,
    };
    world.engine.call_later(call).await.unwrap().run
}

async fn cancel(world: &World, run: &RunId) -> RunRecord {
    let order = CancelOrder { reason: Some("wrong customer".to_owned()), silent: false };
    let cancelled = world.engine.cancel_run(&app(), run, &order).await.unwrap();
    assert!(!cancelled.before);
    cancelled.run
}

/// Waits until `count` reaches `wanted`.
async fn reaches(count: &AtomicU32, wanted: u32) {
    while count.load(Ordering::SeqCst) < wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A function that writes a key and never comes to an end; how often it was called.
fn hangs(runtime: &ScriptedRuntime, name: &str) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    runtime.script(name, move |guest| {
        let counted = counted.clone();
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/began", &[JSON], "1").await;
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    });
    calls
}

fn assert_cancelled(run: &RunRecord) {
    let last = run.attempts.last().unwrap();
    let failure = last.outcome.failure().unwrap();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::CancelledByOperator, "wrong customer")
    );
    assert_eq!((run.state, last.outcome.ended_by()), (RunState::Failed, Some(Ender::Operator)));
    assert!(run.ended_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_waits_never_starts() {
    let world = World::new().await;
    world
        .deploy(&[("f", &format!("concurrency = 1\ntimeout = \"5s\"\nretry = {{ attempts = 1 }}\n{ON}"))])
        .await;
    let calls = hangs(&world.runtime, "f");
    let (first, second) = (world.publish("e1", "placed").await, world.publish("e2", "placed").await);
    reaches(&calls, 1).await;
    let call = later(&world, "f").await;
    for run in [&second.runs[0], &call] {
        assert_cancelled(&cancel(&world, run).await);
    }
    assert_eq!(world.ended(&first.runs[0]).await.state, RunState::DeadLettered);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_tried_again_is_not() {
    let world = World::new().await;
    world
        .deploy(&[("f", &format!("retry = {{ attempts = 9, backoff = \"fixed\", initial = \"1m\" }}\n{ON}"))])
        .await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    world.runtime.script("f", move |guest| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            guest.respond(500, "no").await;
            Ended::Returned { events: Vec::new() }
        }
    });
    let run = later(&world, "f").await;
    reaches(&calls, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cancelled = cancel(&world, &run).await;
    assert_cancelled(&cancelled);
    assert_eq!(cancelled.attempts.len(), 2, "the one that failed is still told of");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_attempted_is_ended_and_leaves_nothing() {
    let world = World::new().await;
    world.deploy(&[("f", &format!("timeout = \"10m\"\n{ON}"))]).await;
    let calls = hangs(&world.runtime, "f");
    let (event, call) = (world.publish("e1", "placed").await.runs[0].clone(), later(&world, "f").await);
    reaches(&calls, 2).await;
    let begun = tokio::time::Instant::now();
    for run in [&event, &call] {
        let cancelled = cancel(&world, run).await;
        assert_cancelled(&cancelled);
        assert_eq!(cancelled.attempts.len(), 1);
        assert_eq!(cancelled, world.ended(run).await);
    }
    while world.instances("f").0 != 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.kv("began").await, None);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn all_that_it_called_is_ended_with_it() {
    let world = World::new().await;
    world.deploy(&[("top", ON), ("middle", ""), ("bottom", "")]).await;
    for (name, next) in [("top", "middle"), ("middle", "bottom")] {
        world.runtime.script(name, move |guest: Guest| async move {
            guest.ask(Method::POST, &format!("/v1/functions/{next}"), &[], "").await;
            guest.agree().await
        });
    }
    let calls = hangs(&world.runtime, "bottom");
    let run = world.publish("e1", "placed").await.runs[0].clone();
    reaches(&calls, 1).await;
    assert_cancelled(&cancel(&world, &run).await);
    while world.runs().await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for run in world.runs().await.iter().filter(|other| other.id != run) {
        let ender = run.attempts[0].outcome.ended_by();
        assert_eq!((run.state, ender), (RunState::Failed, Some(Ender::Caller)), "{}", run.function);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sync_call_is_ended_and_its_caller_told() {
    let world = Arc::new(World::new().await);
    world.deploy(&[("f", "on_disconnect = \"finish\"")]).await;
    let calls = hangs(&world.runtime, "f");
    let caller = TaskTracker::new().spawn({
        let world = world.clone();
        async move { world.call("f", "x").await.map(drop) }
    });
    reaches(&calls, 1).await;
    let shown = world.engine.calls_under_way(&app());
    assert_eq!((shown.len(), shown[0].state), (1, RunState::Running));
    let run = shown[0].id.clone();
    assert_eq!(world.engine.run(&app(), &run).await.unwrap().unwrap().state, RunState::Running);
    assert_cancelled(&cancel(&world, &run).await);
    let told = caller.await.unwrap().unwrap_err();
    assert!(
        matches!(&told, CallError::Failed { failure, .. } if failure.code == FailureCode::CancelledByOperator)
    );
    assert_cancelled(&world.engine.run(&app(), &run).await.unwrap().unwrap());
    assert!(world.engine.calls_under_way(&app()).is_empty());
    assert_eq!(world.kv("began").await, None);
    let again = world.engine.cancel_run(&app(), &run, &CancelOrder::default()).await.unwrap();
    assert!(again.before);
}

#[tokio::test(start_paused = true)]
async fn a_sync_call_that_waits_to_be_let_in_is_seen_and_never_starts() {
    let world = Arc::new(World::new().await);
    world.deploy(&[("f", "concurrency = 1")]).await;
    let calls = hangs(&world.runtime, "f");
    let tracker = TaskTracker::new();
    let call = || {
        let world = world.clone();
        tracker.spawn(async move { world.call("f", "x").await.map(drop) })
    };
    let first = call();
    reaches(&calls, 1).await;
    let second = call();
    let waiting = loop {
        let seen = world.engine.calls_under_way(&app());
        if let Some(waiting) = seen.into_iter().find(|run| run.state == RunState::Queued) {
            break waiting.id;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let queued = PendingRuns { state: Some(RunState::Queued), ..PendingRuns::default() };
    let (pending, more) = world.engine.pending_runs(&app(), &queued, 10).await.unwrap();
    assert_eq!((pending.len(), &pending[0].id, more), (1, &waiting, false));
    assert_cancelled(&cancel(&world, &waiting).await);
    let told = second.await.unwrap().unwrap_err();
    assert!(
        matches!(&told, CallError::Failed { failure, .. } if failure.code == FailureCode::CancelledByOperator),
        "{told}"
    );
    assert_cancelled(&world.engine.run(&app(), &waiting).await.unwrap().unwrap());

    // One that is let in can be cancelled as the same run, and gives its place to the next.
    let third = call();
    let seen = loop {
        let seen = world.engine.calls_under_way(&app());
        if seen.len() == 2 {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let of = |state| seen.iter().find(|run| run.state == state).unwrap().id.clone();
    let (running, waiting) = (of(RunState::Running), of(RunState::Queued));
    assert_cancelled(&cancel(&world, &running).await);
    assert!(first.await.unwrap().is_err());
    reaches(&calls, 2).await;
    let shown = world.engine.calls_under_way(&app());
    assert_eq!((shown.len(), &shown[0].id, shown[0].state), (1, &waiting, RunState::Running));
    assert_cancelled(&cancel(&world, &waiting).await);
    assert!(third.await.unwrap().is_err());
    assert_eq!(calls.load(Ordering::SeqCst), 2, "what was cancelled at the door never began");
}

#[tokio::test(start_paused = true)]
async fn cancelling_again_changes_nothing_and_what_has_ended_is_told() {
    let world = World::new().await;
    world.deploy(&[("f", ON), ("g", "")]).await;
    let done = later(&world, "g").await;
    world.ended(&done).await;
    let refused = world.engine.cancel_run(&app(), &done, &CancelOrder::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("run {done} of function g has ended: completed"));
    let unknown = world.engine.cancel_run(&app(), &RunId::from_text("run_x"), &CancelOrder::default()).await;
    assert!(matches!(unknown, Err(CancelError::NotFound { .. })));
    hangs(&world.runtime, "f");
    let run = world.publish("e1", "placed").await.runs[0].clone();
    let first = cancel(&world, &run).await;
    let order = CancelOrder { reason: Some("another reason".to_owned()), silent: false };
    let again = world.engine.cancel_run(&app(), &run, &order).await.unwrap();
    assert_eq!((again.before, again.run), (true, first));
}

#[tokio::test(start_paused = true)]
async fn of_a_cancellation_and_the_end_of_the_attempt_exactly_one_happens() {
    let (mut cancelled, mut completed) = (0, 0);
    for nth in 0..60_u64 {
        let world = Arc::new(World::new().await);
        world.deploy(&[("f", &format!("emits = [\"done\"]\n{ON}"))]).await;
        world.runtime.script("f", |guest: Guest| async move {
            guest.ask(Method::PUT, "/v1/kv/default/done", &[JSON], "1").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ended::Returned { events: Vec::new() }
        });
        let run = world.publish("e1", "placed").await.runs[0].clone();
        let canceller = TaskTracker::new().spawn({
            let (world, run) = (world.clone(), run.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                for _ in 0..nth {
                    tokio::task::yield_now().await;
                }
                world.engine.cancel_run(&app(), &run, &CancelOrder::default()).await
            }
        });
        let told = canceller.await.unwrap();
        let record = world.ended(&run).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let kept = world.kv("done").await.is_some();
        match told {
            Ok(_) => {
                cancelled += 1;
                assert_eq!((record.state, kept), (RunState::Failed, false));
            }
            Err(CancelError::Ended { .. }) => {
                completed += 1;
                assert_eq!((record.state, kept), (RunState::Completed, true));
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(record.attempts.len(), 1);
    }
    assert!(cancelled > 0 && completed > 0, "{cancelled} cancelled, {completed} completed");
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_the_others_are_made_again() {
    let world = World::new().await;
    let on = "[[functions.f.on]]\nevent = \"placed\"\nbatch = { size = 3, window = \"1s\" }\nretry = { attempts = 1 }";
    world.deploy(&[("f", on)]).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    world.runtime.script("f", move |guest| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            assert!(matches!(guest.call.input, Input::Events(_)));
            if first {
                std::future::pending::<()>().await;
            }
            Ended::Returned { events: Vec::new() }
        }
    });
    let mut runs = Vec::new();
    for n in 1..=3 {
        runs.push(world.publish(&format!("e{n}"), "placed").await.runs[0].clone());
    }
    reaches(&calls, 1).await;
    assert_cancelled(&cancel(&world, &runs[1]).await);
    for run in [&runs[0], &runs[2]] {
        let record = world.ended(run).await;
        assert_eq!((record.state, record.attempts.len()), (RunState::Completed, 1));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn it_is_there_after_the_death_of_the_server() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
    let runtime = ScriptedRuntime::new();
    let world = World::on(store.clone(), Limits::default(), runtime.clone(), clock.clone(), 1).await;
    world.deploy(&[("f", &format!("concurrency = 1\n{ON}"))]).await;
    let calls = hangs(&runtime, "f");
    let runs = [world.publish("e1", "placed").await.runs[0].clone(), later(&world, "f").await];
    reaches(&calls, 1).await;
    for run in &runs {
        cancel(&world, run).await;
    }
    store.crash();
    memory.reopen();
    let world = World::on(memory, Limits::default(), runtime, clock, 2).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    for run in &runs {
        assert_cancelled(&world.ended(run).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_say_whether_it_did_is_asked_again() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(store.clone(), Limits::default()).await;
    world.deploy(&[("f", ON)]).await;
    let calls = hangs(&world.runtime, "f");
    for fault in [Fault::After, Fault::Before] {
        let id = format!("e-{fault:?}");
        let run = world.publish(&id, "placed").await.runs[0].clone();
        reaches(&calls, if matches!(fault, Fault::After) { 1 } else { 2 }).await;
        store.fail_next(fault);
        assert_cancelled(&cancel(&world, &run).await);
    }
}

#[tokio::test(start_paused = true)]
async fn pending_runs_are_chosen_by_what_they_are() {
    let world = World::new().await;
    world.deploy(&[("f", &format!("concurrency = 2\n{ON}")), ("g", "concurrency = 1")]).await;
    let calls = hangs(&world.runtime, "f");
    hangs(&world.runtime, "g");
    for n in 1..=4 {
        world.publish(&format!("e{n}"), "placed").await;
    }
    reaches(&calls, 2).await;
    let old = world.engine.now();
    tokio::time::sleep(Duration::from_millis(10)).await;
    later(&world, "g").await;
    let count = |which: PendingRuns, limit| {
        let world = &world;
        async move {
            let (runs, more) = world.engine.pending_runs(&app(), &which, limit).await.unwrap();
            (runs.len(), more)
        }
    };
    let all = PendingRuns::default();
    assert_eq!(count(all.clone(), 10).await, (5, false));
    assert_eq!(count(all.clone(), 3).await.0, 3);
    assert!(count(all.clone(), 3).await.1);
    let of =
        |state| PendingRuns { function: Some(function("f")), state: Some(state), ..PendingRuns::default() };
    assert_eq!(count(of(RunState::Queued), 10).await, (2, false));
    assert_eq!(count(of(RunState::Running), 10).await, (2, false));
    assert_eq!(count(PendingRuns { until: Some(old), ..all.clone() }, 10).await, (4, false));
    assert_eq!(count(PendingRuns { since: Some(old), ..all }, 10).await, (1, false));
}
