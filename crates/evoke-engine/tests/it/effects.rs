use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock;
use evoke_engine::call::{CallError, CallRequest};
use http::Method;
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

use crate::support::World;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(start_paused = true)]
async fn an_attempt_reads_its_own_writes_and_nobody_else_does_before_its_end() {
    let world = Arc::new(World::new().await);
    world.deploy(&[("a", "")]).await;
    let outside = world.clone();
    world.runtime.script("a", move |guest| {
        let outside = outside.clone();
        async move {
            let put = guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "1").await;
            assert_eq!(put.status, 200);
            let got = guest.ask(Method::GET, "/v1/kv/default/k", &[], "").await;
            assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"1"[..]));
            let list = guest.ask(Method::GET, "/v1/kv/default?prefix=k", &[], "").await;
            assert!(String::from_utf8_lossy(&list.body).contains("\"key\":\"k\""));
            assert_eq!(outside.kv("k").await, None);
            guest.agree().await
        }
    });
    world.call("a", "").await.unwrap();
    assert_eq!(world.kv("k").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_leaves_neither_state_nor_events() {
    let world = World::new().await;
    world.deploy(&[("a", "emits = [\"e\"]"), ("b", "on = [{ event = \"e\" }]")]).await;
    world.runtime.script("a", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "1").await;
        assert!(guest.publish("e", serde_json::json!(1)).await);
        Ended::Failed(Failure::new(FailureCode::Crashed, "exit code 1"))
    });
    assert!(world.call("a", "").await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.kv("k").await, None);
    assert_eq!(world.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn effects_of_a_call_are_durable_before_its_answer() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "1").await;
        guest.respond(200, "").await;
        // The handler goes on; what it did before its answer is there already.
        std::future::pending::<()>().await;
        unreachable!()
    });
    let answered = world.engine.call(world.request("a", "")).await.unwrap();
    assert_eq!(answered.response.status, 200);
    assert_eq!(world.kv("k").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_the_commit_of_a_call_is_recorded_as_that() {
    let (world, _) = failing_at_the_commit(Fault::Before).await;
    let error = world.engine.call(world.request("a", "")).await.unwrap_err();
    assert!(matches!(error, CallError::Store(_)), "{error:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reason = world.runs().await[0].attempts[0].outcome.reason();
    assert!(reason.starts_with("store_failed: its effects could not be kept"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_unknown_outcome_names_the_run_that_tells_what_became_of_it() {
    let (world, _) = failing_at_the_commit(Fault::After).await;
    let Err(CallError::Unknown { run, keyed: false, .. }) = world.engine.call(world.request("a", "")).await
    else {
        panic!("not unknown")
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let found = world.runs().await.remove(0);
    assert_eq!(
        (found.id, found.state),
        (run, RunState::Completed),
        "it was kept, and nobody wrote otherwise"
    );
    assert_eq!(world.kv("k").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_unknown_outcome_can_be_repeated_with_its_key() {
    let (world, calls) = failing_at_the_commit(Fault::After).await;
    let keyed = || CallRequest { idempotency_key: Some("key-1".to_owned()), ..world.request("a", "") };
    let error = world.engine.call(keyed()).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { keyed: true, .. }), "{error:?}");
    assert!(world.engine.call(keyed()).await.unwrap().replayed);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// A function that writes a key, and a store that fails once when that is to be kept.
async fn failing_at_the_commit(fault: Fault) -> (World, Arc<AtomicU32>) {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(store.clone(), Limits::default()).await;
    world.deploy(&[("a", "")]).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    world.runtime.script("a", move |guest| {
        let (failing, first) = (store.clone(), counted.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "1").await;
            if first {
                failing.fail_next(fault);
            }
            guest.respond(200, "").await;
            Ended::Returned { events: Vec::new() }
        }
    });
    (world, calls)
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_is_refused_at_once() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        let absent = ("if-revision", "0");
        let first = guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON, absent], "1").await;
        let second = guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON, absent], "2").await;
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 409));
        assert_eq!(second.headers["evoke-problem"], "state_conflict");
        guest.agree().await
    });
    world.call("a", "").await.unwrap();
    assert_eq!(world.kv("k").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn two_that_change_the_same_key_are_one_after_the_other_by_retry() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 8\non = [{ event = \"e\" }]")]).await;
    world.runtime.script("a", |guest| async move {
        let got = guest.ask(Method::GET, "/v1/kv/default/n", &[], "").await;
        let (revision, n) = match got.status.as_u16() {
            200 => (
                got.headers["evoke-revision"].to_str().unwrap().to_owned(),
                String::from_utf8_lossy(&got.body).parse::<u32>().unwrap(),
            ),
            _ => ("0".to_owned(), 0),
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        let put = guest
            .ask(Method::PUT, "/v1/kv/default/n", &[JSON, ("if-revision", &revision)], &(n + 1).to_string())
            .await;
        if put.status != 200 {
            return Ended::Failed(Failure::new(FailureCode::FunctionError, "changed"));
        }
        // Both have checked the condition by now, and neither has committed.
        tokio::time::sleep(Duration::from_millis(5)).await;
        guest.agree().await
    });
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.extend(world.publish(&format!("e{n}"), "e").await.runs);
    }
    for run in runs {
        assert_eq!(world.ended(&run).await.state, RunState::Completed);
    }
    assert_eq!(world.kv("n").await.as_deref(), Some("4"));
}

