//! What is kept, and for how long.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::SubscriptionName;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::store::{ListQuery, Space};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock;
use evoke_engine::explain::{ExplainError, Fate, Then};

use crate::support::{World, app, bundle, function, manifest};

const ARCHIVE: &str = r#"
[archive]
keep = "2h"
[[archive.types]]
type = "page.*"
keep = "1m"
[[archive.types]]
type = "beat"
keep = "1m"
even_if_needed = true
"#;

async fn world() -> World {
    let world = World::new().await;
    let late = "retry = { attempts = 9, backoff = \"fixed\", initial = \"1d\", max = \"1d\" }";
    let text = manifest(&[
        ("sees", "on = [{ event = \"page.*\" }, { event = \"order\" }]"),
        ("picks", "on = [{ event = \"page.*\", pattern = { data = { id = [\"other\"] } } }]"),
        ("fails", &format!("on = [{{ event = \"beat\", {late} }}, {{ event = \"page.failed\", {late} }}]")),
    ]);
    let fails = || Ended::Failed(Failure::new(FailureCode::FunctionError, "no"));
    world.runtime.script("fails", move |_| async move { fails() });
    world.engine.deploy(&app(), bundle(&(text + ARCHIVE))).await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn events_are_kept_as_the_manifest_says_of_their_type() {
    let world = world().await;
    let view = world.publish("view", "page.view").await;
    let order = world.publish("order", "order").await;
    for run in view.runs.iter().chain(&order.runs) {
        world.ended(run).await;
    }
    tokio::time::sleep(Duration::from_secs(5 * 60)).await;
    let explained = world.engine.explain(&app(), "view", None).await.unwrap();
    assert!(explained.event.expired_at.is_some() && explained.event.event.data().is_none());
    let of = |name: &str| explained.subscriptions.iter().find(|one| one.function.as_str() == name).unwrap();
    assert!(matches!(of("sees").deliveries[0].fate, Fate::Delivered { .. }));
    assert_eq!(of("picks").then, Then::Unknown, "what it saw is gone");
    assert!(world.engine.event(&app(), "order", None).await.unwrap().expired_at.is_none());
    assert!(world.publish("view", "page.view").await.duplicate);

    tokio::time::sleep(Duration::from_secs(25 * 3_600)).await;
    let gone = world.engine.explain(&app(), "view", None).await;
    assert!(matches!(gone, Err(ExplainError::NoEvent { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_a_subscription_still_needs_is_kept_unless_the_manifest_says_otherwise() {
    let world = world().await;
    let kept = world.publish("kept", "page.failed").await;
    let beat = world.publish("beat", "beat").await;
    tokio::time::sleep(Duration::from_secs(5 * 60)).await;
    let kept_now = world.engine.event(&app(), "kept", None).await.unwrap();
    assert!(kept_now.expired_at.is_none() && kept_now.event.data().is_some());
    assert_eq!(kept.runs.len(), 2);

    let run = world.ended(&beat.runs[0]).await;
    assert_eq!(run.state, RunState::Failed);
    let explained = world.engine.explain(&app(), "beat", None).await.unwrap();
    let Fate::Dropped { reason, .. } = &explained.subscriptions[0].deliveries[0].fate else {
        panic!("{:?}", explained.subscriptions[0].deliveries)
    };
    assert!(reason.contains("no longer kept"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn deployments_are_kept_to_go_back_to_and_for_the_events_that_met_them() {
    let limits = Limits { deployments_kept: 3, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    let mut bundles = Vec::new();
    for n in 1..=10 {
        let functions = manifest(&[("a", &format!("env = {{ N = \"{n}\" }}")), ("same", "")]);
        let text = functions + "[archive]\nkeep = \"3h\"\n";
        world.engine.deploy(&app(), bundle(&text)).await.unwrap();
        bundles.push(world.engine.app(&app()).unwrap().bundle.clone());
        if n == 5 {
            world.publish("e1", "order").await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(kept(&world).await, [5, 6, 7, 8, 9, 10], "the event can still be explained");
    tokio::time::sleep(Duration::from_secs(12 * 3_600)).await;
    assert_eq!(kept(&world).await, [8, 9, 10]);
    for (name, revisions) in [("a", 3), ("same", 3)] {
        let kept = world.engine.revisions(&app(), &function(name)).await.unwrap();
        assert_eq!(kept.len(), revisions, "{name}: {kept:?}");
    }
    let mut there = Vec::new();
    for bundle in &bundles {
        there.push(world.store.get_object(bundle).await.unwrap().is_some());
    }
    assert_eq!(there, [false, false, false, false, false, false, false, true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn deployments_have_a_bound_however_many_events_met_them() {
    let limits = Limits { deployments_kept: 2, deployments: 4, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    for n in 1..=9 {
        world.deploy(&[("a", &format!("env = {{ N = \"{n}\" }}"))]).await;
        world.publish(&format!("e{n}"), "order").await;
    }
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(kept(&world).await, [6, 7, 8, 9]);
    assert!(world.engine.explain(&app(), "e1", None).await.unwrap().deployed_at.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_of_a_subscription_or_schedule_goes_with_the_last_deployment_that_had_it() {
    let limits = Limits { deployments_kept: 2, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    let on = "on = [{ event = \"e\", name = \"s\" }, { event = \"tick\" }]";
    let text = manifest(&[("a", on)]) + "[schedules.daily]\nevery = \"24h\"\nevent = \"tick\"\n";
    world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    world.engine.pause(&app(), &function("a"), &SubscriptionName::from_text("s")).await.unwrap();
    let hour = Duration::from_secs(3_601);
    tokio::time::sleep(hour).await;
    assert_eq!(noted(&world).await, ["shop/a/s", "shop/daily"]);
    world.deploy(&[("b", "")]).await;
    tokio::time::sleep(hour).await;
    assert_eq!(noted(&world).await, ["shop/a/s", "shop/daily"], "one can go back");
    world.deploy(&[("c", "")]).await;
    tokio::time::sleep(hour).await;
    assert_eq!(noted(&world).await, Vec::<String>::new());
}

/// Keys of what is noted of subscriptions, hooks and schedules.
async fn noted(world: &World) -> Vec<String> {
    let mut keys = Vec::new();
    for space in [Space::subscriptions(), Space::hooks(), Space::schedules()] {
        let query = ListQuery { space, prefix: String::new(), after: None, limit: 100 };
        let entries = world.store.list(&query, world.clock.now()).await.unwrap();
        keys.extend(entries.into_iter().map(|entry| entry.key));
    }
    keys
}

/// Versions of the deployments that are kept.
async fn kept(world: &World) -> Vec<u64> {
    let query = ListQuery { space: Space::deployments(), prefix: String::new(), after: None, limit: 100 };
    let entries = world.store.list(&query, world.clock.now()).await.unwrap();
    let version = |key: &str| u64::from_str_radix(key.rsplit('/').next().unwrap(), 16).unwrap();
    entries.iter().map(|entry| version(&entry.key)).collect()
}
