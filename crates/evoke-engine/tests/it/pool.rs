use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::CallError;
use std::sync::Arc;

use crate::support::{World, app, function};

#[tokio::test(start_paused = true)]
async fn an_idle_instance_is_reused_and_ended_when_its_time_is_up() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let starts = world.runtime.starts();
    world.call("a", "").await.unwrap();
    world.call("a", "").await.unwrap();
    assert_eq!(world.runtime.starts(), starts + 1);
    assert_eq!(world.engine.instances(&app(), &function("a")), (0, 1));
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!((world.engine.instances(&app(), &function("a")), world.runtime.alive()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_node_ends_the_longest_idle_instance_of_another_function() {
    let limits = Limits { instances: 1, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("a", ""), ("b", "")]).await;
    world.call("a", "").await.unwrap();
    world.call("b", "").await.unwrap();
    assert_eq!(world.runtime.alive(), 1);
    assert_eq!(world.engine.instances(&app(), &function("b")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_cannot_start_backs_off_and_recovers() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.break_start("a", "ModuleNotFoundError: x");
    let before = world.runtime.starts();
    for _ in 0..10 {
        let Err(CallError::Failed { failure, .. }) = world.call("a", "").await else { panic!("it answered") };
        assert!(failure.message.contains("ModuleNotFoundError: x"), "{failure}");
    }
    assert_eq!(world.runtime.starts() - before, 3);
    world.runtime.script("a", |guest| guest.agree());
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_burst_on_a_cold_function_starts_no_more_than_its_concurrency() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 5")]).await;
    world.runtime.start_takes(Duration::from_millis(20));
    let before = world.runtime.starts();
    let calls = (0..200).map(|_| world.call("a", ""));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(world.runtime.starts() - before <= 5, "{} starts", world.runtime.starts() - before);
    assert!(world.runtime.most_alive() <= 5);
}
