//! What attempts use reaches their records, however they end, and is added up by function.

use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use evoke_core::usage::Usage;
use evoke_engine::Spent;

use crate::support::{World, app, function};

const USAGE: Usage =
    Usage { cpu_us: Some(900), peak_memory_bytes: Some(5 << 20), idle_cpu_us: 30, shared: false };

#[tokio::test(start_paused = true)]
async fn every_attempt_says_what_it_used_however_it_ends() {
    let world = World::new().await;
    world.runtime.calls_use(USAGE);
    world.deploy(&[("well", ""), ("bad", ""), ("slow", "timeout = \"1s\""), ("broken", "")]).await;
    world.runtime.script("bad", |_| async { Ended::Failed(Failure::new(FailureCode::Crashed, "gone")) });
    world.runtime.script("slow", |_| std::future::pending());
    world.runtime.break_start("broken", "ModuleNotFoundError: x");
    for (name, used) in [("well", USAGE), ("bad", USAGE), ("slow", USAGE), ("broken", Usage::default())] {
        // Some of them fail, which is what is looked at.
        let _ = world.call(name, "").await;
        let run = loop {
            match world.runs().await.into_iter().find(|run| run.function == function(name)) {
                Some(run) => break world.ended(&run.id).await,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!(run.attempts[0].usage, used, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_a_batch_share_what_their_call_used() {
    let world = World::new().await;
    world.runtime.calls_use(USAGE);
    let on = "[[functions.f.on]]\nevent = \"placed\"\nbatch = { size = 3, window = \"10s\" }";
    world.deploy(&[("f", on)]).await;
    let mut runs = Vec::new();
    for id in ["a", "b", "c"] {
        runs.extend(world.publish(id, "placed").await.runs);
    }
    for run in runs {
        let usage = world.ended(&run).await.attempts[0].usage;
        assert_eq!((usage.cpu_us, usage.shared), (Some(300), true));
        assert_eq!(usage.peak_memory_bytes, USAGE.peak_memory_bytes);
    }
    let spent = world.engine.spent(&app(), &function("f"));
    assert_eq!((spent.attempts, spent.cpu_us), (1, 900), "it was one attempt");
}

#[tokio::test(start_paused = true)]
async fn sums_go_on_when_the_app_is_deployed_again() {
    let world = World::new().await;
    world.runtime.calls_use(USAGE);
    world.deploy(&[("f", "")]).await;
    let (first, _) = world.call("f", "").await.unwrap();
    world.ended(&first.run).await;
    world.runtime.calls_use(Usage::default());
    world.deploy(&[("f", "timeout = \"7s\"")]).await;
    let (second, _) = world.call("f", "").await.unwrap();
    world.ended(&second.run).await;
    let expected = Spent {
        attempts: 2,
        unmeasured: 1,
        ran_us: 0,
        cpu_us: 900,
        idle_cpu_us: 30,
        peak_memory_bytes: USAGE.peak_memory_bytes,
    };
    assert_eq!(world.engine.spent(&app(), &function("f")), expected);
    assert_eq!(world.engine.spent_by_all(), [(app(), function("f"), expected)]);
}
