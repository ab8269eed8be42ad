//! Several calls in one instance.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::FailureCode;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::CallError;
use futures_util::future::join_all;

use crate::support::World;

async fn slow(world: &World) {
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.agree().await
    });
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_as_it_may_have_run_at_once_in_one_instance() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 25\ninstance_concurrency = 10")]).await;
    slow(&world).await;
    let before = (world.runtime.starts(), tokio::time::Instant::now());
    assert!(join_all((0..25).map(|_| world.call("a", ""))).await.iter().all(Result::is_ok));
    assert_eq!((world.runtime.starts() - before.0, before.1.elapsed()), (3, Duration::from_secs(1)));
    assert_eq!((world.instances("a"), world.engine.places().0), ((0, 3), 3));
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!((world.instances("a"), world.runtime.alive(), world.engine.places()), ((0, 0), 0, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_stops_in_time_leaves_its_instance_to_the_others() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 10\ninstance_concurrency = 10\ntimeout = \"2s\"")]).await;
    world.runtime.script("a", |guest| async move {
        if matches!(&guest.call.input, evoke_core::runtime::Input::Request(request) if request.uri.ends_with("/hang")) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        guest.agree().await
    });
    let mut hang = world.request("a", "");
    hang.request.uri += "hang";
    let (hung, answered) = tokio::join!(world.engine.call(hang), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.call("a", "").await
    });
    assert!(matches!(hung, Err(CallError::TimedOut { .. })), "{hung:?}");
    assert!(answered.is_ok(), "{answered:?}");
    assert_eq!(world.instances("a"), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_stop_ends_its_instance_and_the_others_are_told() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 3\ninstance_concurrency = 3\ntimeout = \"2s\"")]).await;
    world.runtime.never_stops("a");
    world.runtime.script("a", |_| std::future::pending());
    let (first, second, third) = tokio::join!(
        world.call("a", ""),
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.call("a", "").await
        },
        // It waits for the instance that is to replace the first, which must not be beside it.
        async {
            tokio::time::sleep(Duration::from_millis(2_001)).await;
            world.runtime.script("a", |guest| guest.agree());
            world.call("a", "").await
        }
    );
    assert!(matches!(first, Err(CallError::TimedOut { .. })), "{first:?}");
    let Err(CallError::Failed { failure, .. }) = second else { panic!("{second:?}") };
    assert_eq!(failure.code, FailureCode::InstanceEnded);
    assert!(third.is_ok(), "{third:?}");
    assert_eq!((world.instances("a"), world.runtime.most_alive()), ((0, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_busy_instance_ends_with_its_calls_when_another_function_waits_for_the_place() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { instances: 1, ..Limits::default() }).await;
    world.deploy(&[("a", "concurrency = 4\ninstance_concurrency = 4"), ("b", "")]).await;
    slow(&world).await;
    // One of its four lanes is always busy.
    let calls = (0..20).map(|at| {
        let world = &world;
        async move {
            tokio::time::sleep(Duration::from_millis(at * 400)).await;
            world.call("a", "").await
        }
    });
    let (all, waited) = tokio::join!(join_all(calls), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = tokio::time::Instant::now();
        world.call("b", "").await.unwrap();
        before.elapsed()
    });
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert!(waited <= Duration::from_secs(2), "{waited:?}");
    assert_eq!(world.runtime.most_alive(), 1);
}
