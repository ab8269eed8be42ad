use evoke_engine::Arrival;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::{Event, EventRef};
use evoke_core::limits::Limits;
use evoke_core::record::RunState;
use evoke_core::store::{EventQuery, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::{Guest, ScriptedRuntime};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::ingest::PublishError;
use evoke_engine::later::When;
use http::Method;

use crate::support::{World, app};

const ON_ALL: &str = "on = [{ event = \"*\" }]";
const HOUR: Duration = Duration::from_secs(3600);

fn event(id: &str) -> Event {
    Event::new(id, "/test", "reminder")
}

fn named(id: &str) -> EventRef {
    event(id).reference()
}

async fn send(world: &World, id: &str, when: When) -> Timestamp {
    world.engine.publish_later(&app(), vec![event(id)], when, Arrival::default()).await.unwrap().0
}

/// Ids of the accepted events with the second they were accepted at, counted from `since`, oldest first.
async fn accepted(store: &Arc<dyn Store>, since: Timestamp) -> Vec<(String, u64)> {
    let events = store.events(&EventQuery { limit: 100, ..EventQuery::default() }).await.unwrap();
    let told =
        |e: evoke_core::store::StoredEvent| (e.event.id().to_owned(), e.accepted_at.since(since).as_secs());
    events.into_iter().rev().map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_is_delivered_at_its_time_and_not_before() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ALL)]).await;
    let start = world.engine.now();
    assert_eq!(send(&world, "hour", When::In(HOUR)).await, start.after(HOUR));
    send(&world, "minute", When::At(start.after(Duration::from_secs(60)))).await;
    send(&world, "past", When::At(start.before(HOUR))).await;
    let waiting: Vec<_> =
        world.engine.delayed(&app()).await.unwrap().iter().map(|d| d.event.id().to_owned()).collect();
    assert_eq!(waiting, ["past", "minute", "hour"]);
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(accepted(&world.store, start).await, [("past".to_owned(), 0), ("minute".to_owned(), 60)]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(accepted(&world.store, start).await[2], ("hour".to_owned(), 3600));
    for run in world.runs().await {
        assert_eq!(world.ended(&run.id).await.state, RunState::Completed);
    }
    assert_eq!(world.runs().await.len(), 3);
    assert!(world.engine.delayed(&app()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_to_whoever_is_subscribed_at_its_time() {
    let world = World::new().await;
    world.deploy(&[("before", ON_ALL)]).await;
    send(&world, "e", When::In(HOUR)).await;
    world.deploy(&[("after", ON_ALL)]).await;
    tokio::time::sleep(HOUR + Duration::from_secs(1)).await;
    let runs = world.runs().await;
    assert_eq!(runs.iter().map(|run| run.function.as_str()).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_can_be_taken_back_until_its_time() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ALL)]).await;
    send(&world, "e", When::In(HOUR)).await;
    assert!(world.engine.cancel(&app(), &named("e")).await.unwrap());
    assert!(!world.engine.cancel(&app(), &named("e")).await.unwrap());
    send(&world, "late", When::In(HOUR)).await;
    tokio::time::sleep(2 * HOUR).await;
    assert!(!world.engine.cancel(&app(), &named("late")).await.unwrap());
    assert_eq!(world.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_event_sent_again_moves_to_its_new_time() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ALL)]).await;
    let start = world.engine.now();
    send(&world, "e", When::In(HOUR)).await;
    send(&world, "e", When::In(2 * HOUR)).await;
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!(accepted(&world.store, start).await, [("e".to_owned(), 7200)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_outlives_the_server_and_is_delivered_once() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    world.deploy(&[("a", ON_ALL)]).await;
    let start = world.engine.now();
    send(&world, "e", When::In(HOUR)).await;
    world.engine.drain(Duration::ZERO).await.unwrap();
    store.reopen();
    let clock = Arc::new(TokioClock::starting(start.after(3 * HOUR)));
    let parts =
        |seed| World::on(store.clone(), Limits::default(), ScriptedRuntime::new(), clock.clone(), seed);
    let (one, two) = (parts(2).await, parts(3).await);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(one.runs().await.len(), 1);
    assert_eq!(accepted(&one.store, start).await.len(), 1);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_any_moment_neither_loses_nor_doubles_it() {
    for fault in [Fault::Before, Fault::After] {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let world = World::with(store.clone(), Limits::default()).await;
        world.deploy(&[("a", ON_ALL)]).await;
        send(&world, "e", When::In(HOUR)).await;
        tokio::time::sleep(HOUR - Duration::from_secs(1)).await;
        store.fail_next(fault);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(world.runs().await.len(), 1, "{fault:?}");
        assert!(world.engine.delayed(&app()).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn how_far_away_and_how_many_is_bounded() {
    let limits = Limits { delayed_events: 2, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("a", ON_ALL)]).await;
    let app = app();
    let later = |id: &str, when| world.engine.publish_later(&app, vec![event(id)], when, Arrival::default());
    let far = later("far", When::In(400 * 24 * HOUR)).await.unwrap_err();
    assert_eq!(far.to_string(), "an event may be delivered at most 366d from now");
    for id in ["1", "2"] {
        later(id, When::In(HOUR)).await.unwrap();
    }
    let full = later("3", When::In(HOUR)).await.unwrap_err();
    assert!(matches!(full, PublishError::TooManyWait { limit: 2 }), "{full}");
    tokio::time::sleep(2 * HOUR).await;
    later("3", When::In(HOUR)).await.unwrap();
}

async fn publish(guest: &Guest, query: &str) -> u16 {
    let path = format!("/v1/events{query}");
    guest.ask(Method::POST, &path, &[], r#"{"type":"reminder"}"#).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_function_delays_an_event_with_its_other_effects() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", "emits = [\"reminder\"]\non = [{ event = \"order\" }]"),
            ("b", "on = [{ event = \"reminder\" }]"),
        ])
        .await;
    world.runtime.script("a", |guest| async move {
        assert_eq!(publish(&guest, "?delay_ms=60000").await, 202);
        for wrong in [
            "?delay_ms=x",
            "?deliver_at=tomorrow",
            "?delay_ms=1&deliver_at=2030-01-01T00:00:00Z",
            "?delay_ms=99999999999999",
        ] {
            assert_eq!(publish(&guest, wrong).await, 400, "{wrong}");
        }
        guest.agree().await
    });
    let start = world.engine.now();
    let published = world.publish("e1", "order").await;
    let first = world.ended(&published.runs[0]).await;
    assert_eq!(world.engine.delayed(&app()).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(accepted(&world.store, start).await[1].1, 60);
    let runs = world.runs().await;
    let second = runs.iter().find(|run| run.function.as_str() == "b").unwrap();
    assert_eq!(second.cause.parent, Some(first.id));
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_delays_nothing() {
    let world = World::new().await;
    let on = "emits = [\"reminder\"]\non = [{ event = \"order\", retry = { attempts = 1 } }]";
    world.deploy(&[("a", on)]).await;
    world.runtime.script("a", |guest| async move {
        publish(&guest, "?delay_ms=60000").await;
        let failure =
            evoke_core::outcome::Failure::new(evoke_core::outcome::FailureCode::FunctionError, "no");
        evoke_core::runtime::Ended::Failed(failure)
    });
    let published = world.publish("e1", "order").await;
    world.ended(&published.runs[0]).await;
    assert!(world.engine.delayed(&app()).await.unwrap().is_empty());
}
