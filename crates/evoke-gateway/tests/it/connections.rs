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
    // With the three above.
    assert!(exchange(&world, &request(fields(17))).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(&world, &request(fields(18))).await.starts_with("HTTP/1.1 431"));
    assert!(
        exchange(&world, &request(format!("x: {}\r\n", "y".repeat(20_000))))
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test]
async fn usually_a_head_has_at_most_a_hundred_fields() {
    let world = World::with_echo(Setup::default()).await;
    for (count, status) in [(97, 200), (98, 431)] {
        let fields: String = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n"
        );
        let answer = exchange(&world, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{count} fields and three more: {answer}");
    }
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

const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn connections_over_the_bound_wait_while_all_others_have_a_request() {
    let mut setup = Setup::default();
    setup.bounds.data_connections = 1;
    let world = World::with_echo(setup).await;
    world.runtime.script("echo", |_| std::future::pending());
    let mut first = TcpStream::connect(world.data).await.unwrap();
    first.write_all(HEAD).await.unwrap();
    while world.runtime.alive() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.runtime.script("echo", crate::support::echo);
    let mut second = TcpStream::connect(world.data).await.unwrap();
    second.write_all(HEAD).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.read_u8()).await;
    assert!(early.is_err(), "the second connection was answered while the first had a request");
    drop(first);
    assert_eq!(second.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn the_connection_that_is_idle_for_longest_makes_room() {
    let mut setup = Setup::default();
    setup.bounds.data_connections = 2;
    let world = World::with_echo(setup).await;
    let (mut silent, mut kept) =
        (TcpStream::connect(world.data).await.unwrap(), TcpStream::connect(world.data).await.unwrap());
    for _ in 0..2 {
        kept.write_all(HEAD).await.unwrap();
        let mut answer = [0; 4096];
        assert!(kept.read(&mut answer).await.unwrap() > 0);
    }
    let mut third = TcpStream::connect(world.data).await.unwrap();
    third.write_all(HEAD).await.unwrap();
    assert_eq!(third.read_u8().await.unwrap(), b'H');
    assert!(silent.read_u8().await.is_err(), "who said nothing was not asked to leave");
    kept.write_all(HEAD).await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_others_theirs() {
    let mut setup = Setup::default();
    setup.bounds.client_connections = 2;
    let world = World::with_echo(setup).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.data).await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        held.push(stream);
    }
    let mut third = TcpStream::connect(world.data).await.unwrap();
    let _ = third.write_all(HEAD).await;
    assert!(third.read_u8().await.is_err(), "a third connection of one client was answered");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(world.data).await.unwrap();
    other.write_all(HEAD).await.unwrap();
    assert_eq!(other.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_and_a_client_that_does_not_read_are_given_up() {
    let mut setup = Setup::default();
    setup.bounds.pace = evoke_gateway::Pace { bytes: 1_000, grace: Duration::from_millis(100) };
    let world = World::with_echo(setup).await;
    for length in ["10", "1000000"] {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\na");
        let answer = exchange(&world, &head).await;
        // What is small is waited for; the rest is the function's to answer, which is told that no more comes.
        let told = answer.contains("min_rate") || (answer.contains("stopped sending") && length != "10");
        assert!(told, "{length}: {answer}");
    }
    world.runtime.script("echo", |guest| async move {
        let body = evoke_core::body::Body::Full(vec![b'x'; 32 << 20].into());
        crate::support::respond(&guest, 200, &[], body).await;
        crate::support::done()
    });
    let mut deaf = TcpStream::connect(world.data).await.unwrap();
    deaf.write_all(HEAD).await.unwrap();
    let mut other = TcpStream::connect(world.data).await.unwrap();
    other.write_all(HEAD).await.unwrap();
    // It is not read, so that it ends can only be seen from its end: the server is through with it.
    deaf.readable().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while deaf.write(b"").await.is_ok() && deaf.take_error().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if deaf.write(b"\r\n").await.is_err() {
                break;
            }
        }
    })
    .await
    .expect("a client that does not read was served for ever");
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
async fn header_fields_have_the_same_bounds_over_http_2() {
    let limits = Limits { headers: 20, header_bytes: 8 << 10, ..Limits::default() };
    let world = World::with_echo(Setup { limits, ..Setup::default() }).await;
    let tasks = TaskTracker::new();
    let stream = TcpStream::connect(world.data).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tasks.spawn(connection);
    // With `content-length`.
    for (count, bytes, status) in [(19, 1, 200), (20, 1, 431), (10, 2_000, 431)] {
        let mut request = Request::post("http://shop.test/echo");
        for n in 0..count {
            request = request.header(format!("x-{n}"), "y".repeat(bytes));
        }
        let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{count} fields of {bytes} bytes");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_refused_when_it_is_too_long() {
    let limits = Limits { header_bytes: 8 << 10, ..Limits::default() };
    let world = World::with_echo(Setup { limits, ..Setup::default() }).await;
    for beginning in ["POST /echo HTTP/1.1\r\nHost: a\r\nX: ", "POST /"] {
        let mut stream = TcpStream::connect(world.data).await.unwrap();
        stream.write_all(format!("{beginning}{}", "y".repeat(12 << 10)).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
}

#[tokio::test]
async fn a_client_of_http_2_is_told_how_many_requests_there_may_be_at_once() {
    let mut setup = Setup::default();
    setup.bounds.streams = 7;
    let world = World::with_echo(setup).await;
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let [a, b, c, kind, ..] = head;
    assert_eq!(kind, 4, "it begins with its settings");
    let mut settings = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut settings).await.unwrap();
    // SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, 6.5.2).
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 7]), "{settings:?}");
}

#[tokio::test]
async fn a_connection_that_is_not_used_any_more_ends_in_either_version() {
    let mut setup = Setup::default();
    setup.bounds.idle_timeout = Duration::from_secs(1);
    let world = World::with_echo(setup).await;
    let mut one = TcpStream::connect(world.data).await.unwrap();
    one.write_all(HEAD).await.unwrap();
    let two = TcpStream::connect(world.data).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(two)).await.unwrap();
    let used = async {
        let request = Request::post("http://shop.test/echo").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
        let mut answer = Vec::new();
        one.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    };
    let both = async { tokio::join!(connection, used) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it is kept for ever");
    ended.unwrap();
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
