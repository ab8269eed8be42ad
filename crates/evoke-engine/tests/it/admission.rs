//! Who is let in, who is refused and in what words, and who ended a call: by the engine as a whole.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::Ender;
use evoke_core::record::{RunRecord, RunState};
use evoke_core::runtime::Ended;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::{Bound, CallError};
use evoke_engine::ingest::LaterCall;
use http::Method;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{World, app, bundle, function, manifest};

const S: Duration = Duration::from_secs(1);

/// The only run of a function, once it has ended.
async fn ended(world: &World, name: &str) -> RunRecord {
    loop {
        let runs = world.runs().await;
        if let Some(run) = runs.into_iter().find(|run| run.function == function(name))
            && !matches!(run.state, RunState::Queued | RunState::Running)
        {
            return run;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn ender(run: &RunRecord) -> Option<Ender> {
    run.attempts.last().and_then(|attempt| attempt.outcome.ended_by())
}

/// `outer` calls `inner`, which never answers.
async fn nested(outer: &str, inner: &str) -> World {
    let world = World::new().await;
    world.deploy(&[("outer", outer), ("inner", inner)]).await;
    world.runtime.script("outer", |guest| async move {
        guest.ask(Method::POST, "/v1/functions/inner", &[], "").await;
        guest.agree().await
    });
    world.runtime.script("inner", |_| std::future::pending());
    world
}

#[tokio::test(start_paused = true)]
async fn calls_above_a_functions_rate_are_refused_and_told_when_to_come_again() {
    let world = World::new().await;
    world.deploy(&[("a", "rate = \"60/m\"\nburst = 3")]).await;
    for _ in 0..3 {
        world.call("a", "").await.unwrap();
    }
    let Err(CallError::Overloaded { bound, retry_after, .. }) = world.call("a", "").await else {
        panic!("it was let in")
    };
    assert!(matches!(bound, Bound::Rate(rate) if rate.to_string() == "60/m"), "{bound:?}");
    assert!(retry_after > S / 2 && retry_after <= S * 3 / 2, "{retry_after:?}");
    // What is left of it outlives a deployment that does not change it.
    world.deploy(&[("a", "rate = \"60/m\"\nburst = 3\nmemory = \"64MiB\"")]).await;
    assert!(world.call("a", "").await.is_err());
    sleep(S).await;
    assert!(world.call("a", "").await.is_ok() && world.call("a", "").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn queued_work_above_a_functions_rate_waits_and_none_is_lost() {
    let world = World::new().await;
    world.deploy(&[("a", "rate = \"2/s\"\nburst = 1\n[[functions.a.on]]\nevent = \"tick\"")]).await;
    let begin = Instant::now();
    let mut runs = Vec::new();
    for nth in 0..6 {
        runs.extend(world.publish(&nth.to_string(), "tick").await.runs);
    }
    for run in &runs {
        assert_eq!(world.ended(run).await.state, RunState::Completed);
    }
    assert_eq!(runs.len(), 6);
    assert!(begin.elapsed() >= S * 5 / 2, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_line_of_its_own_length_and_patience() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 1\nwaiting = 1\nmax_wait = \"2s\"\ntimeout = \"1m\"")]).await;
    world.runtime.script("a", |_| std::future::pending());
    let begin = Instant::now();
    let (_, waited, refused) = tokio::join!(
        timeout(20 * S, world.call("a", "")),
        async {
            sleep(S / 10).await;
            (world.call("a", "").await, begin.elapsed())
        },
        async {
            sleep(S / 5).await;
            (world.call("a", "").await, begin.elapsed())
        },
    );
    let (Err(CallError::Overloaded { bound, .. }), at) = waited else { panic!("it was let in") };
    assert_eq!((bound, at), (Bound::Concurrency(1), S / 10 + 2 * S));
    let (Err(CallError::Overloaded { bound, waiting, .. }), at) = refused else { panic!("it was let in") };
    assert_eq!((bound, waiting, at), (Bound::Waiting(1), 1, S / 5));
}

#[tokio::test(start_paused = true)]
async fn the_calls_that_wait_have_a_bound_in_an_app_and_one_on_the_node() {
    let settings = "concurrency = 1\nwaiting = 10\ntimeout = \"1m\"";
    for (of_app, of_node, bound) in
        [("waiting = 2\n", 9, Bound::AppWaiting(2)), ("", 3, Bound::NodeWaiting(3))]
    {
        let limits = Limits { waiting_calls_all: of_node, ..Limits::default() };
        let world = World::with(Arc::new(MemoryStore::new()), limits).await;
        let text = manifest(&[("a", settings), ("b", settings)])
            .replace("name = \"shop\"\n", &format!("name = \"shop\"\n{of_app}"));
        world.engine.deploy(&app(), bundle(&text)).await.unwrap();
        for name in ["a", "b"] {
            world.runtime.script(name, |_| std::future::pending());
        }
        let calls = (0..8_u32).map(|nth| {
            let world = &world;
            async move {
                sleep(S / 100 * nth).await;
                timeout(S, world.call(["a", "b"][nth as usize % 2], "")).await
            }
        });
        let ends = futures_util::future::join_all(calls).await;
        let met: Vec<Bound> = ends
            .into_iter()
            .filter_map(|end| match end {
                Ok(Err(CallError::Overloaded { bound, .. })) => Some(bound),
                Ok(other) => panic!("{:?}", other.map(drop)),
                Err(_) => None,
            })
            .collect();
        // Two run, and so many wait.
        let over = if of_app.is_empty() { 3 } else { 4 };
        assert_eq!(met, vec![bound; over]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_lets_go_of_its_place_when_its_client_leaves() {
    let limits = Limits { waiting_calls_all: 2, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("a", "concurrency = 1\ntimeout = \"1m\"")]).await;
    world.runtime.script("a", |guest| async move {
        sleep(5 * S).await;
        guest.agree().await
    });
    let leave = async {
        sleep(S / 10).await;
        // More than may wait, but never more than two at once.
        for _ in 0..10 {
            let (a, b) =
                tokio::join!(timeout(S / 10, world.call("a", "")), timeout(S / 10, world.call("a", "")));
            assert!(a.is_err() && b.is_err(), "they wait, and are not refused");
        }
        world.call("a", "").await
    };
    let (first, last) = tokio::join!(world.call("a", ""), leave);
    assert!(first.is_ok() && last.is_ok());
    assert_eq!(world.runs().await.len(), 2, "who left while waiting was never started");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_the_whole_chain_of_calls_and_each_run_says_who_did() {
    let world = nested("", "").await;
    assert!(timeout(S, world.call("outer", "")).await.is_err());
    let (outer, inner) = (ended(&world, "outer").await, ended(&world, "inner").await);
    assert_eq!((ender(&outer), ender(&inner)), (Some(Ender::Client), Some(Ender::Caller)));
    assert!(inner.attempts[0].outcome.reason().contains("function outer, which called it, has ended"));
    assert_eq!((world.runtime.alive(), world.engine.places()), (0, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_finishes_does_so_without_its_client_but_not_beyond_its_time() {
    let world = World::new().await;
    world.deploy(&[("a", "on_disconnect = \"finish\"\ntimeout = \"5s\""), ("b", "")]).await;
    world.runtime.script("a", |guest| async move {
        sleep(2 * S).await;
        guest.ask(Method::PUT, "/v1/kv/default/done", &[], "1").await;
        guest.agree().await
    });
    assert!(timeout(S, world.call("a", "")).await.is_err());
    assert_eq!(ended(&world, "a").await.state, RunState::Completed);
    assert_eq!(world.kv("done").await.as_deref(), Some("1"));

    // Also where the caller is a function that does not.
    world.runtime.script("b", |guest| async move {
        guest.ask(Method::POST, "/v1/functions/a", &[], "").await;
        guest.agree().await
    });
    assert!(timeout(S, world.call("b", "")).await.is_err());
    assert_eq!(ender(&ended(&world, "b").await), Some(Ender::Client));
    loop {
        let runs = world.runs().await;
        if runs.iter().filter(|run| run.function == function("a") && run.state == RunState::Completed).count()
            == 2
        {
            break;
        }
        sleep(S / 10).await;
    }

    world.runtime.script("a", |_| std::future::pending());
    let begin = Instant::now();
    assert!(timeout(S, world.call("a", "")).await.is_err());
    while world.runtime.alive() > 1 {
        sleep(S / 100).await;
    }
    assert!(begin.elapsed() <= 6 * S, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_callee_ended_with_its_callers_time_says_so_and_is_not_taken_for_a_failing_function() {
    let world = nested("timeout = \"2s\"", "timeout = \"1m\"").await;
    assert!(matches!(world.call("outer", "").await, Err(CallError::TimedOut { .. })));
    let (outer, inner) = (ended(&world, "outer").await, ended(&world, "inner").await);
    assert_eq!((ender(&outer), ender(&inner)), (Some(Ender::Timeout), Some(Ender::CallerDeadline)));
    let reason = inner.attempts[0].outcome.reason();
    assert!(reason.contains("when the time of its caller was over"), "{reason}");

    let own = nested("timeout = \"1m\"", "timeout = \"2s\"").await;
    own.call("outer", "").await.unwrap();
    assert_eq!(ender(&ended(&own, "inner").await), Some(Ender::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_could_not_be_done_in_its_callers_time_is_not_started() {
    let world = World::new().await;
    world.deploy(&[("outer", "timeout = \"1s\""), ("inner", "")]).await;
    world.runtime.script("inner", |guest| async move {
        sleep(3 * S).await;
        guest.agree().await
    });
    for _ in 0..8 {
        world.call("inner", "").await.unwrap();
    }
    world.runtime.script("outer", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/functions/inner", &[], "").await;
        guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    let begin = Instant::now();
    let (answered, body) = world.call("outer", "").await.unwrap();
    assert_eq!((answered.response.status.as_u16(), begin.elapsed()), (504, Duration::ZERO), "{body}");
    assert!(body.contains("too_late") && body.contains("its caller has 1000 ms left"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn work_that_nobody_waits_for_goes_on_when_a_client_leaves_and_a_shutdown_is_named() {
    let world = World::new().await;
    world.deploy(&[("a", ""), ("b", "timeout = \"5m\"\n[[functions.b.on]]\nevent = \"tick\"")]).await;
    world.runtime.script("b", |guest| async move {
        sleep(30 * S).await;
        guest.agree().await
    });
    let later = LaterCall {
        app: crate::support::app(),
        function: function("b"),
        request: crate::support::request(""),
        trigger: world.request("b", "").trigger,
        from: evoke_engine::Arrival::default(),
        idempotency_key: None,
    };
    let accepted = world.engine.call_later(later).await.unwrap();
    let published = world.publish("1", "tick").await;
    world.runtime.script("a", |_| std::future::pending());
    assert!(timeout(S, world.call("a", "")).await.is_err());
    for run in published.runs.iter().chain([&accepted.run]) {
        assert_eq!(world.ended(run).await.state, RunState::Completed);
    }
    let (called, drained) = tokio::join!(world.call("a", ""), async {
        sleep(S).await;
        world.engine.drain(S).await
    });
    assert!(matches!(called, Err(CallError::Draining)));
    drained.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_clients_that_leave_leaves_nothing_behind_and_neighbours_answer() {
    let limits = Limits { instances: 40, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("outer", "concurrency = 20"), ("inner", "concurrency = 20"), ("near", "")]).await;
    world.runtime.start_takes(Duration::from_millis(20));
    world.runtime.script("outer", |guest| async move {
        guest.ask(Method::POST, "/v1/functions/inner", &[], "").await;
        guest.agree().await
    });
    world.runtime.script("inner", |guest| async move {
        sleep(S).await;
        guest.agree().await
    });
    let storm = (0..500_u64).map(|nth| timeout(Duration::from_millis(nth % 97 * 7), world.call("outer", "")));
    let near = async {
        let mut worst = Duration::ZERO;
        for _ in 0..100 {
            let begin = Instant::now();
            world.call("near", "").await.unwrap();
            worst = worst.max(begin.elapsed());
            sleep(Duration::from_millis(10)).await;
        }
        worst
    };
    let (_, worst) = tokio::join!(futures_util::future::join_all(storm), near);
    assert!(worst < S, "{worst:?}");
    // What is idle then goes after its time.
    sleep(90 * S).await;
    assert_eq!((world.runtime.alive(), world.engine.places(), world.engine.admitted()), (0, (0, 0), (0, 0)));
}
