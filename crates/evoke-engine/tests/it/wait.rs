use evoke_engine::Arrival;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::{Data, Event};
use evoke_core::id::{RunId, WaitId};
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::{RunRecord, Trigger};
use evoke_core::runtime::Ended;
use evoke_core::store::Store;
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::{Guest, ScriptedRuntime};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock as _;
use evoke_core::wait::Wait;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{World, app, function};

const HOUR: Duration = Duration::from_secs(3600);
const APP: &[(&str, &str)] = &[("opener", "emits = [\"*\"]\non = [{ event = \"order\" }]"), ("closer", "")];

/// The events that `closer` was handed.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Event>>>);

impl Told {
    fn by(runtime: &ScriptedRuntime) -> Self {
        let told = Self::default();
        let heard = told.clone();
        runtime.script("closer", move |guest| {
            let heard = heard.clone();
            async move {
                heard.0.lock().push(guest.event().unwrap().clone());
                guest.agree().await
            }
        });
        told
    }

    fn data(&self) -> Vec<Value> {
        let data = |event: &Event| match event.data() {
            Some(Data::Json(value)) => value.clone(),
            other => panic!("{other:?}"),
        };
        self.0.lock().iter().map(data).collect()
    }

    fn kept(&self) -> Vec<Value> {
        self.data().iter().map(|data| data["data"].clone()).collect()
    }
}

fn ticket(id: &str, number: u32) -> Event {
    Event::new(id, "/tickets", "ticket.closed").with_json(json!({ "number": number }))
}

fn for_ticket(number: u32) -> Value {
    json!({
        "event": "ticket.closed",
        "pattern": { "data": { "number": [number] } },
        "timeout_ms": 3_600_000,
        "then": "closer",
        "data": { "release": number },
    })
}

async fn wait(guest: &Guest, asked: &Value) -> (u16, Value) {
    let answer = guest.ask(Method::POST, "/v1/waits", &[], &asked.to_string()).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
}

/// `opener` asks for this and succeeds.
fn opener_waits(runtime: &ScriptedRuntime, asked: Value) {
    runtime.script("opener", move |guest| {
        let asked = asked.clone();
        async move {
            let (status, said) = wait(&guest, &asked).await;
            assert_eq!(status, 202, "{said}");
            guest.agree().await
        }
    });
}

async fn world(store: Arc<dyn Store>) -> (World, Told) {
    let world = World::with(store, Limits::default()).await;
    let told = Told::by(&world.runtime);
    world.deploy(APP).await;
    (world, told)
}

async fn memory() -> (World, Told) {
    world(Arc::new(MemoryStore::new())).await
}

/// Publishes an order and waits for its run.
async fn order(world: &World, id: &str) -> RunRecord {
    let published = world.publish(id, "order").await;
    world.ended(&published.runs[0]).await
}

async fn close(world: &World, event: Event) {
    world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap();
}

async fn open(world: &World) -> Vec<Wait> {
    world.engine.waits(&app(), None, None, 1_000).await.unwrap()
}

