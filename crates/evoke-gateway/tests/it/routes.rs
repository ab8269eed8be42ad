use evoke_core::body::Body;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::sync::mpsc;

use crate::support::{Setup, World, done, echo, request_of, respond, send};

async fn world() -> World {
    let world = World::new().await;
    world
        .deploy(
            &[("echo", ""), ("other", "")],
            &[
                ("/orders/{id}", "GET", "echo"),
                ("/orders/{id}", "PUT", "echo"),
                ("/files/{*rest}", "POST", "other"),
            ],
        )
        .await;
    world.runtime.script("echo", echo);
    world.runtime.script("other", echo);
    world
}

#[tokio::test]
async fn a_request_reaches_the_function_of_its_route_as_it_was_sent() {
    let world = world().await;
    let request = world
        .to_data(Method::GET, "/orders/a%2Fb?x=1&y=%20")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("connection", "x-private")
        .header("x-private", "secret")
        .header("te", "trailers");
    let reply = send(world.data, request.body(Full::<bytes::Bytes>::default()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.header("evoke-run").unwrap().starts_with("run_"));
    let seen = reply.json();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["uri"], format!("http://{}/orders/a%2Fb?x=1&y=%20", world.data));
    assert_eq!(seen["params"], serde_json::json!([["id", "a/b"]]));
    assert_eq!(seen["client"], "127.0.0.1");
    let fields: Vec<&str> =
        seen["headers"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
    assert!(fields.contains(&"x-a: 1") && fields.contains(&"x-a: 2"), "{fields:?}");
    assert!(!fields.iter().any(|field| field.contains("secret") || field.starts_with("te:")), "{fields:?}");
}

#[tokio::test]
async fn the_callers_trace_goes_on_in_the_run() {
    let world = world().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = world.to_data(Method::GET, "/orders/1").header("traceparent", trace);
    let reply = send(world.data, request.body(Full::<bytes::Bytes>::default()).unwrap()).await;
    let run = world.ended(reply.header("evoke-run").unwrap()).await;
    assert_eq!(run.cause.trace_id, "0af7651916cd43dd8448eb211c80319c");
    let broken = world.to_data(Method::GET, "/orders/1").header("traceparent", "00-zz");
    let reply = send(world.data, broken.body(Full::<bytes::Bytes>::default()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn head_is_answered_by_the_get_route_without_its_body() {
    let world = world().await;
    world.runtime.script("echo", |mut guest| async move {
        assert_eq!(request_of(&mut guest).method, "GET");
        let (to, body) = mpsc::channel(1);
        respond(&guest, 200, &[("x-kind", "page")], Body::Stream(body)).await;
        for chunk in ["twelve", " bytes"] {
            if to.send(Ok(chunk.into())).await.is_err() {
                return Ended::Failed(Failure::new(FailureCode::Cancelled, "nobody read the body"));
            }
        }
        done()
    });
    let reply = world.data(Method::HEAD, "/orders/1", "").await;
    assert_eq!((reply.status, reply.header("x-kind")), (StatusCode::OK, Some("page")));
    assert_eq!(reply.header("content-length"), Some("12"));
    assert!(reply.body.is_empty());
    // Dropping the body would have cancelled it.
    let run = world.ended(reply.header("evoke-run").unwrap()).await;
    assert!(run.attempts[0].outcome.is_completed());
}

#[tokio::test]
async fn options_names_the_methods_and_other_methods_are_refused_with_them() {
    let world = world().await;
    let reply = world.data(Method::OPTIONS, "/orders/1", "").await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (StatusCode::NO_CONTENT, Some("GET, HEAD, OPTIONS, PUT"))
    );
    let reply = world.data(Method::DELETE, "/orders/1", "").await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, Some("GET, HEAD, OPTIONS, PUT"))
    );
    let reply = world.data(Method::HEAD, "/files/a", "").await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, Some("OPTIONS, POST"))
    );
    let reply = world.data(Method::TRACE, "/orders/1", "").await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_function_cannot_set_fields_that_are_evokes_or_the_connections() {
    let world = World::with_echo(Setup::default()).await;
    world.runtime.script("echo", |guest| async move {
        let fields = [
            ("evoke-run", "run_forged"),
            ("evoke-problem", "internal"),
            ("evoke-replayed", "true"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7000"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ];
        respond(&guest, 500, &fields, Body::Full("short".into())).await;
        done()
    });
    let reply = world.data(Method::POST, "/echo", "").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::INTERNAL_SERVER_ERROR, "short"));
    assert_ne!(reply.header("evoke-run"), Some("run_forged"));
    for name in ["evoke-problem", "evoke-replayed", "connection", "x-hop", "transfer-encoding"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("content-length"), Some("5"));
    assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn an_answer_that_may_have_no_body_has_none() {
    let world = World::with_echo(Setup::default()).await;
    world.runtime.script("echo", |guest| async move {
        respond(&guest, 204, &[("content-length", "3")], Body::Full("abc".into())).await;
        done()
    });
    let reply = world.data(Method::POST, "/echo", "").await;
    assert_eq!(
        (reply.status, reply.body.len(), reply.header("content-length")),
        (StatusCode::NO_CONTENT, 0, None)
    );
    let run = world.ended(reply.header("evoke-run").unwrap()).await;
    assert!(run.attempts[0].outcome.is_completed());
}
