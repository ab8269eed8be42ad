//! What the platform says of itself, to whom, and that this never goes round in circles.

use evoke_engine::Arrival;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evoke_core::event::{Data, Event};
use evoke_core::id::{AppName, SubscriptionName};
use evoke_core::lifecycle::TYPES;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::rollout::Portion;
use evoke_core::runtime::{Ended, Progress};
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::store::{DeadLetterQuery, EventQuery, Store as _, StoredEvent};
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::deploy::DeployOrder;
use evoke_engine::ingest::PublishError;
use evoke_engine::later::When;
use evoke_engine::removal::RemovalOrder;
use http::Method;
use serde_json::Value;

use crate::support::{World, app, bundle, function, manifest};

const ONCE: &str = "on = [{ event = \"e\", retry = { attempts = 1 } }]";

fn fail() -> Ended {
    Ended::Failed(Failure::new(FailureCode::FunctionError, "no"))
}

fn watch(ty: &str) -> String {
    format!("on = [{{ event = \"{ty}\", retry = {{ attempts = 1 }} }}]")
}

impl World {
    /// Events of the platform's own so far, the oldest first.
    async fn told(&self) -> Vec<StoredEvent> {
        let query = EventQuery { limit: 1_000, ..EventQuery::default() };
        let mut all = self.store.events(&query).await.unwrap();
        all.reverse();
        all.retain(|stored| stored.event.ty().starts_with("evoke."));
        all
    }

    async fn told_types(&self) -> Vec<String> {
        self.told().await.iter().map(|stored| stored.event.ty().to_owned()).collect()
    }

