//! Instances that are started before somebody needs them: spares, and those that are kept warm.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::runtime::Ended;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::deploy::DeployError;

use crate::support::{World, app, bundle, manifest};

async fn takes(guest: evoke_core::testing::runtime::Guest, time: Duration) -> Ended {
    tokio::time::sleep(time).await;
    guest.agree().await
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn one_call_after_the_other_needs_one_instance() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    for _ in 0..10 {
        world.call("a", "").await.unwrap();
    }
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn where_calls_overlap_the_next_one_finds_a_spare() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 10")]).await;
    world.runtime.script("a", |guest| takes(guest, Duration::from_secs(5)));
    world.runtime.start_takes(Duration::from_millis(100));
    let (one, two, third) = tokio::join!(world.call("a", ""), world.call("a", ""), async {
        pass(Duration::from_secs(1)).await;
        assert_eq!(world.instances("a"), (2, 1));
        let before = tokio::time::Instant::now();
        world.call("a", "").await.unwrap();
        before.elapsed()
    });
    assert!(one.is_ok() && two.is_ok());
    assert!(third < Duration::from_millis(5_050), "it waited for a start: {third:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spare_gives_way_to_whoever_needs_its_place() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { instances: 3, ..Limits::default() }).await;
    world.deploy(&[("a", ""), ("b", "")]).await;
    world.runtime.script("a", |guest| takes(guest, Duration::from_secs(5)));
    world.runtime.start_takes(Duration::from_millis(100));
    let (one, two, b) = tokio::join!(world.call("a", ""), world.call("a", ""), async {
        // While the spare is being started, and all three places are taken.
        pass(Duration::from_millis(150)).await;
        assert_eq!(world.engine.places().0, 3);
        let before = tokio::time::Instant::now();
        world.call("b", "").await.unwrap();
        before.elapsed()
    });
    assert!(one.is_ok() && two.is_ok());
    assert!(b < Duration::from_millis(200), "{b:?}");
    assert_eq!(world.runtime.most_alive(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_reuse_every_call_has_an_instance_of_its_own_which_is_there_before_it() {
    let world = World::new().await;
    world.deploy(&[("a", "reuse = false\nconcurrency = 4\nidle = \"10s\"")]).await;
    world.runtime.start_takes(Duration::from_millis(100));
    let before = world.runtime.starts();
    let mut cold = 0;
    for _ in 0..5 {
        let began = tokio::time::Instant::now();
        world.call("a", "").await.unwrap();
        cold += usize::from(began.elapsed() >= Duration::from_millis(100));
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(cold, 1);
    // The spare of the last one is there, and goes when nothing comes.
    assert_eq!(world.runtime.starts() - before, 6);
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 1), 1));
    pass(Duration::from_secs(12)).await;
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn idle_time_is_the_functions_own() {
    let world = World::new().await;
    world.deploy(&[("a", "idle = \"5s\""), ("b", "idle = \"10m\""), ("c", "")]).await;
    for name in ["a", "b", "c"] {
        world.call(name, "").await.unwrap();
    }
    pass(Duration::from_secs(7)).await;
    assert_eq!([world.instances("a"), world.instances("b"), world.instances("c")], [(0, 0), (0, 1), (0, 1)]);
    pass(Duration::from_secs(60)).await;
    assert_eq!([world.instances("b"), world.instances("c")], [(0, 1), (0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_warm_is_there_after_a_deploy_after_time_and_after_it_died() {
    let world = World::new().await;
    world.deploy(&[("a", "min_instances = 3\nidle = \"2s\"")]).await;
    assert_eq!(world.instances("a"), (0, 3));
    pass(Duration::from_secs(3_600)).await;
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 3), 3));
    world.call("a", "").await.unwrap();
    world.runtime.end_all("a");
    assert_eq!(world.runtime.alive(), 3, "nobody has looked yet");
    pass(Duration::from_secs(2)).await;
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 3), 3));
}

#[tokio::test(start_paused = true)]
async fn a_deploy_has_the_next_revision_warm_before_it_is_current() {
    let world = World::new().await;
    world.deploy(&[("a", "min_instances = 2")]).await;
    world.runtime.start_takes(Duration::from_secs(3));
    let (waited, ()) = tokio::join!(
        async {
            let mut longest = Duration::ZERO;
            for _ in 0..100 {
                let before = tokio::time::Instant::now();
                world.call("a", "").await.unwrap();
                longest = longest.max(before.elapsed());
                pass(Duration::from_millis(100)).await;
            }
            longest
        },
        world.deploy(&[("a", "min_instances = 2\ntimeout = \"9s\"")])
    );
    assert_eq!(waited, Duration::ZERO);
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 2), 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_warm_is_there_when_the_server_is_again() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    world.deploy(&[("a", "min_instances = 2")]).await;
    let next = World::with(store, Limits::default()).await;
    pass(Duration::from_millis(10)).await;
    assert_eq!((next.instances("a"), next.runtime.alive()), ((0, 2), 2));
}

#[tokio::test(start_paused = true)]
async fn instances_that_die_before_their_first_call_back_off_and_are_listed_as_failing() {
    let world = World::new().await;
    world.deploy(&[("a", "min_instances = 1")]).await;
    let before = world.runtime.starts();
    for _ in 0..120 {
        world.runtime.end_all("a");
        pass(Duration::from_millis(500)).await;
    }
    // One a second for three, then after 1, 2, 4, … seconds.
    let starts = world.runtime.starts() - before;
    assert!((5..=10).contains(&starts), "{starts} starts in a minute");
    let failing = world.engine.instances(&app(), &crate::support::function("a")).failing.unwrap();
    assert!(failing.times >= 3 && failing.message.contains("before their first call"), "{failing:?}");
    pass(Duration::from_secs(70)).await;
    assert_eq!(world.instances("a"), (0, 1));
    world.call("a", "").await.unwrap();
    assert_eq!(world.engine.instances(&app(), &crate::support::function("a")).failing, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_warm_is_not_ended_for_others_and_must_leave_room_for_them() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { instances: 3, ..Limits::default() }).await;
    world.deploy(&[("a", "min_instances = 2"), ("b", ""), ("c", "")]).await;
    for name in ["b", "c", "b", "c"] {
        world.call(name, "").await.unwrap();
        assert_eq!(world.instances("a"), (0, 2));
    }
    assert_eq!(world.runtime.most_alive(), 3);
    let text = manifest(&[("a", "min_instances = 3"), ("b", "")]);
    let Err(DeployError::DoesNotFit(words)) = world.engine.deploy(&app(), bundle(&text)).await else {
        panic!("it was deployed")
    };
    assert!(words.contains("no instance of b (128MiB) would fit beside them"), "{words}");
}
