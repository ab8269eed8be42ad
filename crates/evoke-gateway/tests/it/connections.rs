//! What a client does wrong below HTTP's meaning, over raw sockets.

use std::time::Duration;

use bytes::Bytes;
use evoke_core::limits::Limits;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::support::{Setup, World, send};

async fn exchange(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_head_is_sent_away() {
    let mut setup = Setup::default();
    setup.bounds.head_timeout = Duration::from_millis(100);
    let world = World::with_echo(setup).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "POST /echo HTTP/1.1\r\nHost: a\r\nX"] {
        let answer = exchange(&world, beginning).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{beginning:?}: {answer}");
    }
}

#[tokio::test]
async fn header_fields_have_a_bound_in_number_and_size() {
    let limits = Limits { headers: 20, header_bytes: 8 << 10, ..Limits::default() };
    let world = World::with_echo(Setup { limits, ..Setup::default() }).await;
    let fields = |count| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let request = |fields: String| {
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n")
    };
    assert!(exchange(&world, &request(fields(10))).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(&world, &request(fields(30))).await.starts_with("HTTP/1.1 431"));
    assert!(
        exchange(&world, &request(format!("x: {}\r\n", "y".repeat(20_000))))
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_server_lives_on() {
    let world = World::with_echo(Setup::default()).await;
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
        "GET /%% HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
    ] {
        let answer = exchange(&world, garbage).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{answer}"
        );
    }
    assert_eq!(world.data(Method::POST, "/echo", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_without_one_host_is_refused() {
    let world = World::with_echo(Setup::default()).await;
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
        let request = format!("POST /echo HTTP/1.1\r\n{hosts}Connection: close\r\nContent-Length: 0\r\n\r\n");
        let answer = exchange(&world, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("header Host"), "{answer}");
    }
    let answer = exchange(&world, "POST /echo HTTP/1.0\r\nContent-Length: 0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("http://localhost/echo"), "{answer}");
}

#[tokio::test]
async fn connections_over_the_bound_wait_until_one_ends() {
    let mut setup = Setup::default();
    setup.bounds.data_connections = 1;
    let world = World::with_echo(setup).await;
    let mut first = TcpStream::connect(world.data).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    first.write_all(head.as_bytes()).await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = TcpStream::connect(world.data).await.unwrap();
    second.write_all(head.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.read_u8()).await;
    assert!(early.is_err(), "the second connection was answered while the first was open");
    drop(first);
    assert_eq!(second.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn requests_over_the_bound_are_refused() {
    let mut setup = Setup::default();
    setup.bounds.requests = 1;
    let world = World::with_echo(setup).await;
    world.runtime.script("echo", |_| std::future::pending());
    let mut first = TcpStream::connect(world.data).await.unwrap();
    first.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    while world.runtime.alive() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let reply = world.data(Method::POST, "/echo", "").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "overloaded"));
    assert_eq!(reply.json()["limit"]["name"], "requests");
}

#[tokio::test]
async fn http_2_is_understood_on_the_same_port() {
    let world = World::with_echo(Setup::default()).await;
    let tasks = TaskTracker::new();
    let stream = TcpStream::connect(world.data).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tasks.spawn(connection);
    let request = Request::post("http://shop.test/echo").body(Full::<Bytes>::from("over two")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&seen["uri"], &seen["body"]), (&"http://shop.test/echo".into(), &"over two".into()));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let world = World::with_echo(Setup::default()).await;
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    for n in 0..3 {
        let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{n}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = String::new();
        while !seen.contains(&format!("\"body\":\"{n}\"")) || !seen.ends_with('}') {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            seen += std::str::from_utf8(&chunk[..read]).unwrap();
        }
        assert!(seen.starts_with("HTTP/1.1 200"));
    }
    send(world.data, world.to_data(Method::POST, "/echo").body(Full::<Bytes>::default()).unwrap()).await;
}
