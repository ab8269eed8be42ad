mod ahead;
mod lanes;
mod memory;
mod random;

use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::Ended;
use evoke_core::store::Queue;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock;
use evoke_engine::call::CallError;
use http::Method;
use std::sync::Arc;

use crate::support::World;

#[tokio::test(start_paused = true)]
async fn an_idle_instance_is_reused_and_ended_when_its_time_is_up() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let starts = world.runtime.starts();
    world.call("a", "").await.unwrap();
    world.call("a", "").await.unwrap();
    assert_eq!(world.runtime.starts(), starts + 1);
    assert_eq!(world.instances("a"), (0, 1));
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_node_ends_the_longest_idle_instance_of_another_function() {
    let limits = Limits { instances: 1, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("a", ""), ("b", "")]).await;
    world.call("a", "").await.unwrap();
    world.call("b", "").await.unwrap();
    assert_eq!(world.runtime.alive(), 1);
    assert_eq!(world.instances("b"), (0, 1));
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
    let calls = (0..500).map(|_| world.call("a", ""));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(world.runtime.starts() - before <= 5, "{} starts", world.runtime.starts() - before);
    assert!(world.runtime.most_alive() <= 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_place_gets_that_of_the_next_instance_that_is_idle() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { instances: 1, ..Limits::default() }).await;
    world.deploy(&[("a", ""), ("b", "")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.agree().await
    });
    let started = tokio::time::Instant::now();
    let (a, b) = tokio::join!(world.call("a", ""), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.call("b", "").await
    });
    assert!(a.is_ok() && b.is_ok());
    assert!(started.elapsed() < Duration::from_secs(2), "it waited {:?}", started.elapsed());
    assert_eq!(world.runtime.most_alive(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gets_no_place_in_time_is_refused() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { instances: 1, ..Limits::default() }).await;
    world.deploy(&[("outer", "timeout = \"5m\""), ("inner", "")]).await;
    // Its own instance is in the only place, so the function it calls can never have one.
    world.runtime.script("outer", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/functions/inner", &[], "").await;
        guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    let started = tokio::time::Instant::now();
    let (answered, body) = world.call("outer", "").await.unwrap();
    assert_eq!(answered.response.status.as_u16(), 503, "{body}");
    assert!(body.contains("all 1 instances of this node are busy"), "{body}");
    assert!(started.elapsed() < Duration::from_secs(11), "it waited {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_caller_left_while_it_started_is_kept_for_the_next() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 1")]).await;
    world.runtime.start_takes(Duration::from_secs(5));
    let starts = world.runtime.starts();
    assert!(tokio::time::timeout(Duration::from_secs(1), world.call("a", "")).await.is_err());
    world.call("a", "").await.unwrap();
    assert_eq!(world.runtime.starts() - starts, 1);
    let run = world.runs().await.pop().unwrap();
    assert_eq!(run.attempts[0].outcome.word(), "rejected", "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_lost_its_lease_is_no_longer_counted_as_busy() {
    let world = World::new().await;
    world.deploy(&[("a", "timeout = \"10m\"\non = [{ event = \"e\" }]")]).await;
    world.runtime.script("a", |_| std::future::pending());
    world.publish("e1", "e").await;
    while world.instances("a") != (1, 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let queue = Queue::of(&world.runs().await[0]);
    let hold = Duration::from_secs(600);
    let stolen = world.store.lease(&queue, 1, world.clock.now().after(hold), hold).await.unwrap();
    assert_eq!(stolen.len(), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_never_ends_is_given_up() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.start_takes(Duration::from_secs(3_600));
    let started = tokio::time::Instant::now();
    let Err(CallError::Failed { failure, .. }) = world.call("a", "").await else { panic!("it answered") };
    assert_eq!(failure.code, FailureCode::InitError);
    assert!(started.elapsed() < Duration::from_secs(30), "it took {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_instance_of_a_revision_that_was_replaced_while_it_started_ends_after_its_call() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.start_takes(Duration::from_secs(2));
    let (answered, ()) = tokio::join!(world.call("a", ""), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.deploy(&[("a", "timeout = \"9s\"")]).await;
    });
    assert!(answered.is_ok());
    assert_eq!((world.instances("a"), world.runtime.alive()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fills_the_node_uses_its_instances_again_and_lets_others_have_their_turn() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { instances: 2, ..Limits::default() }).await;
    world.deploy(&[("a", "concurrency = 20"), ("b", "")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        guest.agree().await
    });
    let starts = world.runtime.starts();
    let calls = (0..20).map(|_| world.call("a", ""));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(world.runtime.starts() - starts, 2);

    let started = tokio::time::Instant::now();
    let calls = (0..20).map(|_| world.call("a", ""));
    let (all, waited) = tokio::join!(futures_util::future::join_all(calls), async {
        tokio::time::sleep(Duration::from_millis(450)).await;
        world.call("b", "").await.unwrap();
        started.elapsed()
    });
    assert!(all.iter().all(Result::is_ok));
    // In line behind all of them: nobody who came later goes first, and none is passed over.
    assert!(waited <= Duration::from_millis(1_001), "{waited:?}");
    assert_eq!(world.runtime.most_alive(), 2);
}
