use evoke_gateway::api;
use http::{Method, StatusCode};
use http_body_util::Full;

use crate::support::{World, bundle, manifest, send};

const FUNCTIONS: &[(&str, &str)] = &[
    (
        "checkout",
        "emits = [\"purchase_*\"]\nenv = { CURRENCY = \"EUR\", SECRET = \"hush\" }\ntimeout = \"3s\"",
    ),
    ("notify", "on = [{ event = \"purchase_complete\", retry = { attempts = 3 } }]"),
];
const ROUTES: &[(&str, &str, &str)] = &[("/orders", "POST", "checkout")];

async fn deploy(world: &World, manifest: &str) -> crate::support::Reply {
    world.post("/v1/apps/shop/deployments", "application/x-tar", bundle(manifest)).await
}

#[tokio::test]
async fn what_is_deployed_can_be_looked_at() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/apps").await.json(), serde_json::json!({ "apps": [] }));
    let reply = deploy(&world, &manifest(FUNCTIONS, ROUTES)).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::CREATED, Some("/v1/apps/shop")));
    let deployment: api::Deployment = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((deployment.version, deployment.changed.len(), deployment.removed.len()), (1, 2, 0));

    let apps: api::AppList = serde_json::from_slice(&world.get("/v1/apps").await.body).unwrap();
    assert_eq!((apps.apps[0].name.as_str(), apps.apps[0].functions), ("shop", 2));
    let app: api::App = serde_json::from_slice(&world.get("/v1/apps/shop").await.body).unwrap();
    assert_eq!((app.bundle, app.routes[0].path.as_str()), (deployment.bundle, "/orders"));
    let list: api::FunctionList =
        serde_json::from_slice(&world.get("/v1/apps/shop/functions").await.body).unwrap();
    assert_eq!(list.functions, app.functions);

    let reply = world.get("/v1/apps/shop/functions/checkout").await;
    assert!(!reply.text().contains("hush"), "values of variables are not shown");
    let function: api::Function = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (function.timeout_ms, function.env.as_slice()),
        (3_000, &["CURRENCY".to_owned(), "SECRET".to_owned()][..])
    );
    assert_eq!(function.routes, app.routes);
    assert_eq!(list.functions[1].on[0].retry.attempts, 3);
}

#[tokio::test]
async fn revisions_are_listed_newest_first() {
    let world = World::new().await;
    deploy(&world, &manifest(&[("a", "")], &[])).await;
    deploy(&world, &manifest(&[("a", "timeout = \"9s\"")], &[])).await;
    let reply = world.get("/v1/apps/shop/functions/a/revisions").await;
    let list: api::RevisionList = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(list.revisions.iter().map(|revision| revision.current).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn unknown_paths_and_methods_of_the_control_api_are_problems_too() {
    let world = World::new().await;
    let reply = world.get("/v1/nothing/here").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    let request = world.to_control(Method::DELETE, "/v1/apps").body(Full::<bytes::Bytes>::default()).unwrap();
    let reply = send(world.control, request).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn a_problem_can_be_looked_up() {
    let world = World::new().await;
    let reply = world.get("/problems/timed_out").await;
    assert!(reply.text().starts_with("timed_out (504): function timed out"), "{}", reply.text());
    assert_eq!(world.get("/problems/nonsense").await.status, StatusCode::NOT_FOUND);
}
