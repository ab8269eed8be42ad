//! Promoting, going back, and what a crash or another node makes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::rollout::Portion;
use evoke_core::runtime::Ended;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::store::MemoryStore;
use evoke_engine::deploy::DeployOrder;
use evoke_engine::rollout::{RolloutError, State};
use http::Method;

use super::{canary, settings, version};
use crate::support::{World, app, manifest};

impl World {
    async fn states(&self) -> Vec<(u64, String)> {
        let word = |state: &State| match state {
            State::Current { .. } => "current".to_owned(),
            State::Canary { weight } => weight.to_string(),
            State::Withdrawn(why) if why.automatic => "gone by itself".to_owned(),
            State::Withdrawn(_) => "withdrawn".to_owned(),
            State::Former => "former".to_owned(),
        };
        let versions = self.engine.versions(&app()).await.unwrap();
        versions.iter().map(|found| (found.deployment.version, word(&found.state))).collect()
    }
}

fn states(of: &[(u64, &str)]) -> Vec<(u64, String)> {
    of.iter().map(|(version, word)| (*version, (*word).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_is_promoted_keeps_its_number_and_its_instances() {
    let world = World::new().await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(100)).await.unwrap();
    assert_eq!(world.call("a", "").await.unwrap().1, "2");
    let starts = world.runtime.starts();
    assert!(matches!(
        world.engine.promote_canary(&app(), Some(7)).await,
        Err(RolloutError::OtherCanary { asked: 7, found: 2, .. })
    ));
    world.engine.promote_canary(&app(), Some(2)).await.unwrap();
    assert_eq!(world.engine.app(&app()).unwrap().version, 2);
    assert_eq!(world.share_of("2", 50).await, 1.0);
    assert_eq!(world.runtime.starts(), starts);
    assert_eq!(world.states().await, states(&[(2, "current"), (1, "former")]));
    assert!(matches!(world.engine.promote_canary(&app(), None).await, Err(RolloutError::NoCanary { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_a_promoted_version_allows_at_once_counts_from_then_on() {
    let world = World::new().await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.respond(200, "").await;
        Ended::Returned { events: Vec::new() }
    });
    world.put(1, "concurrency = 1", DeployOrder::default()).await.unwrap();
    world.put(2, "concurrency = 4", canary(100)).await.unwrap();
    world.engine.promote_canary(&app(), None).await.unwrap();
    let started = tokio::time::Instant::now();
    let calls = (0..4).map(|_| world.call("a", ""));
    futures_util::future::join_all(calls).await.into_iter().for_each(|answered| drop(answered.unwrap()));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_deployed_takes_the_place_of_a_canary_and_numbers_are_not_given_twice() {
    let world = World::new().await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(10)).await.unwrap();
    let third = world.put(3, "", DeployOrder::default()).await.unwrap();
    assert_eq!(third.warnings, ["the canary, version 2, is withdrawn"]);
    assert_eq!(world.share_of("3", 50).await, 1.0);
    let fourth = world.put(4, "", canary(10)).await.unwrap();
    assert_eq!(fourth.deployment.version, 4);
    world.engine.withdraw_canary(&app(), None).await.unwrap();
    assert_eq!(world.put(5, "", canary(10)).await.unwrap().deployment.version, 5);
    let all = [(5, "10%"), (4, "withdrawn"), (3, "current"), (2, "withdrawn"), (1, "former")];
    assert_eq!(world.states().await, states(&all));
}

#[tokio::test(start_paused = true)]
async fn going_back_brings_the_version_before_and_going_back_again_the_one_before_that() {
    let world = World::new().await;
    world.tells_its_version();
    for v in 1..=3 {
        world.put(v, "", DeployOrder::default()).await.unwrap();
    }
    let back = world.engine.roll_back(&app(), None).await.unwrap().deployment;
    assert_eq!((back.version, back.back_to), (4, Some(2)));
    assert_eq!(world.call("a", "").await.unwrap().1, "2");
    let back = world.engine.roll_back(&app(), None).await.unwrap().deployment;
    assert_eq!((back.version, back.back_to), (5, Some(1)));
    assert_eq!(world.call("a", "").await.unwrap().1, "1");
    assert!(matches!(
        world.engine.roll_back(&app(), None).await,
        Err(RolloutError::NothingBefore { version: 1, .. })
    ));
    let all = [(5, "current"), (4, "withdrawn"), (3, "withdrawn"), (2, "former"), (1, "former")];
    assert_eq!(world.states().await, states(&all));
    // By its number also what was left.
    let back = world.engine.roll_back(&app(), Some(3)).await.unwrap().deployment;
    assert_eq!((back.version, back.back_to), (6, Some(3)));
    assert!(matches!(
        world.engine.roll_back(&app(), Some(17)).await,
        Err(RolloutError::NoVersion { version: 17, .. })
    ));
    // After the next deploy it is what ran before that.
    world.put(7, "", DeployOrder::default()).await.unwrap();
    assert_eq!(world.engine.roll_back(&app(), None).await.unwrap().deployment.back_to, Some(3));
}

#[tokio::test(start_paused = true)]
async fn going_back_from_files_that_were_deployed_twice_does_not_bring_them_again() {
    let world = World::new().await;
    world.tells_its_version();
    for v in [1, 2, 2] {
        world.put(v, "", DeployOrder::default()).await.unwrap();
    }
    let back = world.engine.roll_back(&app(), None).await.unwrap().deployment;
    assert_eq!((back.version, back.back_to), (4, Some(1)));
    assert_eq!(world.call("a", "").await.unwrap().1, "1");
}

#[tokio::test(start_paused = true)]
async fn of_two_deployments_at_once_one_happens_and_the_other_is_told() {
    let world = World::new().await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    // Both have to start an instance before they can be written.
    world.runtime.start_takes(std::time::Duration::from_millis(50));
    let (two, three) =
        tokio::join!(world.put(2, "", DeployOrder::default()), world.put(3, "", DeployOrder::default()));
    let (won, told) = match (two, three) {
        (Ok(_), Err(told)) => ("2", told),
        (Err(told), Ok(_)) => ("3", told),
        both => panic!("{both:?}"),
    };
    assert!(matches!(told, evoke_engine::deploy::DeployError::Concurrent(_)), "{told}");
    assert_eq!(
        (world.engine.app(&app()).unwrap().version, world.call("a", "").await.unwrap().1.as_str()),
        (2, won)
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_load_any_more_does_not_come_back() {
    let world = World::new().await;
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", DeployOrder::default()).await.unwrap();
    world.runtime.break_start("a", "no such module");
    assert!(matches!(world.engine.roll_back(&app(), None).await, Err(RolloutError::Deploy(_))));
    assert_eq!(world.states().await, states(&[(2, "current"), (1, "former")]));
}

#[tokio::test(start_paused = true)]
async fn each_answer_is_of_one_version_while_versions_come_and_go() {
    let world = World::new().await;
    let functions = |v| manifest(&[("a", &settings(v, "")), ("b", &settings(v, ""))]);
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let inner = guest.ask(Method::POST, "/v1/functions/b", &[], "").await;
        let inner = String::from_utf8_lossy(&inner.body).into_owned();
        guest.respond(200, &format!("{}{inner}", version(&guest.spec.env))).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("b", |guest| async move {
        guest.respond(200, &version(&guest.spec.env)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.put_manifest(&functions(1), DeployOrder::default()).await.unwrap();
    let clients = (0..8).map(|_| async {
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            seen.insert(world.call("a", "").await.unwrap().1);
        }
        seen
    });
    let pause = || tokio::time::sleep(Duration::from_millis(30));
    let versions = async {
        for v in 2..6 {
            pause().await;
            world.put_manifest(&functions(v), canary(30)).await.unwrap();
            pause().await;
            match v % 2 {
                0 => drop(world.engine.promote_canary(&app(), None).await.unwrap()),
                _ => drop(world.engine.withdraw_canary(&app(), None).await.unwrap()),
            }
            pause().await;
            world.engine.roll_back(&app(), Some(1)).await.unwrap();
        }
    };
    let (clients, ()) = tokio::join!(futures_util::future::join_all(clients), versions);
    for seen in clients {
        assert!(seen.len() > 1, "{seen:?}");
        assert!(seen.iter().all(|both| ["11", "22", "33", "44", "55"].contains(&&**both)), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_does_not_meet_functions_of_another_version_while_both_run() {
    let world = World::new().await;
    let functions = |v| manifest(&[("a", &settings(v, "")), ("b", &settings(v, ""))]);
    world.runtime.script("a", |guest| async move {
        let inner = guest.ask(Method::POST, "/v1/functions/b", &[], "").await;
        let inner = String::from_utf8_lossy(&inner.body).into_owned();
        guest.respond(200, &format!("{}{inner}", version(&guest.spec.env))).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("b", |guest| async move {
        guest.respond(200, &version(&guest.spec.env)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.put_manifest(&functions(1), DeployOrder::default()).await.unwrap();
    world.put_manifest(&functions(2), canary(50)).await.unwrap();
    for _ in 0..50 {
        let answer = world.call("a", "").await.unwrap().1;
        assert!(answer == "11" || answer == "22", "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_there_after_a_restart_and_so_is_what_was_withdrawn() {
    let world = World::new().await;
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(100)).await.unwrap();
    let again = World::with(world.store.clone(), Limits::default()).await;
    again.tells_its_version();
    assert_eq!(again.engine.canary(&app()).unwrap().weight, Portion::ALL);
    assert_eq!(again.call("a", "").await.unwrap().1, "2");
    again.engine.withdraw_canary(&app(), None).await.unwrap();
    let third = World::with(world.store.clone(), Limits::default()).await;
    third.tells_its_version();
    assert_eq!(third.engine.canary(&app()), None);
    assert_eq!(third.call("a", "").await.unwrap().1, "1");
}

#[tokio::test(start_paused = true)]
async fn another_node_follows_what_one_node_does() {
    let first = World::new().await;
    let second = World::with(first.store.clone(), Limits::default()).await;
    let moment = || tokio::time::sleep(Duration::from_secs(1));
    first.put(1, "", DeployOrder::default()).await.unwrap();
    first.put(2, "", canary(25)).await.unwrap();
    moment().await;
    assert_eq!(second.engine.canary(&app()).unwrap().weight, Portion::percent(25));
    second.engine.weigh_canary(&app(), Portion::percent(50)).await.unwrap();
    moment().await;
    assert_eq!(first.engine.canary(&app()).unwrap().weight, Portion::percent(50));
    first.engine.promote_canary(&app(), None).await.unwrap();
    moment().await;
    assert_eq!((second.engine.canary(&app()), second.engine.app(&app()).unwrap().version), (None, 2));
    second.engine.roll_back(&app(), None).await.unwrap();
    moment().await;
    assert_eq!(first.engine.app(&app()).unwrap().back_to, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_store_does_not_take_changes_nothing() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(store.clone(), Limits::default()).await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(100)).await.unwrap();
    store.fail_next(Fault::Before);
    assert!(world.engine.promote_canary(&app(), None).await.is_err());
    store.fail_next(Fault::Before);
    assert!(world.engine.withdraw_canary(&app(), None).await.is_err());
    assert_eq!(world.states().await, states(&[(2, "100%"), (1, "current")]));
    assert_eq!(world.call("a", "").await.unwrap().1, "2");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_which_nobody_knows_whether_it_happened_is_found_out() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(store.clone(), Limits::default()).await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(100)).await.unwrap();
    store.fail_next(Fault::After);
    assert!(world.engine.promote_canary(&app(), None).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.states().await, states(&[(2, "current"), (1, "former")]));
    assert_eq!((world.engine.app(&app()).unwrap().version, world.engine.canary(&app())), (2, None));
}

#[tokio::test(start_paused = true)]
async fn the_files_of_the_last_versions_stay_also_after_a_restart() {
    let world = World::new().await;
    let mut bundles = Vec::new();
    for v in 1..=6 {
        let deployed = world.put(v, "", DeployOrder::default()).await.unwrap();
        bundles.push(deployed.deployment.bundle.clone());
    }
    let wanted = |world: &World| {
        let wanted = world.runtime.wanted();
        bundles.iter().map(|bundle| wanted.contains(bundle)).collect::<Vec<_>>()
    };
    let last = [false, false, true, true, true, true];
    tokio::time::sleep(Duration::from_secs(3_601)).await;
    assert_eq!(wanted(&world), last);
    let again = World::with(world.store.clone(), Limits::default()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(wanted(&again), last);
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_still_calls_functions_of_its_own_version_also_those_that_are_gone() {
    let world = World::new().await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let inner = guest.ask(Method::POST, "/v1/functions/b", &[], "").await;
        guest.respond(inner.status.as_u16(), &String::from_utf8_lossy(&inner.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("b", |guest| async move {
        guest.respond(200, &version(&guest.spec.env)).await;
        Ended::Returned { events: Vec::new() }
    });
    let with_b = |v| manifest(&[("a", &settings(v, "")), ("b", &settings(v, ""))]);
    let alone = manifest(&[("a", &settings(9, ""))]);
    world.put_manifest(&with_b(1), DeployOrder::default()).await.unwrap();
    for next in [with_b(2), alone] {
        let now = format!("{}", world.engine.app(&app()).unwrap().version);
        let (answered, ()) = tokio::join!(world.call("a", ""), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            world.put_manifest(&next, DeployOrder::default()).await.unwrap();
        });
        assert_eq!(answered.unwrap().1, now);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.runtime.alive(), 0, "an instance of a former version is left");
}
