use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::id::SubscriptionName;
use evoke_core::limits::Limits;
use evoke_core::record::{RunState, Trigger};
use evoke_core::store::{EventQuery, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::Arrival;
use evoke_engine::replay::{Replay, State};
use parking_lot::Mutex;
use serde_json::json;

use crate::support::{World, app, function};

const OLD: (&str, &str) = ("old", "on = [{ event = \"order\" }]");
const NEW: (&str, &str) = ("new", "on = [{ event = \"order\", from = \"beginning\", order = \"subject\" }]");

type Seen = Arc<Mutex<Vec<String>>>;

/// Notes the ids of the events that a function is called with.
fn watch(world: &World, name: &'static str) -> Seen {
    let seen = Seen::default();
    let noted = seen.clone();
    world.runtime.script(name, move |guest| {
        noted.lock().extend(guest.event().map(|event| event.id().to_owned()));
        guest.agree()
    });
    seen
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("e{n}")).collect()
}

fn order(n: usize) -> Event {
    Event::new(format!("e{n}"), "/test", "order").with_subject("one")
}

async fn publish(world: &World, numbers: std::ops::Range<usize>) {
    let events: Vec<Event> = numbers.map(order).collect();
    for some in events.chunks(100) {
        world.engine.publish(&app(), some.to_vec(), Arrival::default()).await.unwrap();
    }
}

