//! The memory of the node: instances wait for it as they do for places.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::FailureCode;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::{Bound, CallError};
use evoke_engine::deploy::DeployError;

use crate::support::{World, app, bundle, manifest};

const MIB: u64 = 1 << 20;

async fn world(bytes: u64) -> World {
    World::with(Arc::new(MemoryStore::new()), Limits { instance_bytes: bytes, ..Limits::default() }).await
}

#[tokio::test(start_paused = true)]
async fn instances_never_have_more_memory_than_the_node_and_who_waits_is_served() {
    let world = world(300 * MIB).await;
    world.deploy(&[("a", "concurrency = 20"), ("b", "memory = \"256MiB\"")]).await;
    for name in ["a", "b"] {
        world.runtime.script(name, |guest| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            guest.agree().await
        });
    }
    let calls = (0..40).map(|at| world.call(if at % 4 == 0 { "b" } else { "a" }, ""));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(world.runtime.most_bytes() <= 300 * MIB, "{}", world.runtime.most_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_large_instance_is_not_passed_by_small_ones_for_ever() {
    let world = world(256 * MIB).await;
    world.deploy(&[("small", "concurrency = 50"), ("large", "memory = \"256MiB\"")]).await;
    world.runtime.script("small", |guest| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        guest.agree().await
    });
    let calls = (0..50).map(|at| {
        let world = &world;
        async move {
            tokio::time::sleep(Duration::from_millis(at * 50)).await;
            world.call("small", "").await
        }
    });
    let started = tokio::time::Instant::now();
    let (all, waited) = tokio::join!(futures_util::future::join_all(calls), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.call("large", "").await.unwrap();
        started.elapsed()
    });
    assert!(all.iter().all(Result::is_ok));
    assert!(waited < Duration::from_millis(800), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_instances_end_for_a_large_one_as_many_as_it_takes() {
    let world = world(512 * MIB).await;
    world.deploy(&[("a", ""), ("b", "memory = \"384MiB\"")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        guest.agree().await
    });
    futures_util::future::join_all((0..4).map(|_| world.call("a", ""))).await;
    assert_eq!(world.instances("a"), (0, 4));
    world.call("b", "").await.unwrap();
    assert_eq!((world.instances("a"), world.instances("b")), ((0, 1), (0, 1)));
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_memory_in_time_is_told_how_much_there_is() {
    let world = world(200 * MIB).await;
    world.deploy(&[("a", "timeout = \"1m\""), ("b", "")]).await;
    world.runtime.script("a", |_| std::future::pending());
    let (_, refused) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(30), world.call("a", "")), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.call("b", "").await
        });
    let Err(error @ CallError::Overloaded { bound, .. }) = refused else { panic!("it answered") };
    assert_eq!(bound, Bound::InstanceBytes(200 * MIB));
    assert!(error.to_string().contains("of the 200MiB that this node has for instances"), "{error}");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.engine.places(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_can_never_fit_is_refused_at_deploy_and_says_so_when_the_node_shrank() {
    let text = manifest(&[("a", "memory = \"1GiB\"")]);
    let small = world(512 * MIB).await;
    let Err(DeployError::DoesNotFit(words)) = small.engine.deploy(&app(), bundle(&text)).await else {
        panic!("it was deployed")
    };
    assert!(words.starts_with("function a: memory 1GiB is above the 512MiB"), "{words}");

    let store = Arc::new(MemoryStore::new());
    World::with(store.clone(), Limits::default()).await.deploy(&[("a", "memory = \"1GiB\"")]).await;
    let shrunk = World::with(store, Limits { instance_bytes: 512 * MIB, ..Limits::default() }).await;
    let Err(CallError::Failed { failure, .. }) = shrunk.call("a", "").await else { panic!("it answered") };
    assert_eq!(failure.code, FailureCode::InitError);
    assert!(failure.message.contains("raise --instance-memory"), "{failure}");
}
