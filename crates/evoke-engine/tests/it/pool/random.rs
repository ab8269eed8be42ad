//! Pools under everything at once: calls, events, deaths, failed starts, callers who leave, deploys, on a node that is too
//! small for all of it. What must hold is looked at after every step; a failure prints its seed.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::testing::store::MemoryStore;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::support::{World, app, function};

const MIB: u64 = 1 << 20;
const PLACES: usize = 6;
const BYTES: u64 = 900 * MIB;
/// Name, concurrency, calls in one instance, further settings.
const FUNCTIONS: [(&str, usize, usize, &str); 5] = [
    ("plain", 4, 1, ""),
    ("large", 2, 1, "memory = \"400MiB\""),
    ("lanes", 7, 3, ""),
    ("fresh", 3, 1, "reuse = false"),
    ("warm", 3, 1, "min_instances = 1\nidle = \"3s\""),
];

fn settings(version: u32) -> Vec<(&'static str, String)> {
    let lines = FUNCTIONS.map(|(name, concurrency, lanes, more)| {
        let timeout = 2_000 + version;
        (
            name,
            format!(
                "concurrency = {concurrency}\ninstance_concurrency = {lanes}\ntimeout = \"{timeout}ms\"\n{more}\n\
                 on = [{{ event = \"{name}\" }}]\nretry = {{ attempts = 100, backoff = \"fixed\", initial = \"100ms\" }}"
            ),
        )
    });
    lines.to_vec()
}

async fn deploy(world: &World, version: u32) {
    let settings = settings(version);
    let functions: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let text = crate::support::manifest(&functions);
    // One that finds no place for its trial, or a function that does not start, changes nothing.
    let _ = world.engine.deploy(&app(), crate::support::bundle(&text)).await;
}

fn check(world: &World, seed: u64) {
    for (name, concurrency, lanes, _) in FUNCTIONS {
        let now = world.engine.instances(&app(), &function(name));
        let max = concurrency.div_ceil(lanes);
        assert!(now.starting + now.idle + now.busy <= max, "seed {seed}: {name} has {now:?}, of {max}");
    }
    let (places, bytes) = world.engine.places();
    assert!(places <= PLACES && bytes <= BYTES, "seed {seed}: {places} places, {bytes} bytes");
    assert!(world.runtime.most_alive() <= PLACES, "seed {seed}: {} alive", world.runtime.most_alive());
    assert!(world.runtime.most_bytes() <= BYTES, "seed {seed}: {} bytes", world.runtime.most_bytes());
}

async fn story(seed: u64) {
    let limits = Limits { instances: PLACES, instance_bytes: BYTES, ..Limits::default() };
    let world = Arc::new(World::with(Arc::new(MemoryStore::new()), limits).await);
    deploy(&world, 0).await;
    let rng = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
    for (name, ..) in FUNCTIONS {
        let rng = rng.clone();
        world.runtime.script(name, move |guest| {
            let (ms, kind) = {
                let mut rng = rng.lock();
                (rng.u64(0..300), rng.u32(0..100))
            };
            async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                match kind {
                    0..80 => guest.agree().await,
                    80..90 => Ended::Failed(Failure::new(FailureCode::FunctionError, "no")),
                    90..97 => Ended::Failed(Failure::new(FailureCode::Crashed, "dead")),
                    _ => std::future::pending().await,
                }
            }
        });
    }
    world.runtime.never_stops("lanes");
    let mut calls = JoinSet::new();
    let mut published = 0;
    for step in 0..400 {
        let (what, which, ms) = {
            let mut rng = rng.lock();
            (rng.u32(0..100), rng.usize(0..FUNCTIONS.len()), rng.u64(0..2_000))
        };
        let name = FUNCTIONS[which].0;
        match what {
            0..60 => {
                let (world, patience) = (world.clone(), Duration::from_millis(ms));
                let leaves = what < 10;
                calls.spawn(async move {
                    let call = world.call(name, "");
                    if leaves {
                        let _ = tokio::time::timeout(patience, call).await;
                    } else {
                        let _ = call.await;
                    }
                });
            }
            60..75 => {
                world.publish(&format!("e{step}"), name).await;
                published += 1;
            }
            75..80 => world.runtime.end_all(name),
            80..83 => world.runtime.break_start(name, "it is broken"),
            83..92 => world.runtime.mend(name),
            92..95 => world.runtime.start_takes(Duration::from_millis(ms / 4)),
            95..97 => {
                let world = world.clone();
                calls.spawn(async move { deploy(&world, step).await });
            }
            _ => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        tokio::time::sleep(Duration::from_millis(ms / 50)).await;
        check(&world, seed);
    }
    for (name, ..) in FUNCTIONS {
        world.runtime.mend(name);
    }
    // Whoever waits is served or told: nobody waits for ever.
    let all = tokio::time::timeout(Duration::from_secs(600), calls.join_all()).await;
    assert!(all.is_ok(), "seed {seed}: a caller was forgotten");
    let settled = tokio::time::timeout(Duration::from_secs(3_600), async {
        loop {
            let runs = world.runs().await;
            let events =
                runs.iter().filter(|run| matches!(run.trigger, evoke_core::record::Trigger::Event { .. }));
            let open = events.filter(|run| matches!(run.state, RunState::Queued | RunState::Running)).count();
            if open == 0 {
                return;
            }
            check(&world, seed);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    assert!(settled.await.is_ok(), "seed {seed}: one of {published} deliveries was forgotten");
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(world.engine.places(), (1, 128 * MIB), "seed {seed}: places that nobody has");
    assert_eq!((world.instances("warm"), world.runtime.alive()), ((0, 1), 1), "seed {seed}");
    for (name, ..) in FUNCTIONS {
        let now = world.engine.instances(&app(), &function(name));
        assert_eq!((now.starting, now.busy, now.draining), (0, 0, 0), "seed {seed}: {name}");
    }
    world.engine.drain(Duration::from_secs(1)).await.unwrap();
    assert_eq!((world.engine.places(), world.runtime.alive()), ((0, 0), 0), "seed {seed}: after the end");
}

#[test]
fn pools_hold_their_limits_and_forget_nobody() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..40).collect(),
    };
    for seed in seeds {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(story(seed));
    }
}