#[tokio::test(start_paused = true)]
async fn a_sync_call_whose_state_changed_under_it_is_a_conflict() {
    let world = World::new().await;
    world.deploy(&[("a", "egress = [\"example.com:443\"]"), ("b", "")]).await;
    let world = Arc::new(world);
    let other = world.clone();
    world.runtime.script("a", move |guest| {
        let other = other.clone();
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON, ("if-revision", "0")], "1").await;
            other.call("b", "").await.unwrap();
            guest.agree().await
        }
    });
    world.runtime.script("b", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "2").await;
        guest.agree().await
    });
    let Err(CallError::Failed { failure, .. }) = world.call("a", "").await else { panic!("it was kept") };
    assert_eq!(failure.code, FailureCode::StateConflict);
    assert_eq!(world.kv("k").await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn an_event_type_that_is_not_declared_is_refused_with_the_line_to_add() {
    let world = World::new().await;
    world.deploy(&[("a", "emits = [\"x\"]")]).await;
    world.runtime.script("a", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/events", &[], r#"{"type":"y"}"#).await;
        guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    let (answered, body) = world.call("a", "").await.unwrap();
    assert_eq!(answered.response.status, 403);
    assert!(body.contains(r#"emits = [\"x\", \"y\"]"#), "{body}");
}

#[tokio::test(start_paused = true)]
async fn events_a_handler_returns_are_published_with_its_settlement() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", "emits = [\"next\"]\non = [{ event = \"e\" }]"),
            ("b", "on = [{ event = \"next\" }]"),
        ])
        .await;
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    world.runtime.script("a", |_| async { Ended::Returned { events: vec![Event::new("n1", "/a", "next")] } });
    world.runtime.script("b", move |guest| {
        counted.fetch_add(1, Ordering::SeqCst);
        guest.agree()
    });
    world.publish("e1", "e").await;
    while count.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_publishes_nothing_of_what_it_returned() {
    let world = World::new().await;
    world.deploy(&[("a", "emits = [\"next\"]"), ("b", "on = [{ event = \"next\" }]")]).await;
    world.runtime.script("a", |_| async { Ended::Returned { events: vec![Event::new("n1", "/a", "next")] } });
    let Err(CallError::Failed { failure, .. }) = world.call("a", "").await else { panic!("it answered") };
    assert_eq!(failure.to_string(), "function_error: the handler returned no response");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_left_before_the_answer_leaves_nothing_behind() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let call = Arc::new(Mutex::new(None::<AbortHandle>));
    let caller = call.clone();
    world.runtime.script("a", move |guest| {
        let caller = caller.clone();
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "1").await;
            caller.lock().take().expect("it calls").abort();
            // Now the caller goes, and only then there is an answer.
            tokio::task::yield_now().await;
            guest.respond(200, "").await;
            std::future::pending().await
        }
    });
    let (engine, request) = (world.engine.clone(), world.request("a", ""));
    let mut tasks = JoinSet::new();
    *call.lock() = Some(tasks.spawn(async move { engine.call(request).await.map(drop) }));
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    let run = loop {
        if let Some(run) = world.runs().await.pop() {
            break run;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(run.attempts[0].outcome.reason(), "cancelled: the caller went away");
    assert_eq!(world.kv("k").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_instance_survives_the_conflict_of_its_call() {
    let world = World::new().await;
    world.deploy(&[("a", "egress = [\"example.com:443\"]"), ("b", "")]).await;
    let world = Arc::new(world);
    let other = world.clone();
    world.runtime.script("a", move |guest| {
        let other = other.clone();
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON, ("if-revision", "0")], "1").await;
            other.call("b", "").await.unwrap();
            guest.respond(200, "").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ended::Returned { events: Vec::new() }
        }
    });
    world.runtime.script("b", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "2").await;
        guest.agree().await
    });
    let Err(CallError::Failed { run, failure, .. }) = world.call("a", "").await else {
        panic!("it was kept")
    };
    assert_eq!(failure.code, FailureCode::StateConflict);
    assert!(world.ended(&run).await.attempts[0].outcome.reason().contains("state_conflict"));
    assert_eq!(world.runtime.alive(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_whole_from_the_moment_the_effects_are_there() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 1")]).await;
    world.runtime.start_takes(Duration::from_secs(3));
    world.runtime.script("a", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "1").await;
        guest.respond(200, "").await;
        std::future::pending::<()>().await;
        unreachable!()
    });
    let asked = world.clock.now();
    let answered = world.engine.call(world.request("a", "")).await.unwrap();
    let run = world.ended(&answered.run).await;
    let attempt = &run.attempts[0];
    assert!(attempt.cold);
    assert_eq!(attempt.waited_us, 3_000_000);
    assert_eq!((run.created_at, attempt.started_at), (asked, asked));
}

