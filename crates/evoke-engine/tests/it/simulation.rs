//! A small shop under a seed, killed at every commit in turn: whatever was acknowledged happens, and its effects happen
//! once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use http::Method;
use parking_lot::Mutex;

use crate::support::{World, app, bundle, manifest};

const ORDERS: u32 = 6;
const JSON: (&str, &str) = ("content-type", "application/json");

/// `checkout` fails now and then, emits `paid`; `ledger` counts what was paid.
fn script(runtime: &ScriptedRuntime, seed: u64) {
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
    let dice = random.clone();
    runtime.script("checkout", move |guest| {
        let (fails, pause) = {
            let mut dice = dice.lock();
            (dice.u8(..10) < 3, dice.u64(..20))
        };
        async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let id = guest.event().unwrap().id().to_owned();
            guest.ask(Method::PUT, &format!("/v1/kv/default/{id}"), &[JSON], "1").await;
            guest.publish("paid", serde_json::json!({ "order": id })).await;
            if fails {
                Ended::Failed(Failure::new(FailureCode::Crashed, "by chance"))
            } else {
                guest.agree().await
            }
        }
    });
    runtime.script("ledger", |guest| async move {
        let got = guest.ask(Method::GET, "/v1/kv/default/count", &[], "").await;
        let (revision, count) = match got.status.as_u16() {
            200 => (
                got.headers["evoke-revision"].to_str().unwrap().to_owned(),
                String::from_utf8_lossy(&got.body).parse::<u32>().unwrap(),
            ),
            _ => ("0".to_owned(), 0),
        };
        // Long enough, here and after the write, for the other one to see the same count.
        tokio::time::sleep(Duration::from_millis(7)).await;
        let (if_revision, next) = (("if-revision", revision.as_str()), (count + 1).to_string());
        let put = guest.ask(Method::PUT, "/v1/kv/default/count", &[JSON, if_revision], &next).await;
        tokio::time::sleep(Duration::from_millis(7)).await;
        if put.status == 200 {
            guest.agree().await
        } else {
            Ended::Failed(Failure::new(FailureCode::FunctionError, "changed"))
        }
    });
}

async fn server(store: &Arc<FaultyStore>, clock: &Arc<TokioClock>, seed: u64) -> World {
    let runtime = ScriptedRuntime::new();
    script(&runtime, seed);
    World::on(store.clone(), Limits::default(), runtime, clock.clone(), seed).await
}

/// Publishes until it is acknowledged, over as many servers as it takes, and waits until all is settled.
/// Returns how many calls changed the store.
async fn story(seed: u64, fault: Option<(u64, Fault)>) -> u64 {
    let memory = Arc::new(MemoryStore::new());
    let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
    let mut store = Arc::new(FaultyStore::new(memory.clone()));
    let mut world = server(&store, &clock, seed).await;
    let patient = "retry = { attempts = 50, initial = \"10ms\", max = \"1s\" }";
    let files = manifest(&[
        ("checkout", &format!("emits = [\"paid\"]\non = [{{ event = \"order\", {patient} }}]")),
        ("ledger", &format!("concurrency = 2\non = [{{ event = \"paid\", {patient} }}]")),
    ]);
    world.engine.deploy(&app(), bundle(&files)).await.unwrap();
    let deployed = store.mutations();
    if let Some((at, fault)) = fault {
        store.fail_at(deployed + at, fault);
    }
    let mut settled = BTreeSet::new();
    let mut next = 0;
    let started = tokio::time::Instant::now();
    while next < ORDERS || settled.len() < 2 * ORDERS as usize {
        assert!(
            started.elapsed() < Duration::from_secs(600),
            "seed {seed}, {fault:?}: not settled: {:#?}",
            world.runs().await
        );
        if store.crashed() {
            // What the dead process had in memory is gone; the next one finds only what was committed.
            let _ = world.engine.drain(Duration::ZERO).await;
            memory.reopen();
            let changed = store.mutations();
            store = Arc::new(FaultyStore::new(memory.clone()));
            world = server(&store, &clock, seed.wrapping_add(changed)).await;
        }
        if next < ORDERS {
            let event = Event::new(format!("order-{next}"), "/shop", "order");
            match world.engine.publish(&app(), vec![event], None).await {
                Ok(_) => next += 1,
                Err(_) => continue,
            }
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        if let Ok(runs) =
            world.store.runs(&evoke_core::store::RunQuery { limit: 1_000, ..Default::default() }).await
        {
            settled.extend(runs.into_iter().filter(|run| run.state == RunState::Completed).map(|run| run.id));
        }
    }
    let label = format!("seed {seed}, {fault:?}");
    assert_eq!(world.kv("count").await, Some(ORDERS.to_string()), "{label}: effects were lost or doubled");
    for order in 0..ORDERS {
        assert!(world.kv(&format!("order-{order}")).await.is_some(), "{label}: order {order} was lost");
    }
    let runs = world.runs().await;
    assert_eq!(runs.len(), 2 * ORDERS as usize, "{label}: {runs:#?}");
    assert!(world.dead_letters().await.is_empty(), "{label}");
    let changed = store.mutations() - if fault.is_none() { deployed } else { 0 };
    world.engine.drain(Duration::from_secs(5)).await.unwrap();
    changed
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_when_the_server_dies_at_any_commit() {
    for seed in 0..2 {
        let commits = story(seed, None).await;
        assert!(commits > 20, "{commits}");
        for at in 1..=commits {
            for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::Before, Fault::After] {
                story(seed, Some((at, fault))).await;
            }
        }
    }
}