/// The runs of `closer`.
async fn closings(world: &World) -> Vec<RunRecord> {
    let closer = function("closer");
    world.runs().await.into_iter().filter(|run| run.function == closer).collect()
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_event_and_what_was_kept() {
    let (world, told) = memory().await;
    opener_waits(&world.runtime, for_ticket(17));
    let run = order(&world, "e1").await;
    a_moment().await;
    assert_eq!(open(&world).await.len(), 1);
    close(&world, ticket("c16", 16)).await;
    a_moment().await;
    assert!(told.data().is_empty());
    close(&world, ticket("c17", 17)).await;
    a_moment().await;
    let event = told.0.lock()[0].clone();
    assert_eq!((event.ty(), event.source()), ("evoke.wait.matched", "/shop/opener"));
    let data = told.data().remove(0);
    assert_eq!(data["data"], json!({ "release": 17 }));
    assert_eq!((&data["event"]["id"], &data["event"]["data"]["number"]), (&json!("c17"), &json!(17)));
    assert_eq!(data["timed_out"], json!(false));
    assert_eq!(data["waited"]["run"], json!(run.id));
    assert_eq!(data["waited"]["trigger"]["event"]["id"], json!("e1"));
    assert!(open(&world).await.is_empty());
    let closing = closings(&world).await.remove(0);
    assert_eq!((closing.cause.parent, closing.cause.depth), (Some(run.id), run.cause.depth + 1));
    assert_eq!((closing.cause.root, closing.cause.trace_id), (run.cause.root, run.cause.trace_id));
    assert!(matches!(closing.trigger, Trigger::Wait { event: Some(event), .. } if event.id == "c17"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time_when_no_event_came() {
    let (world, told) = memory().await;
    opener_waits(&world.runtime, for_ticket(17));
    order(&world, "e1").await;
    tokio::time::sleep(HOUR - Duration::from_secs(10)).await;
    assert!(told.data().is_empty());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(told.0.lock()[0].ty(), "evoke.wait.timed_out");
    let data = told.data().remove(0);
    assert_eq!((&data["event"], &data["timed_out"]), (&Value::Null, &json!(true)));
    assert_eq!(data["data"], json!({ "release": 17 }));
    close(&world, ticket("late", 17)).await;
    a_moment().await;
    assert_eq!(told.data().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_event_ends_several_waits_and_a_wait_ends_once() {
    let (world, told) = memory().await;
    opener_waits(&world.runtime, for_ticket(17));
    for id in ["e1", "e2", "e3"] {
        order(&world, id).await;
    }
    let events = vec![ticket("c1", 17), ticket("c2", 17)];
    world.engine.publish(&app(), events, Arrival::default()).await.unwrap();
    close(&world, ticket("c3", 17)).await;
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(told.data().len(), 3);
    assert!(told.data().iter().all(|data| data["event"]["id"] == json!("c1")));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_before_the_wait_was_committed_is_not_missed() {
    let (world, told) = memory().await;
    world.runtime.script("opener", |guest| async move {
        // The ticket is closed before anybody waits for it, and again before the wait is committed.
        assert!(guest.publish("asks", json!({})).await);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(wait(&guest, &for_ticket(17)).await.0, 202);
        tokio::time::sleep(Duration::from_secs(5)).await;
        guest.agree().await
    });
    close(&world, ticket("c0", 17)).await;
    let published = world.publish("e1", "order").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    close(&world, ticket("c1", 17)).await;
    world.ended(&published.runs[0]).await;
    a_moment().await;
    assert_eq!(told.data().remove(0)["event"]["id"], json!("c1"));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_being_accepted_while_the_wait_is_committed_is_not_missed() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let (world, told) = world(store.clone()).await;
    world.runtime.script("opener", |guest| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        wait(&guest, &for_ticket(17)).await;
        guest.agree().await
    });
    world.publish("e1", "order").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // It is looked up before the wait is known, and in the log after that was searched for the wait.
    store.fail_next(Fault::Late(Duration::from_secs(4)));
    close(&world, ticket("c1", 17)).await;
    a_moment().await;
    assert_eq!(told.data().remove(0)["event"]["id"], json!("c1"));
}

#[tokio::test(start_paused = true)]
async fn two_servers_on_one_store_end_a_wait_once() {
    let store = Arc::new(MemoryStore::new());
    let (world, _) = world(store.clone()).await;
    opener_waits(&world.runtime, for_ticket(17));
    order(&world, "e1").await;
    world.engine.drain(Duration::ZERO).await.unwrap();
    store.reopen();
    // Slow enough for both to see the wait before either ends it.
    let slow = || {
        let slow = Arc::new(FaultyStore::new(store.clone()));
        (1..10_000).for_each(|n| slow.fail_at(n, Fault::Late(Duration::from_secs(1))));
        slow
    };
    let clock = Arc::new(TokioClock::starting(world.clock.now()));
    let on = |seed, store| World::on(store, Limits::default(), ScriptedRuntime::new(), clock.clone(), seed);
    let (one, two) = (on(2, slow()).await, on(3, slow()).await);
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(closings(&one).await.len(), 1);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn the_event_that_started_the_run_does_not_end_its_wait() {
    let (world, told) = memory().await;
    let any = json!({ "event": "ord*", "timeout_ms": 3_600_000, "then": "closer" });
    opener_waits(&world.runtime, any);
    order(&world, "e1").await;
    a_moment().await;
    assert_eq!((told.data().len(), open(&world).await.len()), (0, 1));
    order(&world, "e2").await;
    a_moment().await;
    assert_eq!(told.data().remove(0)["event"]["id"], json!("e2"));
    assert_eq!(open(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_leaves_no_wait() {
    let (world, _told) = memory().await;
    let once = "on = [{ event = \"order\", retry = { attempts = 1 } }]";
    world.deploy(&[("opener", once), APP[1]]).await;
    world.runtime.script("opener", |guest| async move {
        wait(&guest, &for_ticket(17)).await;
        Ended::Failed(Failure::new(FailureCode::FunctionError, "no"))
    });
    order(&world, "e1").await;
    assert!(open(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_call_can_wait() {
    let (world, told) = memory().await;
    opener_waits(&world.runtime, for_ticket(17));
    world.call("opener", "").await.unwrap();
    assert_eq!(open(&world).await.len(), 1);
    close(&world, ticket("c17", 17)).await;
    a_moment().await;
    assert_eq!(told.data()[0]["waited"]["trigger"]["kind"], json!("http"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_outlives_the_server_and_so_does_an_event_nobody_looked_at() {
    let store = Arc::new(MemoryStore::new());
    let (one, _) = world(store.clone()).await;
    opener_waits(&one.runtime, for_ticket(17));
    order(&one, "e1").await;
    order(&one, "e2").await;
    one.engine.drain(Duration::ZERO).await.unwrap();
    store.reopen();
    // What a server leaves that dies between an event's commit and what follows from it.
    let item = evoke_core::store::Append {
        app: app(),
        dedup: None,
        event: Some(ticket("c17", 17)),
        invocations: Vec::new(),
        version: None,
        again: None,
    };
    store.append(vec![item], one.clock.now()).await.unwrap();
    let clock = Arc::new(TokioClock::starting(one.clock.now()));
    let runtime = ScriptedRuntime::new();
    let told = Told::by(&runtime);
    let _two = World::on(store, Limits::default(), runtime, clock, 2).await;
    a_moment().await;
    assert_eq!(told.kept(), [json!({ "release": 17 }), json!({ "release": 17 })]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_any_moment_neither_loses_nor_doubles_the_end() {
    for fault in [Fault::Before, Fault::After] {
        for at in 1..=8 {
            let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
            let (world, told) = world(store.clone()).await;
            opener_waits(&world.runtime, for_ticket(17));
            store.fail_at(store.mutations() + at, fault);
            // The sender repeats what was not acknowledged.
            for event in [Event::new("e1", "/test", "order"), ticket("c17", 17)] {
                while world.engine.publish(&app(), vec![event.clone()], Arrival::default()).await.is_err() {}
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            assert_eq!(told.data().len(), 1, "{fault:?} at {at}");
            assert_eq!(told.data()[0]["event"]["id"], json!("c17"));
            assert!(open(&world).await.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_wait_for_a_function_that_is_gone_is_a_dead_letter() {
    let (world, told) = memory().await;
    opener_waits(&world.runtime, for_ticket(17));
    order(&world, "e1").await;
    world.deploy(&APP[..1]).await;
    close(&world, ticket("c17", 17)).await;
    a_moment().await;
    let dead = world.dead_letters().await.remove(0);
    assert_eq!(dead.run.function, function("closer"));
    assert!(dead.reason.contains("closer"), "{}", dead.reason);
    world.deploy(APP).await;
    world.engine.redrive(&app(), &[dead.run.id]).await.unwrap();
    a_moment().await;
    assert_eq!(told.kept(), [json!({ "release": 17 })]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_can_be_taken_back() {
    let (world, told) = memory().await;
    opener_waits(&world.runtime, for_ticket(17));
    let run = order(&world, "e1").await;
    let of_run = world.engine.waits(&app(), Some(&run.id), None, 10).await.unwrap();
    let id = of_run[0].id.clone();
    assert!(world.engine.cancel_wait(&app(), &id).await.unwrap());
    assert!(!world.engine.cancel_wait(&app(), &id).await.unwrap());
    assert!(!world.engine.cancel_wait(&app(), &WaitId::from_text("x")).await.unwrap());
    close(&world, ticket("c17", 17)).await;
    tokio::time::sleep(2 * HOUR).await;
    assert!(told.data().is_empty());
    assert!(world.engine.waits(&app(), Some(&RunId::from_text("x")), None, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_wait_may_be_is_checked_and_bounded() {
    let limits = Limits { waits: 2, wait_data_bytes: 100, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(APP).await;
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = said.clone();
    world.runtime.script("opener", move |guest| {
        let heard = heard.clone();
        async move {
            let with = |name: &str, value: Value| {
                let mut asked = for_ticket(17);
                asked[name] = value;
                asked
            };
            for wrong in [
                with("event", json!("a*b")),
                with("where", json!("subject =")),
                with("where", json!("NOSUCH(subject)")),
                with("pattern", json!({ "data": 3 })),
                with("timeout_ms", json!(0)),
                with("timeout_ms", json!(400_u64 * 24 * 3_600_000)),
                with("then", json!("nobody")),
                with("data", json!("x".repeat(100))),
                with("unknown", json!(1)),
                for_ticket(1),
                for_ticket(2),
                for_ticket(3),
            ] {
                let (status, said) = wait(&guest, &wrong).await;
                let said = said["detail"].as_str().unwrap_or_default().to_owned();
                heard.lock().push(format!("{status} {said}"));
            }
            guest.agree().await
        }
    });
    order(&world, "e1").await;
    insta::assert_debug_snapshot!(*said.lock());
    a_moment().await;
    close(&world, ticket("c1", 1)).await;
    a_moment().await;
    said.lock().clear();
    order(&world, "e2").await;
    // One place was free.
    let accepted = said.lock().iter().filter(|said| said.starts_with("202")).count();
    assert_eq!(accepted, 1);
}