#[tokio::test(start_paused = true)]
async fn a_later_write_of_the_same_attempt_is_a_later_revision() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        let put = async |value: &str, revision: Option<u64>| {
            let revision = revision.map(|revision| revision.to_string());
            let condition = revision.as_deref().map(|revision| ("if-revision", revision));
            let headers: Vec<_> = [JSON].into_iter().chain(condition).collect();
            let answer = guest.ask(Method::PUT, "/v1/kv/default/k", &headers, value).await;
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            (answer.status.as_u16(), body["revision"].as_u64())
        };
        let (_, first) = put("1", None).await;
        let (status, second) = put("2", first).await;
        assert_eq!(status, 200);
        assert!(second > first);
        assert_eq!(put("3", first).await.0, 409, "the key is not at its first revision any more");
        guest.respond(200, "").await;
        // Committed now, under a number of the store's; what was promised still holds.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(put("4", first).await.0, 409);
        assert_eq!(put("5", second).await.0, 200);
        Ended::Returned { events: Vec::new() }
    });
    let (answered, _) = world.call("a", "").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ended(&answered.run).await.state, RunState::Completed);
    assert_eq!(world.kv("k").await.as_deref(), Some("5"));
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_behind_what_the_attempt_deleted() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        for n in 0..300 {
            guest.ask(Method::PUT, &format!("/v1/kv/default/k{n:03}"), &[JSON], "1").await;
        }
        guest.agree().await
    });
    world.call("a", "").await.unwrap();
    world.runtime.script("a", |guest| async move {
        let page = async |query: &str| {
            let answer = guest.ask(Method::GET, &format!("/v1/kv/default?{query}"), &[], "").await;
            let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let keys = page["entries"].as_array().unwrap().iter();
            let keys: Vec<String> = keys.map(|entry| entry["key"].as_str().unwrap().to_owned()).collect();
            (keys, page["next"].as_str().map(str::to_owned))
        };
        for n in 0..290 {
            guest.ask(Method::DELETE, &format!("/v1/kv/default/k{n:03}"), &[], "").await;
        }
        let (keys, next) = page("limit=4").await;
        assert_eq!(keys, ["k290", "k291", "k292", "k293"]);
        let (keys, next) = page(&format!("limit=4&after={}", next.unwrap())).await;
        assert_eq!((keys.len(), next.as_deref()), (4, Some("k297")));
        let (keys, next) = page("limit=4&after=k297").await;
        assert_eq!((keys.len(), next), (2, None));
        guest.agree().await
    });
    world.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_a_handler_returns_is_under_the_same_bound_as_one_it_publishes() {
    let limits = Limits { event_bytes: 300, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("a", "emits = [\"next\"]\non = [{ event = \"e\", retry = { attempts = 1 } }]")]).await;
    world.runtime.script("a", |_| async {
        let large = Event::new("n1", "/a", "next").with_json(serde_json::json!("x".repeat(400)));
        Ended::Returned { events: vec![large] }
    });
    let run = world.publish("e1", "e").await.runs.remove(0);
    assert_eq!(world.ended(&run).await.state, RunState::DeadLettered);
    assert!(
        world.dead_letters().await[0].reason.contains("300"),
        "{:?}",
        world.dead_letters().await[0].reason
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_publishes_and_what_it_returns_are_both_published() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", "emits = [\"next\"]\non = [{ event = \"e\" }]"),
            ("b", "on = [{ event = \"next\" }]"),
        ])
        .await;
    world.runtime.script("a", |guest| async move {
        assert!(guest.publish("next", serde_json::json!(1)).await);
        Ended::Returned { events: vec![Event::new(format!("{}-0", guest.call.run), "/shop/a", "next")] }
    });
    let run = world.publish("e1", "e").await.runs.remove(0);
    assert_eq!(world.ended(&run).await.state, RunState::Completed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.runs().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_state_changes_every_time_fails_in_the_end() {
    let world = Arc::new(World::new().await);
    world.deploy(&[("a", "on = [{ event = \"e\", retry = { attempts = 1 } }]"), ("b", "")]).await;
    let (other, made) = (world.clone(), Arc::new(AtomicU32::new(0)));
    let counted = made.clone();
    world.runtime.script("a", move |guest| {
        counted.fetch_add(1, Ordering::SeqCst);
        let other = other.clone();
        async move {
            let got = guest.ask(Method::GET, "/v1/kv/default/k", &[], "").await;
            let revision = got.headers.get("evoke-revision").map_or("0", |value| value.to_str().unwrap());
            let put =
                guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON, ("if-revision", revision)], "1").await;
            assert_eq!(put.status, 200);
            other.call("b", "").await.unwrap();
            guest.agree().await
        }
    });
    world.runtime.script("b", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[JSON], "2").await;
        guest.agree().await
    });
    let run = world.publish("e1", "e").await.runs.remove(0);
    let run = world.ended(&run).await;
    assert_eq!((run.state, run.attempts.len()), (RunState::DeadLettered, 1));
    assert!(world.dead_letters().await[0].reason.contains("state_conflict"));
    assert_eq!((made.load(Ordering::SeqCst), world.kv("k").await.as_deref()), (6, Some("2")));
}
