//! Apps that are removed: what goes, what stays, who is waited for, and that it is seen through.

use evoke_engine::Arrival;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::event::Event;
use evoke_core::holdings::Holdings;
use evoke_core::id::{AppName, SubscriptionName};
use evoke_core::lifecycle::APP_REMOVED;
use evoke_core::limits::Limits;
use evoke_core::runtime::Ended;
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::store::{EventQuery, ListQuery, Space};
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock as _;
use evoke_engine::call::CallError;
use evoke_engine::deploy::DeployError;
use evoke_engine::later::When;
use evoke_engine::removal::{RemovalError, RemovalOrder};
use evoke_engine::secrets::SecretError;
use http::Method;
use serde_json::json;

use crate::support::{World, app, bundle, function, manifest};

const HOUR: Duration = Duration::from_secs(3_600);
const SPACES: [fn() -> Space; 14] = [
    Space::apps,
    Space::deployments,
    Space::replays,
    Space::revisions,
    Space::answers,
    Space::order,
    Space::subscriptions,
    Space::secrets,
    Space::later,
    Space::later_ids,
    Space::schedules,
    Space::hooks,
    Space::waits,
    Space::removals,
];

fn drop_pending() -> RemovalOrder {
    RemovalOrder { drop_pending: true, grace: None }
}

fn other() -> AppName {
    AppName::new("other").unwrap()
}

fn of_other(functions: &[(&str, &str)]) -> Bytes {
    bundle(&manifest(functions).replace("\"shop\"", "\"other\""))
}

/// An app that has something of each kind. Its function `f` writes state, a line, and waits for an event.
async fn fill(world: &World) {
    world.runtime.script("f", |guest| async move {
        guest.log("said").await;
        guest.ask(Method::PUT, "/v1/kv/default/key", &[], "1").await;
        let wait = json!({ "event": "never", "timeout_ms": 3_600_000, "then": "f" });
        guest.ask(Method::POST, "/v1/waits", &[], &wait.to_string()).await;
        guest.agree().await
    });
    let name = SecretName::new("KEY").unwrap();
    world.engine.set_secret(&app(), &name, &SecretValue::new("s".to_owned()).unwrap()).await.unwrap();
    let schedules = "\n[schedules.daily]\nevery = \"24h\"\nevent = \"tick\"\n";
    let text = manifest(&[
        ("f", "on = [{ event = \"e\", name = \"s\" }, { event = \"tick\" }]"),
        ("held", "on = [{ event = \"e\", name = \"p\", order = \"subject\" }]"),
    ]);
    world.engine.deploy(&app(), bundle(&(text + schedules))).await.unwrap();
    world.engine.pause(&app(), &function("held"), &SubscriptionName::from_text("p")).await.unwrap();
    for id in ["e1", "e2"] {
        let event = Event::new(id, "/test", "e").with_subject("one");
        let published =
            world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap().remove(0);
        world.ended(&published.runs[0]).await;
    }
    let later = Event::new("later", "/test", "e");
    world.engine.publish_later(&app(), vec![later], When::In(HOUR), Arrival::default()).await.unwrap();
    let mut call = world.request("f", "");
    call.idempotency_key = Some("once".to_owned());
    world.engine.call(call).await.unwrap();
}

/// What is left of an app anywhere.
async fn left(world: &World) -> Vec<String> {
    let mut left = Vec::new();
    let held = world.store.holdings(&app()).await.unwrap();
    if held != Holdings::default() {
        left.push(format!("{held:?}"));
    }
    for space in SPACES.map(|space| space()) {
        let query = ListQuery { space: space.clone(), prefix: String::new(), after: None, limit: 1_000 };
        let entries = world.store.list(&query, world.clock.now()).await.unwrap();
        let own = entries.into_iter().filter(|entry| entry.key.split('/').any(|part| part == "shop"));
        left.extend(own.map(|entry| format!("{} {}", space.0, entry.key)));
    }
    left
}