    /// Waits until nothing waits and nothing runs.
    async fn settled(&self) {
        let busy = |state| matches!(state, RunState::Queued | RunState::Running);
        while self.runs().await.iter().any(|run| busy(run.state)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What is written beside an attempt.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    async fn fails(&self, times: usize) {
        for at in 0..times {
            self.publish(&format!("f{at}-{}", self.engine.new_event_id()), "e").await;
            self.settled().await;
        }
    }
}

fn data_of(event: &Event) -> BTreeMap<String, Value> {
    match event.data() {
        Some(Data::Json(value)) => serde_json::from_value(value.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn starts_and_deployments_are_told_to_who_names_them_and_a_deployment_once() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    world
        .deploy(&[
            ("watch", &watch("evoke.*")),
            ("all", "on = [{ event = \"*\" }]"),
            ("near", "on = [{ event = \"ev*\" }]"),
        ])
        .await;
    world.settled().await;
    assert_eq!(world.told_types().await, ["evoke.app.deployed"]);
    world.engine.drain(Duration::from_secs(5)).await.unwrap();
    store.reopen();
    let next = World::on(store, Limits::default(), ScriptedRuntime::new(), world.clock.clone(), 2).await;
    next.settled().await;
    let told = ["evoke.app.deployed", "evoke.node.stopping", "evoke.node.starting"];
    assert_eq!(next.told_types().await, told);
    assert!(next.runs().await.iter().all(|run| run.function.as_str() == "watch"));
    assert!(next.told().await.iter().all(|stored| stored.event.source() == "/evoke"));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_was_not_told_is_told_by_the_next_start() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let world = World::with(store.clone(), Limits::default()).await;
    let before = store.mutations();
    world.deploy(&[("watch", "")]).await;
    let writes = store.mutations() - before;
    // After those of the deployment itself comes its event.
    store.fail_at(store.mutations() + writes + 1, Fault::CrashBefore);
    world.deploy(&[("watch", &watch("evoke.app.deployed"))]).await;
    assert!(store.crashed());
    let next = World::on(memory, Limits::default(), ScriptedRuntime::new(), world.clock.clone(), 2).await;
    next.settled().await;
    assert_eq!(next.told_types().await, ["evoke.app.deployed"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_that_nobody_wants() {
    let world = World::new().await;
    world.deploy(&[("a", ONCE), ("all", "on = [{ event = \"other\" }]")]).await;
    world.runtime.script("a", |_| async { fail() });
    world.fails(4).await;
    assert_eq!(world.dead_letters().await.len(), 4);
    assert_eq!(world.told_types().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_functions_that_react_to_it() {
    let world = World::new().await;
    world.deploy(&[("bye", &watch("evoke.node.stopping"))]).await;
    let done = Arc::new(AtomicBool::new(false));
    let seen = done.clone();
    world.runtime.script("bye", move |guest| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(4)).await;
            seen.store(true, Ordering::SeqCst);
            guest.agree().await
        }
    });
    let began = tokio::time::Instant::now();
    world.engine.drain(Duration::from_secs(10)).await.unwrap();
    assert!(done.load(Ordering::SeqCst));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reaction_that_does_not_end_in_time_is_ended_and_starts_again_with_the_server() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    let settings = format!("timeout = \"10m\"\n{}", watch("evoke.node.stopping"));
    world.deploy(&[("bye", &settings)]).await;
    world.runtime.script("bye", |_| std::future::pending());
    let began = tokio::time::Instant::now();
    world.engine.drain(Duration::from_secs(3)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(world.runtime.alive(), 0);
    store.reopen();
    let next = World::on(store, Limits::default(), ScriptedRuntime::new(), world.clock.clone(), 2).await;
    next.settled().await;
    let runs = next.runs().await;
    assert_eq!(runs.iter().map(|run| run.state).collect::<Vec<_>>(), [RunState::Completed]);
}

#[tokio::test(start_paused = true)]
async fn a_function_is_told_as_failing_once_until_it_recovers() {
    let world = World::new().await;
    world.deploy(&[("a", ONCE), ("watch", &watch("evoke.function.*"))]).await;
    world.runtime.script("a", |_| async { fail() });
    world.fails(2).await;
    assert_eq!(world.told_types().await, [""; 0]);
    world.fails(3).await;
    assert_eq!(world.told_types().await, ["evoke.function.failing"]);
    // Calls count like deliveries, and so does a new revision.
    world.deploy(&[("a", &format!("timeout = \"7s\"\n{ONCE}")), ("watch", &watch("evoke.function.*"))]).await;
    world.runtime.script("a", |guest| guest.agree());
    world.call("a", "").await.unwrap();
    world.settled().await;
    let told = world.told().await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].event.ty(), "evoke.function.recovered");
    assert_eq!(data_of(&told[1].event)["failed"], 5);
}

/// Also not by a function that the event reaches through another event.
#[tokio::test(start_paused = true)]
async fn what_a_lifecycle_event_causes_causes_no_further_ones() {
    let world = World::new().await;
    let first = format!("emits = [\"alarm\"]\n{}", watch("evoke.*"));
    let second = "on = [{ event = \"alarm\", retry = { attempts = 1 } }]";
    world.deploy(&[("a", ONCE), ("first", &first), ("second", second)]).await;
    world.settled().await;
    let failed = |ty: &str| ty != "evoke.app.deployed";
    world.runtime.script("a", |_| async { fail() });
    world.runtime.script("second", |_| async { fail() });
    world.runtime.script("first", |guest| async move {
        let id = guest.call.run.to_string();
        Ended::Returned { events: vec![Event::new(id, "/shop/first", "alarm")] }
    });
    world.fails(3).await;
    world.settled().await;
    let told: Vec<String> = world.told_types().await.into_iter().filter(|ty| failed(ty)).collect();
    let dead = "evoke.deadletter.added";
    assert_eq!(told.iter().filter(|ty| *ty == dead).count(), 3, "{told:?}");
    assert_eq!(told.len(), 4, "{told:?}");
    // Three of `a`, and those of `second`, of which nothing was said.
    assert_eq!(world.dead_letters().await.len(), 3 + 4);
}

/// Whenever the server dies, there are both or neither.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_and_its_event_are_one_transaction() {
    let mut seen = Vec::new();
    for at in 1..=8 {
        let memory = Arc::new(MemoryStore::new());
        let store = Arc::new(FaultyStore::new(memory.clone()));
        let world = World::with(store.clone(), Limits::default()).await;
        world.deploy(&[("a", ONCE), ("watch", &watch("evoke.deadletter.added"))]).await;
        world.runtime.script("a", |_| async { fail() });
        store.fail_at(store.mutations() + at, Fault::CrashAfter);
        let event = Event::new("1", "/test", "e");
        // The first crash is that of the publish itself.
        drop(world.engine.publish(&app(), vec![event], Arrival::default()).await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let letters = DeadLetterQuery { limit: 9, ..DeadLetterQuery::default() };
        let told =
            EventQuery { ty: Some("evoke.deadletter.added".to_owned()), limit: 9, ..EventQuery::default() };
        let (letters, told) =
            (memory.dead_letters(&letters).await.unwrap(), memory.events(&told).await.unwrap());
        assert_eq!(letters.len(), told.len(), "crash at change {at}");
        if let (Some(letter), Some(told)) = (letters.first(), told.first()) {
            let data = data_of(&told.event);
            assert_eq!(data["run"], letter.run.id.as_str());
            assert_eq!(data["reason"], letter.reason.as_str());
        }
        seen.push(letters.len());
    }
    assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn more_trouble_than_the_rate_allows_is_counted() {
    let limits = Limits { lifecycle_events_at_once: 2, lifecycle_events_per_second: 1, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("a", ONCE), ("watch", &watch("evoke.deadletter.added"))]).await;
    world.runtime.script("a", |_| async { fail() });
    for id in ["1", "2", "3", "4", "5"] {
        world.publish(id, "e").await;
    }
    world.settled().await;
    assert_eq!(world.told().await.len(), 2);
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.publish("6", "e").await;
    world.settled().await;
    let told = world.told().await;
    assert_eq!(told.len(), 3);
    assert_eq!(data_of(&told[2].event)["untold"], 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_else_publishes_such_events() {
    let world = World::new().await;
    world.deploy(&[("a", "emits = [\"*\"]"), ("watch", &watch("evoke.*"))]).await;
    world.settled().await;
    let before = world.told().await.len();
    for event in [Event::new("1", "/x", "evoke.node.stopping"), Event::new("1", "/evoke", "order")] {
        let refused =
            world.engine.publish(&app(), vec![event.clone()], Arrival::default()).await.unwrap_err();
        assert!(matches!(&refused, PublishError::Invalid { index: 0, .. }), "{refused}");
        assert!(refused.to_string().contains("the platform's own"), "{refused}");
        let later = When::In(Duration::from_secs(1));
        assert!(world.engine.publish_later(&app(), vec![event], later, Arrival::default()).await.is_err());
    }
    world.runtime.script("a", |guest| async move {
        let body = r#"{"type":"evoke.node.stopping"}"#;
        let answer = guest.ask(Method::POST, "/v1/events", &[], body).await;
        guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    let (answered, body) = world.call("a", "").await.unwrap();
    assert_eq!(answered.response.status.as_u16(), 403);
    assert!(body.contains("the platform's own"), "{body}");
    assert_eq!(world.told().await.len(), before);
}

/// Its subscription is paused and resumed; its hook is disabled and enabled.
async fn hold_and_let_go(world: &World) {
    let name = SubscriptionName::from_text("e");
    assert!(world.engine.pause(&app(), &function("a"), &name).await.unwrap());
    assert!(world.engine.resume(&app(), &function("a"), &name).await.unwrap());
    world.runtime.script("partner", |_| async {
        Ended::Failed(Failure::new(FailureCode::Gone, "410 from partner.example.com"))
    });
    world.publish("h1", "h").await;
    world.settled().await;
    assert!(world.engine.enable_hook(&app(), &function("partner")).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_up_and_what_goes_on_is_told_once() {
    let world = World::new().await;
    world.deploy(&[("a", ONCE), ("watch", &watch("evoke.subscription.*"))]).await;
    let name = SubscriptionName::from_text("e");
    for changed in [true, false] {
        assert_eq!(world.engine.pause(&app(), &function("a"), &name).await.unwrap(), changed);
    }
    for changed in [true, false] {
        assert_eq!(world.engine.resume(&app(), &function("a"), &name).await.unwrap(), changed);
    }
    world.settled().await;
    let told = world.told().await;
    let types: Vec<&str> = told.iter().map(|stored| stored.event.ty()).collect();
    assert_eq!(types, ["evoke.subscription.paused", "evoke.subscription.resumed"]);
    assert_eq!(told[0].event.subject(), Some("a/e"));
    assert_eq!(data_of(&told[0].event)["paused_at"], data_of(&told[1].event)["paused_at"]);
}

/// What is written is the change with its event, or neither.
#[tokio::test(start_paused = true)]
async fn a_pause_and_its_event_are_one_transaction() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        let memory = Arc::new(MemoryStore::new());
        let store = Arc::new(FaultyStore::new(memory.clone()));
        let world = World::with(store.clone(), Limits::default()).await;
        world.deploy(&[("a", ONCE), ("watch", &watch("evoke.subscription.*"))]).await;
        world.settled().await;
        let name = SubscriptionName::from_text("e");
        store.fail_next(fault);
        assert!(world.engine.pause(&app(), &function("a"), &name).await.is_err());
        memory.reopen();
        let clock = world.clock.clone();
        let world = World::on(memory, Limits::default(), ScriptedRuntime::new(), clock, 2).await;
        let states = world.engine.subscriptions(&app()).await.unwrap().unwrap();
        let is_paused = states.iter().any(|state| state.paused_at.is_some());
        assert_eq!(
            (is_paused, world.told().await.len()),
            match fault {
                Fault::CrashAfter => (true, 1),
                _ => (false, 0),
            }
        );
    }
}

async fn deploy_and_remove_another(world: &World) {
    let other = AppName::new("other").unwrap();
    let text = manifest(&[("b", "")]).replace("\"shop\"", "\"other\"");
    world.engine.deploy(&other, bundle(&text)).await.unwrap();
    let removal = world.engine.remove_app(&other, RemovalOrder::default()).await.unwrap();
    assert!(world.engine.removed(&removal).await);
}

/// A canary is withdrawn, another promoted, and what was before that comes back.
async fn versions_come_and_go(world: &World, manifest: &str) {
    let order = DeployOrder { canary: Some(Portion::percent(5)), unwatched: false };
    for timeout in ["8s", "9s"] {
        let text = manifest.replace("[functions.a]", &format!("[functions.a]\ntimeout = {timeout:?}"));
        world.engine.deploy_telling(&app(), bundle(&text), order, Progress::none()).await.unwrap();
        match timeout {
            "8s" => drop(world.engine.withdraw_canary(&app(), None).await.unwrap()),
            _ => drop(world.engine.promote_canary(&app(), None).await.unwrap()),
        }
    }
    world.engine.roll_back(&app(), None).await.unwrap();
    world.settled().await;
}

/// One of each type has the members, of the kinds, that the reference shows.
#[tokio::test(start_paused = true)]
async fn the_reference_shows_each_type_as_it_is() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    let again = "concurrency = 100";
    let hook = "[hooks.partner]\nurl = \"https://partner.example.com/\"\nsecret = \"KEY\"\n[[hooks.partner.on]]\nevent = \"h\"\n";
    let key = SecretValue::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let functions = manifest(&[("a", ONCE), ("again", again), ("watch", &watch("evoke.*"))]);
    world.engine.set_secret(&app(), &SecretName::new("KEY").unwrap(), &key).await.unwrap();
    world.engine.deploy(&app(), bundle(&format!("{functions}{hook}"))).await.unwrap();
    world.runtime.script("a", |_| async { fail() });
    world.fails(3).await;
    world.runtime.script("a", |guest| guest.agree());
    world.call("a", "").await.unwrap();
    world.runtime.script("again", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/functions/again", &[], "").await;
        guest.respond(answer.status.as_u16(), "").await;
        Ended::Returned { events: Vec::new() }
    });
    let (answered, _) = world.call("again", "").await.unwrap();
    assert_eq!(answered.response.status.as_u16(), 508);
    world.settled().await;
    hold_and_let_go(&world).await;
    versions_come_and_go(&world, &format!("{functions}{hook}")).await;
    deploy_and_remove_another(&world).await;
    world.engine.drain(Duration::from_secs(5)).await.unwrap();
    store.reopen();
    let world = World::on(store, Limits::default(), ScriptedRuntime::new(), world.clock.clone(), 2).await;
    world.settled().await;

    let shape = |event: &Event| {
        let kind = |value: &Value| match value {
            Value::String(_) => "text",
            Value::Number(_) => "number",
            Value::Object(_) => "object",
            _ => "other",
        };
        data_of(event).iter().map(|(name, value)| (name.clone(), kind(value))).collect::<BTreeMap<_, _>>()
    };
    let reference = std::fs::read_to_string("../../docs/reference/lifecycle.md").unwrap();
    let shown = reference.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let shown = shown.map(|text| serde_json::from_str::<Event>(text).unwrap());
    let shown: BTreeMap<String, _> = shown.map(|event| (event.ty().to_owned(), shape(&event))).collect();
    let told = world.told().await;
    let told: BTreeMap<String, _> =
        told.iter().map(|stored| (stored.event.ty().to_owned(), shape(&stored.event))).collect();
    assert_eq!(
        shown.keys().collect::<Vec<_>>(),
        BTreeMap::from(TYPES.map(|ty| (ty.to_owned(), ()))).keys().collect::<Vec<_>>()
    );
    assert_eq!(told, shown);
}
