//! Sync calls whose state changes under them: made again where that is safe, told apart where it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Ended, Input};
use evoke_core::store::{Expect, Space, Value, ValueKind, Write};
use evoke_core::testing::runtime::Guest;
use evoke_core::time::Clock;
use evoke_engine::call::{CallError, CallRequest};
use futures_util::future::join_all;
use http::Method;

use crate::support::{World, app, request};

const JSON: (&str, &str) = ("content-type", "application/json");
const KEY: &str = "/v1/kv/default/count";

/// Counts as functions do: reads, thinks, writes if nobody did meanwhile. A refusal is let through as an error.
async fn count(guest: Guest) -> Ended {
    let read = guest.ask(Method::GET, KEY, &[], "").await;
    let revision = read.headers.get("evoke-revision").map_or("0", |value| value.to_str().unwrap()).to_owned();
    let count: u32 = if revision == "0" { 0 } else { String::from_utf8_lossy(&read.body).parse().unwrap() };
    tokio::time::sleep(Duration::from_millis(1)).await;
    let wrote =
        guest.ask(Method::PUT, KEY, &[JSON, ("if-revision", &revision)], &(count + 1).to_string()).await;
    if wrote.status == 409 {
        let problem: serde_json::Value = serde_json::from_slice(&wrote.body).unwrap();
        let message = format!("EvokeError: {}", problem["detail"].as_str().unwrap());
        return Ended::Failed(Failure::new(FailureCode::FunctionError, message));
    }
    guest.agree().await
}

/// A function that always finds its key changed, and how often it was called.
async fn beaten(world: &Arc<World>, settings: &str) -> Arc<AtomicU32> {
    world.deploy(&[("a", settings), ("other", "")]).await;
    world.runtime.script("other", |guest| guest.agree());
    let calls = Arc::new(AtomicU32::new(0));
    let (outside, counted) = (world.clone(), calls.clone());
    world.runtime.script("a", move |guest| {
        counted.fetch_add(1, Ordering::SeqCst);
        let outside = outside.clone();
        async move {
            let revision = guest.ask(Method::GET, KEY, &[], "").await.headers.remove("evoke-revision");
            let revision = revision.map_or("0".to_owned(), |value| value.to_str().unwrap().to_owned());
            guest.ask(Method::PUT, KEY, &[JSON, ("if-revision", &revision)], "0").await;
            if matches!(&guest.call.input, Input::Request(request) if request.uri.contains("calls-another")) {
                guest.ask(Method::POST, "/v1/functions/other", &[], "").await;
            }
            let elsewhere = Write {
                space: Space::app(&app(), "default"),
                key: "count".to_owned(),
                value: Some(Value { kind: ValueKind::Json, bytes: "9".into() }),
                expires_at: None,
                expect: Expect::Anything,
            };
            outside.store.write(vec![elsewhere], outside.clock.now()).await.unwrap();
            guest.agree().await
        }
    });
    calls
}

async fn conflict(world: &World, call: CallRequest) -> usize {
    let Err(CallError::Failed { run, failure, .. }) = world.engine.call(call).await else {
        panic!("it was kept")
    };
    assert_eq!(failure.code, FailureCode::StateConflict, "{failure}");
    world.ended(&run).await.attempts.len()
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_the_same_key_at_once_all_come_through() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 8")]).await;
    world.runtime.script("a", count);
    let answers = join_all((0..8).map(|_| world.call("a", ""))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(world.kv("count").await.as_deref(), Some("8"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.runs().await.iter().any(|run| run.attempts.len() > 1), "nobody met anybody");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_made_again_has_one_answer_under_its_key() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 8")]).await;
    world.runtime.script("a", count);
    let keyed = |n: u32| CallRequest { idempotency_key: Some(format!("key-{n}")), ..world.request("a", "") };
    let first = join_all((0..4).map(|n| world.engine.call(keyed(n)))).await;
    let again = join_all((0..4).map(|n| world.engine.call(keyed(n)))).await;
    assert!(first.iter().all(|answer| answer.as_ref().is_ok_and(|answered| !answered.replayed)));
    assert!(again.iter().all(|answer| answer.as_ref().is_ok_and(|answered| answered.replayed)));
    assert_eq!(world.kv("count").await.as_deref(), Some("4"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_always_conflicts_is_given_up_after_eight_attempts() {
    let world = Arc::new(World::new().await);
    let calls = beaten(&world, "").await;
    assert_eq!(conflict(&world, world.request("a", "")).await, 8);
    assert_eq!(calls.load(Ordering::SeqCst), 8);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_not_made_again_when_something_of_it_may_be_outside() {
    let world = Arc::new(World::new().await);
    beaten(&world, "").await;
    let mut calling = world.request("a", "");
    calling.request.uri = "http://localhost/calls-another".to_owned();
    assert_eq!(conflict(&world, calling).await, 1, "another function was called");
    beaten(&world, "egress = [\"example.com:443\"]").await;
    assert_eq!(conflict(&world, world.request("a", "")).await, 1, "it may have connected to somebody");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_body_is_gone_is_not_made_again() {
    let world = Arc::new(World::new().await);
    beaten(&world, "").await;
    let (_sender, chunks) = tokio::sync::mpsc::channel(1);
    let mut call = world.request("a", "");
    call.request = evoke_core::runtime::Request { body: Body::Stream(chunks), ..request("") };
    assert_eq!(conflict(&world, call).await, 1);
}

#[tokio::test(start_paused = true)]
async fn all_attempts_together_have_the_time_of_one() {
    let world = Arc::new(World::new().await);
    world.deploy(&[("a", "timeout = \"1s\"")]).await;
    world.runtime.script("a", |guest| async move {
        guest.ask(Method::PUT, KEY, &[JSON, ("if-revision", "7")], "0").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ended::Failed(Failure::new(
            FailureCode::FunctionError,
            "Error: key \"count\" is absent, not at revision 7",
        ))
    });
    let began = tokio::time::Instant::now();
    assert!(world.call("a", "").await.is_err());
    assert!(began.elapsed() <= Duration::from_millis(1_100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_functions_own_after_a_conflict_stays_its_own() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        let wrote = guest.ask(Method::PUT, KEY, &[JSON, ("if-revision", "7")], "0").await;
        assert_eq!(wrote.status, 409);
        Ended::Failed(Failure::new(FailureCode::FunctionError, "Error: sold out"))
    });
    let Err(CallError::Failed { failure, .. }) = world.call("a", "").await else { panic!("it was answered") };
    assert_eq!(failure.code, FailureCode::FunctionError);
}

#[tokio::test(start_paused = true)]
async fn events_that_change_the_same_key_at_once_need_no_retry_of_their_policy() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 4\non = [{ event = \"e\", retry = { attempts = 1 } }]")]).await;
    world.runtime.script("a", count);
    let mut runs = Vec::new();
    for id in ["1", "2", "3", "4"] {
        runs.extend(world.publish(id, "e").await.runs);
    }
    for run in &runs {
        world.ended(run).await;
    }
    assert_eq!((world.kv("count").await.as_deref(), world.dead_letters().await.len()), (Some("4"), 0));
}