async fn remove(world: &World, order: RemovalOrder) {
    let removal = world.engine.remove_app(&app(), order).await.unwrap();
    assert!(world.engine.removed(&removal).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_removed_app_and_a_new_one_of_its_name_begins_empty() {
    let world = World::new().await;
    fill(&world).await;
    let inventory = world.engine.inventory(&app()).await.unwrap().unwrap();
    assert_eq!((inventory.functions, inventory.schedules, inventory.secrets), (2, 1, 1));
    assert_eq!((inventory.waits, inventory.delayed, inventory.holdings.pending), (3, 1, 2));
    remove(&world, drop_pending()).await;
    assert_eq!(left(&world).await, Vec::<String>::new());
    assert!(world.engine.app(&app()).is_none());
    assert!(matches!(world.call("f", "").await, Err(CallError::NotFound { .. })));
    assert_eq!(world.runtime.alive(), 0);

    let text = manifest(&[("f", "on = [{ event = \"e\", name = \"s\" }]")]);
    let deployed = world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    assert_eq!(deployed.deployment.version, 1);
    assert!(world.engine.secrets(&app()).is_empty());
    // What was a duplicate before is new.
    let published = world.publish("e1", "e").await;
    assert!(!published.duplicate);
    world.ended(&published.runs[0]).await;
    assert_eq!(world.engine.waits(&app(), None, None, 10).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_app_keeps_what_it_has_and_is_told() {
    let world = World::new().await;
    fill(&world).await;
    let told = format!("on = [{{ event = \"{APP_REMOVED}\" }}]");
    world
        .engine
        .deploy(&other(), of_other(&[("ops", &told), ("f", "on = [{ event = \"e\" }]")]))
        .await
        .unwrap();
    let event = Event::new("mine", "/test", "e");
    world.engine.publish(&other(), vec![event], Arrival::default()).await.unwrap();
    remove(&world, drop_pending()).await;
    let query = EventQuery { app: Some(other()), after: Some(0), limit: 10, ..EventQuery::default() };
    let events = world.store.events(&query).await.unwrap();
    let types: Vec<&str> = events.iter().map(|stored| stored.event.ty()).collect();
    assert_eq!(types, ["e", APP_REMOVED]);
    assert_eq!(events[1].event.subject(), Some("shop"));
    world.ended(&events[1].runs[0]).await;
}

#[tokio::test(start_paused = true)]
async fn an_app_with_work_to_do_is_not_removed_unless_that_is_to_be_dropped() {
    let world = World::new().await;
    world.deploy(&[("f", "on = [{ event = \"e\" }]")]).await;
    let later = Event::new("later", "/test", "e");
    world.engine.publish_later(&app(), vec![later], When::In(HOUR), Arrival::default()).await.unwrap();
    let refused = world.engine.remove_app(&app(), RemovalOrder::default()).await;
    let Err(error @ RemovalError::Pending { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("1 event that waits for its time"), "{error}");
    world.call("f", "").await.unwrap();
    tokio::time::sleep(HOUR + Duration::from_secs(1)).await;
    remove(&world, RemovalOrder::default()).await;
    let again = world.engine.remove_app(&app(), RemovalOrder::default()).await;
    assert!(matches!(again, Err(RemovalError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_may_finish_and_is_ended_after_the_grace() {
    let world = World::new().await;
    world
        .deploy(&[("short", "timeout = \"10m\""), ("long", "timeout = \"10m\"\non = [{ event = \"e\" }]")])
        .await;
    world.runtime.script("short", |guest| async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        guest.ask(Method::PUT, "/v1/kv/default/key", &[], "1").await;
        guest.agree().await
    });
    world.runtime.script("long", |_| std::future::pending::<Ended>());
    world.publish("e1", "e").await;
    let order = RemovalOrder { drop_pending: true, grace: Some(Duration::from_secs(5)) };
    let (short, long, _) = tokio::join!(world.call("short", ""), world.call("long", ""), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let removal = world.engine.remove_app(&app(), order).await.unwrap();
        assert!(matches!(world.call("short", "").await, Err(CallError::NotFound { .. })));
        let name = SecretName::new("KEY").unwrap();
        let set = world.engine.set_secret(&app(), &name, &SecretValue::new("s".to_owned()).unwrap()).await;
        assert!(matches!(set, Err(SecretError::BeingRemoved { .. })));
        let deployed = world.engine.deploy(&app(), bundle(&manifest(&[("short", "")]))).await;
        assert!(matches!(deployed, Err(DeployError::BeingRemoved(_))));
        let asked = world.clock.now();
        assert!(world.engine.removed(&removal).await);
        assert_eq!(world.clock.now().since(asked).as_secs(), 5);
    });
    assert!(short.is_ok(), "{:?}", short.err());
    let Err(CallError::Failed { failure, .. }) = long else { panic!("it has no answer") };
    assert_eq!(failure.message, "app shop was removed before it was done");
    assert_eq!(left(&world).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_seen_through_whenever_the_server_dies() {
    for crash in [Fault::CrashBefore, Fault::CrashAfter] {
        for nth in 1.. {
            let memory = Arc::new(MemoryStore::new());
            let faulty = Arc::new(FaultyStore::new(memory.clone()));
            let world = World::with(faulty.clone(), Limits::default()).await;
            fill(&world).await;
            faulty.fail_at(faulty.mutations() + nth, crash);
            let removal = world.engine.remove_app(&app(), drop_pending()).await;
            let begun = match &removal {
                Ok(removal) => {
                    let over = world.engine.removed(removal);
                    tokio::time::timeout(Duration::from_secs(60), over).await.is_ok()
                }
                Err(_) => false,
            };
            if !faulty.crashed() {
                assert!(begun && nth > 10, "{nth} changes");
                break;
            }
            drop(world.engine.drain(Duration::ZERO).await);
            memory.reopen();
            let (limits, runtime) = (Limits::default(), ScriptedRuntime::new());
            let next = World::on(memory.clone(), limits, runtime, world.clock.clone(), 2).await;
            if next.engine.app(&app()).is_some() {
                // Nothing had been promised.
                assert!(removal.is_err(), "{nth}");
                continue;
            }
            let deployed = async {
                let text = manifest(&[("f", "")]);
                while let Err(error) = next.engine.deploy(&app(), bundle(&text)).await {
                    assert!(matches!(error, DeployError::BeingRemoved(_)), "{error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            deployed.await;
            assert_eq!(next.engine.app(&app()).unwrap().version, 1);
            remove(&next, RemovalOrder::default()).await;
            assert_eq!(left(&next).await, Vec::<String>::new(), "{nth}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_only_delays_a_removal() {
    let memory = Arc::new(MemoryStore::new());
    let faulty = Arc::new(FaultyStore::new(memory));
    let world = World::with(faulty.clone(), Limits::default()).await;
    fill(&world).await;
    let removal = world.engine.remove_app(&app(), drop_pending()).await.unwrap();
    faulty.fail_next(Fault::Before);
    assert!(world.engine.removed(&removal).await);
    assert_eq!(left(&world).await, Vec::<String>::new());
}
