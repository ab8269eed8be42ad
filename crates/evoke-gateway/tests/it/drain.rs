use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{Setup, World, open, send};

#[tokio::test]
async fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let world = World::with_echo(Setup::default()).await;
    let (go, mut gone) = mpsc::channel::<()>(1);
    let (begun, mut has_begun) = mpsc::channel(1);
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let opened = gate.clone();
    world.runtime.script("echo", move |guest| {
        let (begun, gate, _go) = (begun.clone(), gate.clone(), go.clone());
        async move {
            begun.send(()).await.unwrap();
            gate.notified().await;
            guest.agree().await
        }
    });
    let request = world.to_data(Method::POST, "/echo").body(Full::<bytes::Bytes>::default()).unwrap();
    let (reply, ()) = tokio::join!(send(world.data, request), async {
        has_begun.recv().await.unwrap();
        world.stop.cancel();
        // The listener is closed as soon as the stop is seen.
        while TcpStream::connect(world.data).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        opened.notify_one();
    });
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "ok"));
    world.tasks.wait().await;
    gone.close();
}

#[tokio::test]
async fn idle_connections_are_closed_at_once() {
    let mut setup = Setup::default();
    setup.bounds.grace = Duration::from_secs(3_600);
    setup.bounds.head_timeout = Duration::from_secs(3_600);
    let world = World::with_echo(setup).await;
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    world.stop.cancel();
    world.tasks.wait().await;
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    let mut setup = Setup::default();
    setup.bounds.grace = Duration::from_millis(50);
    let world = World::with_echo(setup).await;
    world.runtime.script("echo", |_| std::future::pending());
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    while world.runtime.alive() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop.cancel();
    world.tasks.wait().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    while world.runtime.alive() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn followers_of_logs_are_let_go_at_once() {
    let world = World::with_echo(Setup::default()).await;
    let request = world.to_control(Method::GET, "/v1/apps/shop/logs?follow=true");
    let response = open(world.control, request.body(Full::<bytes::Bytes>::default()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    world.stop.cancel();
    world.tasks.wait().await;
}

#[tokio::test]
async fn a_draining_engine_is_alive_but_not_ready() {
    let world = World::with_echo(Setup::default()).await;
    world.engine.drain(Duration::from_secs(1)).await.unwrap();
    assert_eq!(world.get("/health").await.status, StatusCode::OK);
    let ready = world.get("/ready").await;
    assert_eq!((ready.status, ready.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
    let call = world.data(Method::POST, "/echo", "").await;
    assert_eq!((call.status, call.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
    assert_eq!(call.header("retry-after"), Some("5"));
}
