//! Every kind of bad input, and what is said about it. The snapshots are the texts people read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::store::MemoryStore;
use http::{Method, StatusCode};
use http_body_util::Full;
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::support::{Reply, Setup, World, bundle, manifest, redacted, send, tar};

fn problem(reply: &Reply) -> Value {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status.as_u16());
    assert_eq!(problem["code"].as_str(), reply.header("evoke-problem"));
    redacted(problem)
}

async fn deploy(world: &World, bundle: Bytes) -> Value {
    problem(&world.post("/v1/apps/shop/deployments", "application/x-tar", bundle).await)
}

async fn publish(world: &World, content_type: &str, body: &'static str) -> Value {
    problem(&world.post("/v1/apps/shop/events", content_type, body).await)
}

#[tokio::test]
async fn names_that_are_not_there() {
    let world = World::with_echo(Setup::default()).await;
    let control = async |path: &str| problem(&world.get(path).await);
    assert_json_snapshot!("unknown_route", problem(&world.data(Method::GET, "/nowhere", "").await));
    assert_json_snapshot!("wrong_method_of_a_route", problem(&world.data(Method::PUT, "/echo", "").await));
    assert_json_snapshot!("unknown_app", control("/v1/apps/shpo").await);
    assert_json_snapshot!("unknown_function", control("/v1/apps/shop/functions/resize").await);
    assert_json_snapshot!("unknown_function_to_invoke", control("/v1/apps/shop/functions/ecko/invoke").await);
    assert_json_snapshot!("unknown_run", control("/v1/apps/shop/runs/run_1").await);
    assert_json_snapshot!("unknown_event", control("/v1/apps/shop/events/e1").await);
    assert_json_snapshot!("name_that_is_none", control("/v1/apps/Shop!").await);
    assert_json_snapshot!("unknown_path", control("/v1/aps").await);
    assert_json_snapshot!("unknown_parameter", control("/v1/apps/shop/runs?limt=5").await);
    assert_json_snapshot!("page_too_large", control("/v1/apps/shop/runs?limit=5000").await);
    assert_json_snapshot!("cursor_that_is_none", control("/v1/apps/shop/events?before=x").await);
}

#[tokio::test]
async fn tokens_and_hosts_that_are_wrong() {
    let world = World::new().await;
    let get = async |fields: &[(&str, &str)]| {
        let mut request = http::Request::get("/v1/apps");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        problem(&send(world.control, request.body(Full::<Bytes>::default()).unwrap()).await)
    };
    assert_json_snapshot!("no_token", get(&[("host", "localhost")]).await);
    assert_json_snapshot!(
        "wrong_token",
        get(&[("host", "localhost"), ("authorization", "Bearer evoke_x")]).await
    );
    assert_json_snapshot!("wrong_host", get(&[("host", "evil.example")]).await);
}

