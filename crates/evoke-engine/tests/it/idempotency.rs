use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::body::{Body, BodyError};
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Ended, Report, Response};
use evoke_core::store::{Expect, Space, Value, ValueKind, Write};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock;
use evoke_engine::call::{CallError, CallRequest};

use http::{HeaderMap, Method, StatusCode};

use crate::support::{World, app};

fn keyed(world: &World, body: &str) -> CallRequest {
    CallRequest { idempotency_key: Some("key-1".to_owned()), ..world.request("a", body) }
}

async fn world() -> (World, Arc<AtomicU32>) {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    world.runtime.script("a", move |guest| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            guest.respond(201, &format!("answer {n}")).await;
            Ended::Returned { events: Vec::new() }
        }
    });
    (world, calls)
}

#[tokio::test(start_paused = true)]
async fn the_same_key_gets_the_first_answer_again() {
    let (world, calls) = world().await;
    let first = world.engine.call(keyed(&world, "x")).await.unwrap();
    let second = world.engine.call(keyed(&world, "x")).await.unwrap();
    assert!(!first.replayed && second.replayed);
    assert_eq!((&first.run, second.response.status.as_u16()), (&second.run, 201));
    assert_eq!(&second.response.body.collect(100).await.unwrap()[..], b"answer 1");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_with_another_request_is_refused() {
    let (world, _) = world().await;
    world.engine.call(keyed(&world, "x")).await.unwrap();
    assert!(matches!(world.engine.call(keyed(&world, "y")).await, Err(CallError::KeyReused { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_may_come_over_another_address_but_not_for_another_path() {
    let (world, _) = world().await;
    world.engine.call(keyed(&world, "x")).await.unwrap();
    let mut moved = keyed(&world, "x");
    moved.request.uri = "http://shop.example:8080/".to_owned();
    assert!(world.engine.call(moved).await.unwrap().replayed);
    let mut other = keyed(&world, "x");
    other.request.uri = "http://localhost/other".to_owned();
    assert!(matches!(world.engine.call(other).await, Err(CallError::KeyReused { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_while_the_first_still_runs_is_refused() {
    let (world, _) = world().await;
    let (first, second) =
        tokio::join!(world.engine.call(keyed(&world, "x")), world.engine.call(keyed(&world, "x")));
    assert!(first.is_ok());
    assert!(matches!(second, Err(CallError::KeyInUse { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_in_use_for_as_long_as_its_run_goes_on() {
    let (world, calls) = world().await;
    {
        let mut call = std::pin::pin!(world.engine.call(keyed(&world, "x")));
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut call).await.is_err());
    }
    // The caller has gone; its run has not had the time to end.
    assert!(matches!(world.engine.call(keyed(&world, "x")).await, Err(CallError::KeyInUse { .. })));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let answered = world.engine.call(keyed(&world, "x")).await.unwrap();
    assert_eq!((answered.replayed, calls.load(Ordering::SeqCst)), (false, 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_while_its_handler_still_goes_on() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        guest.respond(200, "done").await;
        std::future::pending().await
    });
    world.engine.call(keyed(&world, "x")).await.unwrap();
    assert!(world.engine.call(keyed(&world, "x")).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_over_the_functions_own_state_is_no_key_in_use() {
    let world = Arc::new(World::new().await);
    world.deploy(&[("a", "egress = [\"example.com:443\"]")]).await;
    let other = world.clone();
    world.runtime.script("a", move |guest| {
        let other = other.clone();
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/key-1-total", &[("if-revision", "0")], "1").await;
            let elsewhere = Write {
                space: Space::app(&app(), "default"),
                key: "key-1-total".to_owned(),
                value: Some(Value { kind: ValueKind::Bytes, bytes: "2".into() }),
                expires_at: None,
                expect: Expect::Anything,
            };
            other.store.write(vec![elsewhere], other.clock.now()).await.unwrap();
            guest.agree().await
        }
    });
    let Err(CallError::Failed { failure, .. }) = world.engine.call(keyed(&world, "x")).await else {
        panic!("not a failure of the function")
    };
    assert_eq!(failure.code, FailureCode::StateConflict);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_to_keep_fails_the_call_and_leaves_nothing() {
    let world =
        World::with(Arc::new(MemoryStore::new()), Limits { body_bytes: 10, ..Limits::default() }).await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        guest.ask(Method::PUT, "/v1/kv/default/k", &[], "1").await;
        guest.respond(200, "more than ten bytes").await;
        std::future::pending().await
    });
    let Err(CallError::Failed { failure, .. }) = world.engine.call(keyed(&world, "x")).await else {
        panic!("it was answered")
    };
    assert!(failure.message.contains("larger than the limit of 10 bytes"), "{failure}");
    assert_eq!(world.kv("k").await, None);
    world.runtime.script("a", |guest| guest.agree());
    assert!(!world.engine.call(keyed(&world, "x")).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_breaks_off_its_answer_is_told_by_what_ended_it() {
    let world = World::new().await;
    world.deploy(&[("a", "timeout = \"2s\"")]).await;
    world.runtime.script("a", |guest| async move {
        let (chunks, body) = tokio::sync::mpsc::channel(1);
        let response =
            Response { status: StatusCode::OK, headers: HeaderMap::new(), body: Body::Stream(body) };
        guest.call.up.send(Report::Response(response)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        chunks.send(Err(BodyError::Aborted("it crashed".to_owned()))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ended::Failed(Failure::new(FailureCode::Crashed, "exit code 7"))
    });
    let Err(CallError::Failed { failure, .. }) = world.engine.call(keyed(&world, "x")).await else {
        panic!("it was answered")
    };
    assert_eq!(failure.to_string(), "crashed: exit code 7");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_crashes_does_not_wait_for_what_it_called() {
    let world = World::new().await;
    world.deploy(&[("a", ""), ("slow", "")]).await;
    world.runtime.script("slow", |_| std::future::pending());
    world.runtime.script("a", |guest| async move {
        let asking = guest.ask(Method::POST, "/v1/functions/slow", &[], "");
        let _ = tokio::time::timeout(Duration::from_millis(10), asking).await;
        Ended::Failed(Failure::new(FailureCode::Crashed, "exit code 7"))
    });
    let started = tokio::time::Instant::now();
    assert!(matches!(world.engine.call(keyed(&world, "x")).await, Err(CallError::Failed { .. })));
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
}
