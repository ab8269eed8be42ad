//! Who is told how work ended: in the transaction that ends it, once, and as a part of the chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::destination::{FAILED, SUCCEEDED};
use evoke_core::event::{Data, Event};
use evoke_core::id::RunId;
use evoke_core::limits::Limits;
use evoke_core::record::{RunRecord, RunState, Trigger};
use evoke_core::runtime::Ended;
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::store::{EventQuery, Store, StoredEvent};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::{Guest, ScriptedRuntime};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::Arrival;
use evoke_engine::cancel::CancelOrder;
use evoke_engine::ingest::LaterCall;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{World, app, bundle, function, manifest, request};

const JSON: (&str, &str) = ("content-type", "application/json");
const ONCE: &str = "retry = { attempts = 1 }";

async fn later(world: &World, name: &str, body: &str) -> RunId {
    let mut request = request(body);
    request.headers.insert("content-type", "application/json".parse().unwrap());
    let call = LaterCall {
        app: app(),
        function: function(name),
        request,
        trigger: Trigger::Http { method: "POST".to_owned(), path: "/".to_owned() },
        from: Arrival::default(),
        idempotency_key: None,
    };
    world.engine.call_later(call).await.unwrap().run
}

async fn events(store: &Arc<dyn Store>, ty: &str) -> Vec<StoredEvent> {
    let query = EventQuery { ty: Some(ty.to_owned()), limit: 1_000, ..EventQuery::default() };
    store.events(&query).await.unwrap()
}

fn data(event: &Event) -> Value {
    match event.data() {
        Some(Data::Json(data)) => data.clone(),
        other => panic!("{other:?}"),
    }
}

/// Events that `name` is given, as they come.
fn told(runtime: &ScriptedRuntime, name: &str) -> Arc<Mutex<Vec<Event>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    runtime.script(name, move |guest: Guest| {
        log.lock().extend(guest.event().cloned());
        guest.agree()
    });
    seen
}

async fn until_told(seen: &Mutex<Vec<Event>>, count: usize) -> Vec<Event> {
    while seen.lock().len() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    seen.lock().clone()
}

