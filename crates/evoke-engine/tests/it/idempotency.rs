use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use evoke_core::runtime::Ended;
use evoke_engine::call::{CallError, CallRequest};

use crate::support::World;

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
