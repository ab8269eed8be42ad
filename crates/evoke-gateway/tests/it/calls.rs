use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;

use crate::support::{Setup, World, send};

#[tokio::test]
async fn invoke_passes_method_path_query_and_body_on_but_never_the_token() {
    let world = World::with_echo(Setup::default()).await;
    let path = "/v1/apps/shop/functions/echo/invoke/thumb%2Fs/x?w=64";
    let request =
        world.to_control(Method::PUT, path).header("x-mine", "1").body(Full::<Bytes>::from("hi")).unwrap();
    let reply = send(world.control, request).await;
    let seen = reply.json();
    assert_eq!((reply.status, &seen["method"]), (StatusCode::OK, &"PUT".into()));
    assert_eq!(seen["uri"], format!("http://{}/thumb%2Fs/x?w=64", world.control));
    assert_eq!(seen["body"], "hi");
    let fields = seen["headers"].to_string();
    assert!(fields.contains("x-mine: 1") && !fields.contains("authorization"), "{fields}");
    assert!(reply.header("evoke-run").unwrap().starts_with("run_"));
}

#[tokio::test]
async fn invoke_without_a_path_calls_the_root() {
    let world = World::with_echo(Setup::default()).await;
    let seen = world.get("/v1/apps/shop/functions/echo/invoke?a=1").await.json();
    assert_eq!(seen["uri"], format!("http://{}/?a=1", world.control));
    let seen = world.get("/v1/apps/shop/functions/echo/invoke").await.json();
    assert_eq!(seen["uri"], format!("http://{}/", world.control));
    let request =
        world.to_control(Method::from_bytes(b"PROPFIND").unwrap(), "/v1/apps/shop/functions/echo/invoke");
    let seen = send(world.control, request.body(Full::<Bytes>::default()).unwrap()).await.json();
    assert_eq!(seen["method"], "PROPFIND");
}

#[tokio::test]
async fn invoke_can_be_asked_not_to_wait() {
    let world = World::with_echo(Setup::default()).await;
    let request = world
        .to_control(Method::POST, "/v1/apps/shop/functions/echo/invoke")
        .header("prefer", "respond-async");
    let reply = send(world.control, request.body(Full::<Bytes>::from("later")).unwrap()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    world.ended(reply.json()["run"].as_str().unwrap()).await;
}