fn fails(runtime: &ScriptedRuntime, name: &str) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    runtime.script(name, move |guest: Guest| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            guest.respond(503, "{\"why\":\"busy\"}").await;
            Ended::Returned { events: Vec::new() }
        }
    });
    calls
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_of_a_call_that_was_completed() {
    let world = World::new().await;
    world
        .deploy(&[
            (
                "report",
                "on_success = { event = \"report.ready\" }\non_failure = { event = \"report.failed\" }",
            ),
            ("mail", "on = [{ event = \"report.*\" }]"),
        ])
        .await;
    let seen = told(&world.runtime, "mail");
    let run = later(&world, "report", "{\"month\":11}").await;
    let event = until_told(&seen, 1).await.remove(0);
    assert_eq!((event.ty(), event.source(), event.subject()), ("report.ready", "/evoke", Some(run.as_str())));
    assert_eq!(event.extension_str("causationid"), Some(run.as_str()));
    let mut record = data(&event);
    let times = ["accepted_at", "ended_at", "revision"];
    let _ = times.map(|name| record.as_object_mut().unwrap().remove(name).expect(name));
    assert_eq!(
        record,
        json!({
            "version": "1", "outcome": "success", "condition": "completed", "app": "shop", "function": "report",
            "run": run, "attempts": 1,
            "request": {
                "method": "POST", "uri": "http://localhost/", "content_type": "application/json", "bytes": 12,
                "body": { "month": 11 },
            },
            "response": { "status": 200, "bytes": 2, "body": "ok" },
            "result": format!("/v1/apps/shop/runs/{run}/result"),
        })
    );
    let runs = world.runs().await;
    let mail = runs.iter().find(|run| run.function.as_str() == "mail").unwrap();
    assert_eq!((mail.cause.depth, mail.cause.parent.as_ref()), (1, Some(&run)));
    assert!(events(&world.store, "report.failed").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_function_is_told_of_a_call_that_was_given_up_and_the_dead_letter_is_there_too() {
    let world = World::new().await;
    world
        .deploy(&[
            ("report", "retry = { attempts = 2, backoff = \"fixed\", initial = \"1s\" }\non_success = { function = \"apologise\" }\non_failure = { function = \"apologise\" }"),
            ("apologise", ""),
        ])
        .await;
    let calls = fails(&world.runtime, "report");
    let seen = told(&world.runtime, "apologise");
    let run = later(&world, "report", "x").await;
    let event = until_told(&seen, 1).await.remove(0);
    assert_eq!((event.ty(), calls.load(Ordering::SeqCst)), (FAILED, 2));
    let record = data(&event);
    assert_eq!((&record["outcome"], &record["condition"]), (&json!("failure"), &json!("retries_exhausted")));
    assert_eq!(record["attempts"], 2);
    let error = json!({ "outcome": "failed", "code": "function_error", "message": "the handler answered with status 503" });
    assert_eq!(record["error"], error);
    assert_eq!(record["response"], json!({ "status": 503, "bytes": 14, "body": "{\"why\":\"busy\"}" }));
    assert_eq!(record["result"], Value::Null, "there is none to be asked for");
    assert_eq!(world.dead_letters().await[0].run.id, run);
    let runs = world.runs().await;
    let told = runs.iter().find(|run| run.function.as_str() == "apologise").unwrap();
    assert!(matches!(&told.trigger, Trigger::Destination { by, .. } if by.as_str() == "report"));
    // Redriven, it ends another time, and that is told too.
    world.engine.redrive(&app(), &[run]).await.unwrap();
    let events = until_told(&seen, 2).await;
    assert_ne!(events[0].id(), events[1].id());
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_told_and_tries_as_hooks_do() {
    let world = World::new().await;
    let text = manifest(&[("report", "on_success = { hook = \"partner\" }")])
        + "[hooks.partner]\nurl = \"https://partner.example.com/\"\nsecret = \"KEY\"\nretry = { attempts = 3, backoff = \"fixed\", initial = \"1s\" }\n";
    let key = SecretValue::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    world.engine.set_secret(&app(), &SecretName::new("KEY").unwrap(), &key).await.unwrap();
    world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    world.runtime.script("partner", move |guest: Guest| {
        let nth = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert_eq!(guest.event().unwrap().ty(), SUCCEEDED);
            let failure =
                evoke_core::outcome::Failure::new(evoke_core::outcome::FailureCode::BadStatus, "500");
            if nth == 0 { Ended::Failed(failure) } else { Ended::Returned { events: Vec::new() } }
        }
    });
    later(&world, "report", "x").await;
    while tries.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_has_destinations_of_its_own() {
    let world = World::new().await;
    let f = "on_success = { event = \"called\" }\nretry = { attempts = 1 }\n[[functions.f.on]]\nevent = \"a\"\non_success = { event = \"a.done\" }\n\
             [[functions.f.on]]\nevent = \"b\"\n[[functions.f.on]]\nevent = \"c\"\nbatch = { size = 2, window = \"1s\" }\non_success = { event = \"c.done\" }\non_failure = { event = \"c.failed\" }";
    world.deploy(&[("f", f)]).await;
    world.runtime.script("f", |guest: Guest| async move {
        let failed: Vec<String> =
            guest.events().iter().map(|event| event.id().to_owned()).filter(|id| id == "c2").collect();
        if guest.events().is_empty() {
            guest.agree().await
        } else {
            Ended::Partly { events: Vec::new(), failed }
        }
    });
    let mut runs = vec![later(&world, "f", "x").await];
    for (id, ty) in [("a1", "a"), ("b1", "b"), ("c1", "c"), ("c2", "c")] {
        runs.extend(world.publish(id, ty).await.runs);
    }
    for run in &runs {
        world.ended(run).await;
    }
    for (ty, count) in [("called", 1), ("a.done", 1), ("c.done", 1), ("c.failed", 1)] {
        assert_eq!(events(&world.store, ty).await.len(), count, "{ty}");
    }
    let done = data(&events(&world.store, "a.done").await[0].event);
    assert_eq!(
        done["event"],
        json!({
            "source": "/test", "id": "a1", "type": "a", "content_type": "application/json", "bytes": 11, "data": { "id": "a1" },
        })
    );
    assert_eq!((&done["subscription"], &done["response"]), (&json!("a"), &Value::Null));
    let failed = data(&events(&world.store, "c.failed").await[0].event);
    assert_eq!(failed["event"]["id"], "c2");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_once_whenever_the_server_dies() {
    let mut crashes = 0;
    for n in 1..40 {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let memory = Arc::new(MemoryStore::new());
            let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
            let runtime = ScriptedRuntime::new();
            let seen = told(&runtime, "mail");
            runtime.script("report", |guest: Guest| async move {
                let now = guest.ask(Method::GET, "/v1/kv/default/n", &[], "").await;
                let n: u32 = String::from_utf8_lossy(&now.body).parse().unwrap_or(0);
                guest.ask(Method::PUT, "/v1/kv/default/n", &[JSON], &(n + 1).to_string()).await;
                guest.agree().await
            });
            let faulty = Arc::new(FaultyStore::new(memory.clone()));
            let world = World::on(faulty.clone(), Limits::default(), runtime.clone(), clock.clone(), n).await;
            world.deploy(&[("report", "on_success = { function = \"mail\" }"), ("mail", "")]).await;
            let run = later(&world, "report", "x").await;
            faulty.fail_at(faulty.mutations() + n, fault);
            let begun = tokio::time::Instant::now();
            while !faulty.crashed() && begun.elapsed() < Duration::from_secs(3) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            crashes += u32::from(faulty.crashed());
            faulty.crash();
            memory.reopen();
            let world = World::on(memory, Limits::default(), runtime, clock, n + 100).await;
            assert_eq!(world.ended(&run).await.state, RunState::Completed);
            until_told(&seen, 1).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            let kept = (world.kv("n").await.unwrap(), events(&world.store, SUCCEEDED).await.len());
            assert_eq!(kept, ("1".to_owned(), 1), "died with change {n}");
            let told = world.runs().await.iter().filter(|run| run.function.as_str() == "mail").count();
            assert_eq!(told, 1);
        }
    }
    assert!(crashes >= 6, "only {crashes} of the servers died");
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_destinations_ends_at_the_bound() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", &format!("{ONCE}\non_failure = {{ function = \"a\" }}")),
            ("b", &format!("{ONCE}\non_success = {{ event = \"b.done\" }}\n[[functions.b.on]]\nevent = \"b.done\"\non_success = {{ event = \"b.done\" }}")),
        ])
        .await;
    let calls = fails(&world.runtime, "a");
    later(&world, "a", "x").await;
    later(&world, "b", "x").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let runs = world.runs().await;
    let of =
        |name: &str| -> Vec<&RunRecord> { runs.iter().filter(|run| run.function.as_str() == name).collect() };
    // The first, eight that come back to it, and the one that is stopped.
    assert_eq!((of("a").len(), of("b").len(), calls.load(Ordering::SeqCst)), (10, 10, 9));
    for (name, edge) in [("a", "on_failure"), ("b", "event b.done")] {
        let reasons = of(name).into_iter().map(|run| run.attempts[0].outcome.reason());
        let stopped: Vec<String> = reasons.filter(|reason| reason.starts_with("loop_detected: ")).collect();
        assert!(
            stopped.len() == 1 && stopped[0].contains(&format!("by the {edge} of {name}")),
            "{stopped:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_is_a_failure_unless_it_is_to_be_silent() {
    let world = World::new().await;
    world.deploy(&[("f", "on_failure = { function = \"told\" }"), ("told", "")]).await;
    world.runtime.script("f", |_| std::future::pending::<Ended>());
    let seen = told(&world.runtime, "told");
    let (silent, loud) = (later(&world, "f", "x").await, later(&world, "f", "x").await);
    while world.instances("f").0 < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let order = CancelOrder { reason: None, silent: true };
    world.engine.cancel_run(&app(), &silent, &order).await.unwrap();
    let order = CancelOrder { reason: Some("wrong".to_owned()), silent: false };
    world.engine.cancel_run(&app(), &loud, &order).await.unwrap();
    world.engine.cancel_run(&app(), &loud, &order).await.unwrap();
    let event = until_told(&seen, 1).await.remove(0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(seen.lock().len(), 1);
    let record = data(&event);
    assert_eq!((&record["run"], &record["condition"]), (&json!(loud), &json!("cancelled")));
    assert_eq!((&record["ended_by"], &record["attempts"]), (&json!("operator"), &json!(1)));
    assert_eq!(
        record["error"],
        json!({ "outcome": "failed", "code": "cancelled_by_operator", "message": "wrong" })
    );
    assert_eq!(record["request"], json!({ "method": "POST", "path": "/" }));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_up_to_a_bound_and_for_a_time() {
    let limits = Limits { result_bytes: 100_000, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("f", "on_success = { event = \"done\" }"), ("g", "on = [{ event = \"e\" }]")]).await;
    world.runtime.script("f", |guest: Guest| async move {
        guest.respond(201, &"ä".repeat(75_000)).await;
        Ended::Returned { events: Vec::new() }
    });
    let run = later(&world, "f", "x").await;
    world.ended(&run).await;
    let kept = world.engine.result(&app(), &run).await.unwrap().unwrap();
    assert_eq!((kept.answer.status, kept.answer.bytes, kept.answer.body.len()), (201, 150_000, 100_000));
    assert!(kept.answer.is_truncated());
    let response = &data(&events(&world.store, "done").await[0].event)["response"];
    assert_eq!((&response["bytes"], &response["truncated"]), (&json!(150_000), &json!(true)));
    assert_eq!(response["body"].as_str().unwrap().len(), 64 << 10);
    let delivered = world.publish("e1", "e").await.runs[0].clone();
    world.ended(&delivered).await;
    assert_eq!(world.engine.result(&app(), &delivered).await.unwrap(), None, "an event has no answer");
    tokio::time::sleep(Duration::from_secs(25 * 60 * 60)).await;
    assert_eq!(world.engine.result(&app(), &run).await.unwrap(), None);
}