/// Waits until nobody catches up any more and nothing is queued.
async fn settled(world: &World) -> Vec<Replay> {
    loop {
        let replays = world.engine.replays(&app()).await.unwrap();
        let is_running = replays.iter().any(|replay| replay.state == State::Running);
        if !is_running && world.store.due().await.unwrap().is_empty() {
            return replays;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_starts_at_the_beginning_gets_what_was_accepted_before_and_then_the_rest_in_order()
 {
    let world = World::new().await;
    world.deploy(&[OLD]).await;
    publish(&world, 0..450).await;
    let seen = watch(&world, "new");
    world.deploy(&[OLD, NEW]).await;
    // While it catches up.
    publish(&world, 450..500).await;
    let replays = settled(&world).await;
    publish(&world, 500..510).await;
    settled(&world).await;
    assert_eq!(*seen.lock(), ids(0..510));
    let [replay] = &replays[..] else { panic!("{replays:?}") };
    assert!(matches!(replay.state, State::Done { .. }));
    assert_eq!(replay.delivered, 500);
    let explained = world.engine.explain(&app(), "e0", None).await.unwrap();
    let new = explained.subscriptions.iter().find(|one| one.function.as_str() == "new").unwrap();
    assert_eq!(new.deliveries.len(), 1);
    assert_eq!(new.deliveries[0].replay, None, "it is no repetition");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_still_to_come_is_explained_as_that() {
    let world = World::new().await;
    world.deploy(&[OLD]).await;
    publish(&world, 0..2_000).await;
    world.runtime.script("new", |_| std::future::pending());
    world.deploy(&[OLD, NEW]).await;
    let explained = world.engine.explain(&app(), "e1999", None).await.unwrap();
    let new = explained.subscriptions.iter().find(|one| one.function.as_str() == "new").unwrap();
    assert!(new.behind.is_some_and(|behind| behind > 0), "{new:?}");
    assert!(new.deliveries.is_empty());
    let old = explained.subscriptions.iter().find(|one| one.function.as_str() == "old").unwrap();
    assert_eq!(old.behind, None);
}

#[tokio::test(start_paused = true)]
async fn it_starts_where_the_manifest_says() {
    let start = Timestamp::from_millis(1_700_000_000_000);
    let at = start.after(Duration::from_secs(15)).to_rfc3339();
    for (from, expected) in [
        ("now", ids([])),
        ("beginning", ids(0..4)),
        ("25s", ids(2..4)),
        ("7d", ids(0..4)),
        (at.as_str(), ids(2..4)),
        ("2100-01-01T00:00:00Z", ids([])),
    ] {
        let world = World::new().await;
        world.deploy(&[OLD]).await;
        for n in 0..4 {
            publish(&world, n..n + 1).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let seen = watch(&world, "new");
        let on = format!("on = [{{ event = \"ord*\", from = \"{from}\" }}]\nconcurrency = 1");
        world.deploy(&[OLD, ("new", &on)]).await;
        settled(&world).await;
        let mut came = seen.lock().clone();
        came.sort();
        assert_eq!(came, expected, "{from}");
        publish(&world, 4..5).await;
        settled(&world).await;
        assert_eq!(seen.lock().last().map(String::as_str), Some("e4"), "{from}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_there_does_not_start_again_and_one_that_comes_back_does() {
    let world = World::new().await;
    world.deploy(&[OLD]).await;
    publish(&world, 0..3).await;
    let seen = watch(&world, "new");
    world.deploy(&[OLD, NEW]).await;
    settled(&world).await;
    world.deploy(&[OLD, NEW]).await;
    // Another position, and a setting beside it.
    let other = "on = [{ event = \"order\", from = \"7d\", order = \"subject\" }]\ntimeout = \"3s\"";
    let deployed = world.deploy_telling(&[OLD, ("new", other)]).await;
    let [warning] = &deployed.warnings[..] else { panic!("{:?}", deployed.warnings) };
    assert!(warning.contains("new/order has started already"), "{warning}");
    assert_eq!(settled(&world).await.len(), 1);
    assert_eq!(*seen.lock(), ids(0..3));
    world.deploy(&[OLD]).await;
    publish(&world, 3..4).await;
    world.deploy(&[OLD, NEW]).await;
    settled(&world).await;
    assert_eq!(*seen.lock(), ids([0, 1, 2, 0, 1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_removed_while_it_catches_up_ends_and_begins_anew_when_it_is_back() {
    let world = World::new().await;
    world.deploy(&[OLD]).await;
    publish(&world, 0..600).await;
    world.runtime.script("new", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.agree().await
    });
    world.deploy(&[OLD, NEW]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.deploy(&[OLD]).await;
    let replays = world.engine.replays(&app()).await.unwrap();
    let State::Failed { reason, .. } = &replays[0].state else { panic!("{replays:?}") };
    assert_eq!(reason, "subscription order was removed");
    world.deploy(&[OLD, NEW]).await;
    let replays = world.engine.replays(&app()).await.unwrap();
    assert_eq!((replays.len(), &replays[0].state), (2, &State::Running));
    // It waits for what the first one left in the queue.
    world.engine.drain(Duration::ZERO).await.unwrap();
}

/// Many publish, also functions that began before the deployment, while it becomes live: every event of the log has exactly one
/// delivery to it, those of a key in the order of the log.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_doubled_or_overtaken_where_it_becomes_live() {
    for round in 0..12 {
        // Every change takes its time, each another.
        let store = FaultyStore::new(Arc::new(MemoryStore::new()));
        for change in 1..40_000 {
            store.fail_at(change, Fault::Late(Duration::from_micros(200 + (change + round) * 7_919 % 9_000)));
        }
        let world = World::with(Arc::new(store), Limits::default()).await;
        let relay = "on = [{ event = \"click\" }]\nemits = [\"order\"]\nconcurrency = 100";
        world.deploy(&[OLD, ("relay", relay)]).await;
        world.runtime.script("relay", move |guest| async move {
            let late = guest.event().is_some_and(|event| event.id().ends_with('0'));
            tokio::time::sleep(Duration::from_millis(if late { 900 } else { 7 })).await;
            assert!(guest.publish("order", json!({})).await);
            guest.agree().await
        });
        publish(&world, 0..40).await;
        let seen = watch(&world, "new");
        let is_over = Mutex::new(false);
        let (world, is_over) = (&world, &is_over);
        let publishers = (1..=6).map(|who| async move {
            let mut after = 0;
            for n in 0.. {
                let event =
                    Event::new(format!("w{who}-{n}"), "/test", "order").with_subject(format!("w{who}"));
                world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap();
                world.publish(&format!("c{who}-{n}"), "click").await;
                after += usize::from(*is_over.lock());
                if after > 5 {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(9_000 + 1_700 * who)).await;
            }
        });
        let deployed = async {
            tokio::time::sleep(Duration::from_millis(40 + round * 7)).await;
            world.deploy(&[OLD, NEW, ("relay", relay)]).await;
            while world.engine.replays(&app()).await.unwrap()[0].state == State::Running {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            *is_over.lock() = true;
        };
        tokio::join!(futures_util::future::join_all(publishers), deployed);
        settled(world).await;
        let query = EventQuery {
            ty: Some("order".to_owned()),
            after: Some(0),
            limit: 5_000,
            ..EventQuery::default()
        };
        let log = world.store.events(&query).await.unwrap();
        let log: Vec<String> = log.iter().map(|stored| stored.event.id().to_owned()).collect();
        let seen = seen.lock().clone();
        for key in ["e", "w1-", "w2-", "w3-", "w4-", "w5-", "w6-"] {
            let of_key = |ids: &[String]| -> Vec<String> {
                ids.iter().filter(|id| id.starts_with(key)).cloned().collect()
            };
            assert_eq!(of_key(&seen), of_key(&log), "key {key}, round {round}");
        }
        let sorted = |mut ids: Vec<String>| {
            ids.sort();
            ids
        };
        assert_eq!(sorted(seen), sorted(log), "round {round}");
    }
}

/// The server dies at any change of the store while a subscription catches up and events come in.
#[tokio::test(start_paused = true)]
async fn catching_up_goes_on_after_a_death_at_any_commit() {
    let mut died = 0;
    for commit in 0.. {
        let memory = Arc::new(MemoryStore::new());
        let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
        let runtime = ScriptedRuntime::new();
        let on = |store: Arc<dyn Store>, seed| {
            World::on(store, Limits::default(), runtime.clone(), clock.clone(), seed)
        };
        let faulty = Arc::new(FaultyStore::new(memory.clone()));
        let world = on(faulty.clone(), 1).await;
        world.deploy(&[OLD]).await;
        publish(&world, 0..150).await;
        settled(&world).await;
        let fault = match commit % 3 {
            0 => Fault::CrashBefore,
            1 => Fault::CrashAfter,
            _ => Fault::After,
        };
        // Beginning with the deployment itself; most are leases and settlements of the deliveries.
        faulty.fail_at(faulty.mutations() + 1 + if commit < 12 { commit } else { commit * 7 }, fault);
        let both = crate::support::bundle(&crate::support::manifest(&[OLD, NEW]));
        let _ = world.engine.deploy(&app(), both.clone()).await;
        for n in 150..200 {
            let _ = world.engine.publish(&app(), vec![order(n)], Arrival::default()).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let dead = faulty.crashed();
        let reached = faulty.mutations();
        drop(world);
        memory.reopen();
        let world = on(memory.clone(), 2).await;
        if world.engine.app(&app()).unwrap().version == 1 {
            world.engine.deploy(&app(), both).await.unwrap();
        }
        for n in 150..220 {
            // Those that were accepted are known.
            let _ = world.engine.publish(&app(), vec![order(n)], Arrival::default()).await;
        }
        settled(&world).await;
        let query = EventQuery { after: Some(0), limit: 1_000, ..EventQuery::default() };
        let log = world.store.events(&query).await.unwrap();
        assert_eq!(log.len(), 220, "commit {commit}");
        let runs = world
            .store
            .runs(&evoke_core::store::RunQuery { limit: 5_000, ..Default::default() })
            .await
            .unwrap();
        for stored in &log {
            let ours = runs.iter().filter(|run| run.function == function("new"));
            let of = ours.filter(
                |run| matches!(&run.trigger, Trigger::Event { event, .. } if event.id == stored.event.id()),
            );
            assert_eq!(of.count(), 1, "{} with {fault:?} at commit {commit}", stored.event.id());
        }
        if dead {
            died += 1;
        } else if commit >= 12 && reached < commit * 7 {
            break;
        }
        if commit > 60 {
            break;
        }
    }
    assert!(died >= 20, "it died {died} times");
}

#[tokio::test(start_paused = true)]
async fn what_it_has_still_to_come_to_is_kept_and_others_are_served_meanwhile() {
    let memory = Arc::new(MemoryStore::new());
    let world = World::with(memory, Limits::default()).await;
    world.deploy(&[OLD]).await;
    publish(&world, 0..700).await;
    settled(&world).await;
    let seen = Seen::default();
    let noted = seen.clone();
    world.runtime.script("new", move |guest| {
        let noted = noted.clone();
        async move {
            noted.lock().extend(guest.event().map(|event| event.id().to_owned()));
            tokio::time::sleep(Duration::from_secs(2_000)).await;
            guest.agree().await
        }
    });
    world.deploy(&[OLD, ("new", &format!("{}\ntimeout = \"15m\"\n[archive]\nkeep = \"1h\"", NEW.1))]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let replay = world.engine.replays(&app()).await.unwrap().remove(0);
    assert!(replay.state == State::Running && replay.delivered < 400, "{replay:?}");
    // Others have theirs at once.
    let published = world.publish("live", "order").await;
    assert_eq!(published.runs.len(), 1, "only the one that is live");
    assert_eq!(world.ended(&published.runs[0]).await.state, RunState::Completed);
    // Far beyond what is kept, what it needs is there.
    tokio::time::sleep(Duration::from_secs(3_720)).await;
    let query = EventQuery { after: Some(replay.next - 1), limit: 1_000, ..EventQuery::default() };
    let left = world.store.events(&query).await.unwrap();
    assert_eq!(left.last().unwrap().event.id(), "live");
    world.engine.drain(Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelled_it_leaves_out_the_rest_of_the_past_and_nothing_that_came_since() {
    let world = World::new().await;
    world.deploy(&[OLD]).await;
    publish(&world, 0..600).await;
    settled(&world).await;
    let seen = watch(&world, "new");
    let name = SubscriptionName::from_text("order");
    // Its queue is full, and it waits.
    world.deploy(&[OLD, ("new", "on = [{ event = \"order\", name = \"x\" }]")]).await;
    world.engine.pause(&app(), &function("new"), &SubscriptionName::from_text("x")).await.unwrap();
    world
        .deploy(&[
            OLD,
            (
                "new",
                "on = [{ event = \"order\", from = \"beginning\", order = \"subject\" }]\nconcurrency = 1",
            ),
        ])
        .await;
    world.engine.pause(&app(), &function("new"), &name).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    publish(&world, 600..603).await;
    let replay = world.engine.replays(&app()).await.unwrap().remove(0);
    assert!(replay.delivered >= 256 && replay.delivered < 400, "{replay:?}");
    let cut = world.engine.cancel_replay(&app(), &replay.id).await.unwrap();
    assert_eq!(cut.state, State::Running, "what came since is still to be delivered");
    assert_eq!(world.engine.cancel_replay(&app(), &replay.id).await.unwrap(), cut);
    world.engine.resume(&app(), &function("new"), &name).await.unwrap();
    let replays = settled(&world).await;
    assert!(matches!(replays[0].state, State::Cancelled { .. }));
    publish(&world, 603..604).await;
    settled(&world).await;
    let past = usize::try_from(replay.delivered).unwrap();
    assert_eq!(*seen.lock(), ids((0..past).chain(600..604)));
}
