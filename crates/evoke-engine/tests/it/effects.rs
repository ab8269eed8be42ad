use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_engine::call::CallError;
use http::Method;

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
    world.deploy(&[("a", ""), ("b", "")]).await;
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
    world.runtime.script("a", |_| async {
        Ended::Returned { events: vec![evoke_core::event::Event::new("n1", "/a", "next")] }
    });
    world.runtime.script("b", move |guest| {
        counted.fetch_add(1, Ordering::SeqCst);
        guest.agree()
    });
    world.publish("e1", "e").await;
    while count.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