#[tokio::test]
async fn events_that_are_none() {
    let limits = Limits { event_bytes: 200, publish_events: 2, ..Limits::default() };
    let world = World::with_echo(Setup { limits, ..Setup::default() }).await;
    let (structured, batch) = ("application/cloudevents+json", "application/cloudevents-batch+json");
    assert_json_snapshot!("event_that_is_no_json", publish(&world, structured, "{").await);
    assert_json_snapshot!(
        "event_without_type",
        publish(&world, structured, r#"{"specversion":"1.0","id":"1","source":"/a"}"#).await
    );
    assert_json_snapshot!("event_in_no_mode", publish(&world, "application/json", "{}").await);
    assert_json_snapshot!(
        "batch_with_one_bad_event",
        publish(&world, batch, r#"[{"specversion":"1.0","id":"1","source":"/a","type":"t"},{"id":"2"}]"#)
            .await
    );
    let one = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t"}"#;
    let many = format!("[{one},{one},{one}]");
    let reply = world.post("/v1/apps/shop/events", batch, many).await;
    assert_json_snapshot!("batch_too_long", problem(&reply));
    let large =
        json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": "x".repeat(300) });
    let reply = world.post("/v1/apps/shop/events", structured, large.to_string()).await;
    assert_json_snapshot!("event_too_large", problem(&reply));
    let reply = world.post("/v1/apps/nobody/events", structured, one).await;
    assert_json_snapshot!("event_for_unknown_app", problem(&reply));
}

#[tokio::test]
async fn deployments_that_are_refused_and_what_ran_before_still_runs() {
    let world = World::with_echo(Setup::default()).await;
    assert_json_snapshot!("deploy_no_tar", deploy(&world, Bytes::from("hello")).await);
    assert_json_snapshot!("deploy_no_manifest", deploy(&world, tar(&[("a.js", "")])).await);
    assert_json_snapshot!("deploy_manifest_not_toml", deploy(&world, tar(&[("evoke.toml", "[app\n")])).await);
    let broken = manifest(&[("echo", "timeot = \"5s\"\nmemory = \"lots\"")], &[("/echo", "POST", "ecko")]);
    assert_json_snapshot!("deploy_manifest_with_problems", deploy(&world, bundle(&broken)).await);
    let missing = manifest(&[("echo", ""), ("other", "")], &[]);
    assert_json_snapshot!(
        "deploy_missing_source",
        deploy(&world, tar(&[("evoke.toml", &missing), ("echo.js", "")])).await
    );
    let other = manifest(&[("echo", "")], &[]).replace("\"shop\"", "\"store\"");
    assert_json_snapshot!("deploy_other_app", deploy(&world, bundle(&other)).await);
    world.runtime.break_start("fresh", "no handler: fresh.js exports neither default.fetch nor handler");
    let fresh = manifest(&[("fresh", "")], &[]);
    assert_json_snapshot!("deploy_function_without_handler", deploy(&world, bundle(&fresh)).await);
    let reply = world.post("/v1/apps/shop/deployments", "application/gzip", "x").await;
    assert_json_snapshot!("deploy_wrong_type", problem(&reply));
    let taken = manifest(&[("mine", "")], &[("/echo", "POST", "mine")]).replace("\"shop\"", "\"store\"");
    let reply = world.post("/v1/apps/store/deployments", "application/x-tar", bundle(&taken)).await;
    assert_json_snapshot!("deploy_route_taken", problem(&reply));

    assert_eq!(world.data(Method::POST, "/echo", "still").await.json()["body"], "still");
}

#[tokio::test]
async fn bundles_over_the_limit_are_refused() {
    let limits = Limits { bundle_bytes: 4 << 10, ..Limits::default() };
    let world = World::with_echo(Setup { limits, ..Setup::default() }).await;
    assert_json_snapshot!("deploy_too_large", deploy(&world, Bytes::from(vec![0; 8 << 10])).await);
}

#[tokio::test]
async fn functions_that_fail() {
    let world = World::with_echo(Setup::default()).await;
    let failing = |code: FailureCode, message: &'static str| {
        world.runtime.script("echo", move |_| async move {
            let stack = Some("at secret.js:1".to_owned());
            Ended::Failed(Failure { stack, ..Failure::new(code, message) })
        });
    };
    let call = async || problem(&world.data(Method::POST, "/echo", "").await);
    let invoke = async || problem(&world.get("/v1/apps/shop/functions/echo/invoke").await);
    failing(FailureCode::FunctionError, "TypeError: password hunter2 is not a function");
    assert_json_snapshot!("function_error_on_the_data_listener", call().await);
    assert_json_snapshot!("function_error_on_the_control_listener", invoke().await);
    failing(FailureCode::Crashed, "killed by signal 11 (SIGSEGV)");
    assert_json_snapshot!("crashed", invoke().await);
    failing(FailureCode::OutOfMemory, "over its memory limit of 128 MiB");
    assert_json_snapshot!("out_of_memory", invoke().await);
    world.runtime.script("echo", |_| async { Ended::Returned { events: Vec::new() } });
    assert_json_snapshot!("no_response", invoke().await);
    world.runtime.script("echo", |guest| async move {
        guest.respond(103, "").await;
        Ended::Returned { events: Vec::new() }
    });
    assert_json_snapshot!("response_that_is_not_final", invoke().await);
    world.runtime.script("echo", |_| async { panic!("the script panics") });
    assert_eq!(call().await["status"], 502);
}

#[tokio::test]
async fn functions_that_fail_in_development_say_why() {
    let world = World::with_echo(Setup { tell_failures: true, ..Setup::default() }).await;
    world.runtime.script("echo", |_| async {
        Ended::Failed(Failure::new(FailureCode::FunctionError, "TypeError: x is not a function"))
    });
    let detail = problem(&world.data(Method::POST, "/echo", "").await)["detail"].clone();
    assert_eq!(detail, "function echo failed: function_error: TypeError: x is not a function");
}

#[tokio::test]
async fn functions_that_take_too_long_or_are_too_many() {
    let limits = Limits { waiting: Duration::from_millis(20), ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    world.deploy(&[("slow", "timeout = \"2s\"\nconcurrency = 1")], &[("/slow", "GET", "slow")]).await;
    world.runtime.script("slow", |_| std::future::pending());
    let (first, second) = tokio::join!(world.data(Method::GET, "/slow", ""), async {
        while world.runtime.alive() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.data(Method::GET, "/slow", "").await
    });
    assert_json_snapshot!("timed_out", problem(&first));
    assert!(second.header("retry-after").is_some());
    let mut second = problem(&second);
    second["retry_after_ms"] = "[pause]".into();
    assert_json_snapshot!("overloaded", second);
}

#[tokio::test]
async fn header_fields_that_are_wrong() {
    let world = World::with_echo(Setup::default()).await;
    let request = world.to_data(Method::POST, "/echo").header("idempotency-key", "a b");
    let reply = send(world.data, request.body(Full::<Bytes>::default()).unwrap()).await;
    assert_json_snapshot!("idempotency_key_that_is_none", problem(&reply));
    let reply = world.post("/v1/apps/shop/dead-letters/redrive", "text/plain", "all").await;
    assert_json_snapshot!("body_of_another_type", problem(&reply));
    let reply = world.post("/v1/apps/shop/dead-letters/redrive", "application/json", "{\"runs\": [").await;
    assert_json_snapshot!("body_that_is_no_json", problem(&reply));
}

#[tokio::test]
async fn a_failing_store_is_named_by_its_code_and_says_whether_to_repeat() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with_echo(Setup { store: store.clone(), ..Setup::default() }).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t"}"#;
    // The bundle, the deployment and a sweep: from here on nobody else changes anything.
    while store.mutations() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.fail_next(Fault::Before);
    assert_json_snapshot!("store_unavailable", publish(&world, "application/cloudevents+json", event).await);
    store.fail_next(Fault::After);
    assert_json_snapshot!(
        "store_outcome_unknown",
        publish(&world, "application/cloudevents+json", event).await
    );
    let reply = world.post("/v1/apps/shop/events", "application/cloudevents+json", event).await;
    assert_eq!(reply.json()["events"][0]["duplicate"], true, "it had happened");
    store.crash();
    let reply = world.get("/v1/apps/shop/events").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "store_closed"));
    world.stop.cancel();
}

