use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::store::{EventQuery, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::Engine;

use crate::support::{World, app, bundle, manifest};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A server on `store` whose clock shows `now`.
async fn server(store: &Arc<MemoryStore>, now: &str, seed: u64) -> World {
    let clock = Arc::new(TokioClock::starting(at(now)));
    World::on(store.clone(), Limits::default(), ScriptedRuntime::new(), clock, seed).await
}

/// One function that takes everything, and a schedule.
async fn deploy(engine: &Engine, schedule: &str) {
    let text = manifest(&[("a", "on = [{ event = \"*\" }]")]) + "[schedules.tick]\n" + schedule;
    engine.deploy(&app(), bundle(&text)).await.unwrap();
}

/// Ids of the events that were accepted, oldest first. They are the times the schedule fired at.
async fn fired(store: &MemoryStore) -> Vec<String> {
    let events = store.events(&EventQuery { limit: 1_000, ..EventQuery::default() }).await.unwrap();
    events.iter().rev().map(|stored| stored.event.id().to_owned()).collect()
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_interval_publishes_an_event_each_time_that_starts_who_is_subscribed() {
    let store = Arc::new(MemoryStore::new());
    let world = server(&store, "2026-11-20T10:00:03Z", 1).await;
    deploy(&world.engine, "every = \"10s\"\nevent = \"tick\"\ndata = { kind = \"full\" }").await;
    pass(28).await;
    let expected = ["2026-11-20T10:00:10Z", "2026-11-20T10:00:20Z", "2026-11-20T10:00:30Z"];
    assert_eq!(fired(&store).await, expected);
    let event = store.events(&EventQuery { limit: 1, ..EventQuery::default() }).await.unwrap().remove(0);
    assert_eq!((event.event.source(), event.event.ty()), ("/shop/schedules/tick", "tick"));
    assert_eq!(event.event.time(), Some("2026-11-20T10:00:30Z"));
    let json = evoke_core::event::json::to_json(&event.event);
    assert_eq!(json["data"], serde_json::json!({ "kind": "full" }));
    for run in world.runs().await {
        world.ended(&run.id).await;
    }
    assert_eq!(world.runs().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cron_expression_fires_at_the_time_of_its_zone_through_both_changes_of_clock() {
    for (start, days, expected) in [
        ("2026-03-27T12:00:00Z", 3, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-23T12:00:00Z", 3, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ] {
        let store = Arc::new(MemoryStore::new());
        let world = server(&store, start, 1).await;
        deploy(&world.engine, "cron = \"30 2 * * *\"\ntimezone = \"Europe/Zurich\"").await;
        pass(days * 24 * 60 * 60).await;
        assert_eq!(fired(&store).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_was_missed_while_no_server_ran_the_latest_is_made_up_once() {
    let store = Arc::new(MemoryStore::new());
    let world = server(&store, "2026-11-20T10:00:03Z", 1).await;
    deploy(&world.engine, "cron = \"0 * * * *\"").await;
    pass(1).await;
    world.engine.drain(Duration::ZERO).await.unwrap();

    store.reopen();
    let world = server(&store, "2026-11-20T14:20:00Z", 2).await;
    pass(1).await;
    assert_eq!(fired(&store).await, ["2026-11-20T14:00:00Z"]);
    pass(41 * 60).await;
    assert_eq!(fired(&store).await, ["2026-11-20T14:00:00Z", "2026-11-20T15:00:00Z"]);
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_longer_ago_than_catch_up_is_not_made_up() {
    let store = Arc::new(MemoryStore::new());
    let world = server(&store, "2026-11-20T10:00:03Z", 1).await;
    deploy(&world.engine, "cron = \"0 * * * *\"\ncatch_up = \"10m\"").await;
    pass(1).await;
    world.engine.drain(Duration::ZERO).await.unwrap();

    store.reopen();
    let world = server(&store, "2026-11-20T14:20:00Z", 2).await;
    pass(5).await;
    assert!(fired(&store).await.is_empty());
    pass(40 * 60).await;
    assert_eq!(fired(&store).await, ["2026-11-20T15:00:00Z"]);
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn several_servers_fire_a_schedule_once() {
    let store = Arc::new(MemoryStore::new());
    let one = server(&store, "2026-11-20T10:00:03Z", 1).await;
    let two = server(&store, "2026-11-20T10:00:04Z", 2).await;
    deploy(&one.engine, "every = \"5s\"").await;
    pass(60).await;
    let times = fired(&store).await;
    let mut once = times.clone();
    once.dedup();
    assert!(times.len() >= 11 && once == times, "{times:?}");
    assert_eq!(one.runs().await.len(), times.len());
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_begins_when_it_is_deployed_and_ends_when_it_is_gone() {
    let store = Arc::new(MemoryStore::new());
    let world = server(&store, "2026-11-20T10:00:03Z", 1).await;
    deploy(&world.engine, "cron = \"0 * * * *\"").await;
    pass(10).await;
    assert!(fired(&store).await.is_empty(), "it made up what was before it was there");
    // Another timer is another schedule: nothing is made up for it either.
    deploy(&world.engine, "cron = \"30 * * * *\"").await;
    pass(60 * 60).await;
    assert_eq!(fired(&store).await, ["2026-11-20T10:30:00Z"]);
    world.deploy(&[("a", "on = [{ event = \"*\" }]")]).await;
    pass(2 * 60 * 60).await;
    assert_eq!(fired(&store).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn schedules_are_listed_with_the_times_to_come() {
    let store = Arc::new(MemoryStore::new());
    let world = server(&store, "2026-11-20T10:00:03Z", 1).await;
    deploy(&world.engine, "every = \"10s\"").await;
    pass(8).await;
    let list = world.engine.schedules(&app()).await.unwrap().unwrap();
    assert_eq!(
        (list.len(), list[0].name.as_str(), list[0].schedule.event.as_str()),
        (1, "tick", "schedule.tick")
    );
    assert_eq!(list[0].last, Some(at("2026-11-20T10:00:10Z")));
    let next: Vec<_> =
        ["2026-11-20T10:00:20Z", "2026-11-20T10:00:30Z", "2026-11-20T10:00:40Z"].map(at).into();
    assert_eq!(list[0].next, next);
}
