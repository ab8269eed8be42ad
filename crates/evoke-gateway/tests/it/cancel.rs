use std::time::Duration;

use evoke_core::runtime::Ended;
use evoke_gateway::api::{CancelledRun, CancelledRuns, RunList};
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::support::{Reply, Setup, World, send};

const ON: &str = "concurrency = 1\non = [{ event = \"order\" }]";

async fn world() -> World {
    let world = World::with(Setup::default()).await;
    world.deploy(&[("hangs", ON), ("echo", "")], &[("/hang", "GET", "hangs")]).await;
    world.runtime.script("hangs", |_| std::future::pending::<Ended>());
    world
}

async fn runs(world: &World, query: &str) -> RunList {
    serde_json::from_slice(&world.get(&format!("/v1/apps/shop/runs{query}")).await.body).unwrap()
}

/// So many runs in a state.
async fn reaches(world: &World, state: &str, count: usize) {
    while runs(world, &format!("?state={state}")).await.runs.len() != count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn cancel(world: &World, path: &str, body: serde_json::Value) -> Reply {
    world.post(&format!("/v1/apps/shop/runs/{path}"), "application/json", body.to_string()).await
}

#[tokio::test]
async fn a_run_is_cancelled_once_and_says_by_whom_and_why() {
    let world = world().await;
    world.publish("o1", "order").await;
    reaches(&world, "running", 1).await;
    let run = runs(&world, "").await.runs[0].id.clone();
    let reply = cancel(&world, &format!("{run}/cancel"), json!({ "reason": " twice \n" })).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let CancelledRun { run: shown, before } = serde_json::from_slice(&reply.body).unwrap();
    let last = shown.attempts.last().unwrap();
    assert_eq!((before, shown.state.as_str(), last.number), (false, "failed", 1));
    assert_eq!(
        (last.code.as_deref(), last.message.as_deref()),
        (Some("cancelled_by_operator"), Some("twice"))
    );
    assert_eq!(last.ended_by.as_deref(), Some("operator"));
    let again = world.post(&format!("/v1/apps/shop/runs/{run}/cancel"), "", String::new()).await;
    assert_eq!(again.json()["before"], true);
    assert_eq!(again.json()["run"], reply.json()["run"]);
    let unknown = cancel(&world, "run_x/cancel", json!({})).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "unknown_run"));
    let long = cancel(&world, &format!("{run}/cancel"), json!({ "reason": "x".repeat(501) })).await;
    assert_eq!(long.code(), "invalid_request");
}

#[tokio::test]
async fn what_has_ended_is_not_cancelled() {
    let world = world().await;
    let reply = world.post("/v1/apps/shop/functions/echo/invoke", "text/plain", "x".to_owned()).await;
    let run = reply.header("evoke-run").unwrap().to_owned();
    world.ended(&run).await;
    let refused = cancel(&world, &format!("{run}/cancel"), json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "run_ended"));
    assert_eq!(refused.json()["detail"], format!("run {run} of function echo has ended: completed"));
    let several = cancel(&world, "cancel", json!({ "runs": [run, "run_x"] })).await;
    let done: CancelledRuns = serde_json::from_slice(&several.body).unwrap();
    assert_eq!((done.runs.len(), done.ended.len(), done.missing.len()), (0, 1, 1));
}

#[tokio::test]
async fn a_sync_call_under_way_is_listed_and_can_be_cancelled() {
    let world = world().await;
    let request = world.to_data(Method::GET, "/hang").body(Full::<bytes::Bytes>::default()).unwrap();
    let caller = world.tasks.spawn(send(world.data, request));
    reaches(&world, "running", 1).await;
    let run = runs(&world, "?function=hangs").await.runs[0].id.clone();
    assert!(runs(&world, "?function=echo").await.runs.is_empty());
    assert_eq!(world.get(&format!("/v1/apps/shop/runs/{run}")).await.json()["state"], "running");
    cancel(&world, &format!("{run}/cancel"), json!({ "reason": "enough" })).await;
    let told = caller.await.unwrap();
    assert_eq!((told.status, told.code().as_str()), (StatusCode::BAD_GATEWAY, "cancelled_by_operator"));
    assert_eq!(
        (told.json()["ended_by"].as_str(), told.header("evoke-run")),
        (Some("operator"), Some(run.as_str()))
    );
}

#[tokio::test]
async fn all_that_are_pending_are_cancelled_and_a_dry_run_changes_nothing() {
    let world = world().await;
    for n in 0..5 {
        world.publish(&format!("o{n}"), "order").await;
    }
    reaches(&world, "running", 1).await;
    let all = |more: serde_json::Value| {
        let mut order = json!({ "all": true, "function": "hangs" });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let dry: CancelledRuns =
        serde_json::from_slice(&cancel(&world, "cancel", all(json!({ "dry_run": true }))).await.body)
            .unwrap();
    assert_eq!((dry.runs.len(), dry.more), (5, false));
    assert_eq!(runs(&world, "?state=queued").await.runs.len(), 4);
    let two = cancel(&world, "cancel", all(json!({ "state": "queued", "limit": 2 }))).await;
    let two: CancelledRuns = serde_json::from_slice(&two.body).unwrap();
    assert_eq!((two.runs.len(), two.more), (2, true));
    let rest: CancelledRuns =
        serde_json::from_slice(&cancel(&world, "cancel", all(json!({ "reason": "flood" }))).await.body)
            .unwrap();
    assert_eq!((rest.runs.len(), rest.more), (3, false));
    reaches(&world, "failed", 5).await;
    for wrong in [
        json!({}),
        json!({ "all": true, "runs": ["run_x"] }),
        json!({ "runs": ["run_x"], "function": "hangs" }),
        json!({ "all": true, "state": "completed" }),
        json!({ "all": true, "limit": 0 }),
    ] {
        assert_eq!(cancel(&world, "cancel", wrong.clone()).await.code(), "invalid_request", "{wrong}");
    }
}