#[tokio::test]
async fn an_unknown_outcome_may_be_repeated_with_a_key_and_is_to_be_looked_up_without() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(Setup { store: store.clone(), ..Setup::default() }).await;
    world.deploy(&[("write", "")], &[("/write", "POST", "write")]).await;
    while store.mutations() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let failing = store.clone();
    world.runtime.script("write", move |guest| {
        let failing = failing.clone();
        async move {
            guest.ask(Method::PUT, "/v1/kv/default/k", &[], "1").await;
            failing.fail_next(Fault::After);
            guest.agree().await
        }
    });
    let call = async |fields: &[(&str, &str)]| {
        let request = fields.iter().fold(world.to_data(Method::POST, "/write"), |request, (name, value)| {
            request.header(*name, *value)
        });
        send(world.data, request.body(Full::<Bytes>::default()).unwrap()).await
    };
    let unkeyed = call(&[]).await;
    assert_json_snapshot!("effects_unknown", problem(&unkeyed));
    let run = unkeyed.header("evoke-run").unwrap();
    let found = world.get(&format!("/v1/apps/shop/runs/{run}")).await;
    assert_eq!(found.json()["state"], "completed", "as the answer says, when it was kept");
    assert_json_snapshot!("effects_unknown_with_a_key", problem(&call(&[("idempotency-key", "k")]).await));
    let again = call(&[("idempotency-key", "k")]).await;
    assert_eq!((again.status, again.header("evoke-replayed")), (StatusCode::OK, Some("true")));
    store.fail_next(Fault::After);
    assert_json_snapshot!("acceptance_unknown", problem(&call(&[("prefer", "respond-async")]).await));
    world.stop.cancel();
}

#[tokio::test]
async fn a_mistake_in_the_server_is_an_answer_without_details() {
    let world = World::with_echo(Setup::default()).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t"}"#;
    world.clock.broken.store(true, Ordering::SeqCst);
    let refused = publish(&world, "application/cloudevents+json", event).await;
    world.clock.broken.store(false, Ordering::SeqCst);
    assert_json_snapshot!("internal", refused);
    let reply = world.post("/v1/apps/shop/events", "application/cloudevents+json", event).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
}
