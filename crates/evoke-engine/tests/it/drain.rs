use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::record::RunState;
use evoke_core::testing::fault::FaultyStore;
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock;
use evoke_engine::call::CallError;
use std::sync::Arc;

use crate::support::{World, app};

#[tokio::test(start_paused = true)]
async fn a_drain_lets_running_work_finish_and_refuses_new_work() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        guest.agree().await
    });
    let (running, (late, drained)) = tokio::join!(world.call("a", ""), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let drained = world.engine.drain(Duration::from_secs(10));
        let late = async {
            tokio::task::yield_now().await;
            world.call("a", "").await
        };
        let (drained, late) = tokio::join!(drained, late);
        (late, drained)
    });
    assert!(running.is_ok());
    assert!(matches!(late, Err(CallError::Draining)));
    drained.unwrap();
    assert_eq!(world.runtime.alive(), 0);
    assert!(!world.engine.is_ready());
}

#[tokio::test(start_paused = true)]
async fn work_that_outlasts_the_grace_is_given_back_and_made_by_the_next_server() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    world.deploy(&[("a", "timeout = \"10m\"\non = [{ event = \"e\" }]")]).await;
    world.runtime.script("a", |_| std::future::pending());
    let published = world.publish("e1", "e").await;
    while world.runtime.alive() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.engine.drain(Duration::from_secs(2)).await.unwrap();
    assert_eq!(world.runtime.alive(), 0);

    store.reopen();
    let next = World::on(store, Limits::default(), ScriptedRuntime::new(), world.clock.clone(), 2).await;
    let run = next.ended(&published.runs[0]).await;
    assert_eq!(run.state, RunState::Completed);
    // The attempt that was given back does not count.
    assert_eq!(run.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1]);
    assert!(next.engine.app(&app()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_those_away_who_wait_at_the_door() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 1")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        guest.agree().await
    });
    let (inside, waiting, drained) = tokio::join!(
        world.call("a", ""),
        async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let refused = world.call("a", "").await;
            (refused, world.clock.now())
        },
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let began = world.clock.now();
            world.engine.drain(Duration::from_secs(10)).await.unwrap();
            began
        }
    );
    assert!(inside.is_ok());
    assert!(matches!(waiting.0, Err(CallError::Draining)), "{:?}", waiting.0);
    assert_eq!(waiting.1.since(drained), Duration::ZERO, "it waited for what was going on");
    assert_eq!(world.runtime.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_end_of_the_server_cuts_short_says_so() {
    let world = World::new().await;
    world.deploy(&[("a", ""), ("b", "timeout = \"10m\"")]).await;
    world.runtime.script("b", |_| std::future::pending());
    world.runtime.start_takes(Duration::from_secs(15));
    let (starting, running, drained) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(14)).await;
            world.call("a", "").await
        },
        world.call("b", ""),
        async {
            tokio::time::sleep(Duration::from_secs(16)).await;
            let drained = world.engine.drain(Duration::from_secs(2));
            tokio::time::timeout(Duration::from_secs(3), drained).await
        }
    );
    assert!(matches!(starting, Err(CallError::Draining)), "{starting:?}");
    assert!(matches!(running, Err(CallError::Draining)), "{running:?}");
    drained.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_to_go_on_is_noticed_also_when_nobody_asks_anything() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(store.clone(), Limits::default()).await;
    let mut refused = std::pin::pin!(world.engine.store_refused());
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut refused).await.is_err(), "it works");
    store.crash();
    let why = tokio::time::timeout(Duration::from_secs(60), refused).await.expect("it is noticed");
    assert!(!why.is_empty());
}
