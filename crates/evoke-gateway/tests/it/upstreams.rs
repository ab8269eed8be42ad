//! Routes to other servers, with a server behind that says what it was sent, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::behind::{Behind, behind, ok};
use crate::support::{Setup, World, send};

async fn world(route: &str, behind: &Behind) -> World {
    let mut setup = Setup { tell_failures: true, ..Setup::default() };
    setup.bounds.tunnels = 1;
    let world = World::with(setup).await;
    world.deploy_routes(&route.replace("UP", &format!("http://127.0.0.1:{}", behind.port))).await;
    world
}

#[tokio::test]
async fn an_upstream_gets_the_request_with_the_fields_of_this_hop_and_no_others() {
    let behind = behind(|_, _| {
        "HTTP/1.1 201 Created\r\nConnection: x-private\r\nX-Private: 1\r\nX-Open: 2\r\nContent-Length: 2\r\n\r\nhi".into()
    })
    .await;
    let world =
        world("[[routes]]\npath = \"/api/{*rest}\"\nto = \"UP/base/\"\nstrip_prefix = \"/api\"\n", &behind)
            .await;
    let request = world
        .to_data(Method::POST, "/api/a%20b/c?q=%2F&r")
        .header("connection", "x-secret, keep-alive")
        .header("x-secret", "1")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("x-real-ip", "6.6.6.6")
        .header("proxy-authorization", "Basic eA==")
        .header("upgrade", "h2c")
        .header("via", "1.0 other")
        .header("cdn-loop", "other")
        .header("accept", "text/plain");
    let reply = send(world.data, request.body(Full::<Bytes>::from("body")).unwrap()).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::CREATED, "hi"));
    assert_eq!((reply.header("x-private"), reply.header("x-open")), (None, Some("2")));
    let seen = behind.seen.lock()[0].clone();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "body");
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /base/a%20b/c?q=%2F&r HTTP/1.1");
    lines.sort_unstable();
    let name = lines.iter().find_map(|line| line.strip_prefix("cdn-loop: evoke-")).unwrap();
    let host = world.data.to_string();
    let expected = [
        "accept: text/plain".to_owned(),
        "cdn-loop: other".into(),
        format!("cdn-loop: evoke-{name}"),
        "content-length: 4".into(),
        format!("forwarded: for=127.0.0.1;host=\"{host}\";proto=http"),
        format!("host: 127.0.0.1:{}", behind.port),
        "via: 1.0 other".into(),
        format!("via: 1.1 evoke-{name}"),
        "x-forwarded-for: 127.0.0.1".into(),
        format!("x-forwarded-host: {host}"),
        "x-forwarded-proto: http".into(),
    ];
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn parameters_make_the_path_and_nothing_climbs_out_of_the_base() {
    let behind = behind(|_, _| ok("")).await;
    let routes = "[[routes]]\npath = \"/users/{id}\"\nto = \"UP/v2/people/{id}\"\nhost = \"client\"\n\
        [[routes]]\npath = \"/f/{*rest}\"\nto = \"UP/files\"\n";
    let world = world(routes, &behind).await;
    assert_eq!(world.data(Method::GET, "/users/a%2Fb%3Fc?q=1", "").await.status, StatusCode::OK);
    let seen = behind.seen.lock()[0].clone();
    assert!(seen.starts_with("GET /v2/people/a%2Fb%3Fc?q=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("\r\nhost: {}\r\n", world.data)), "{seen}");
    for path in ["/users/..", "/f/../x", "/f/a/%2e%2E/x", "/f/a%2f..%2fx", "/f/a%5c..%5cx", "/f/..;a/x"] {
        let reply = world.data(Method::GET, path, "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "path_refused"), "{path}");
    }
    assert_eq!(behind.seen.lock().len(), 1);
}

#[tokio::test]
async fn a_request_that_could_be_sent_twice_without_harm_is_and_no_other() {
    let behind = behind(|nth, _| if nth % 2 == 0 { String::new() } else { ok("again") }).await;
    let world = world("[[routes]]\npath = \"/r\"\nto = \"UP\"\nretries = 1\n", &behind).await;
    let reply = world.data(Method::GET, "/r", "").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "again"));
    assert_eq!(behind.seen.lock().len(), 2);
    // Not idempotent; then idempotent, but its body is gone.
    for (method, body) in [(Method::POST, ""), (Method::PUT, "taken")] {
        behind.seen.lock().clear();
        let reply = world.data(method.clone(), "/r", body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (502, "upstream_failed"), "{method}");
        assert_eq!(reply.json()["ended_by"], "upstream");
        assert_eq!(behind.seen.lock().len(), 1, "{method}");
    }
}

#[tokio::test]
async fn what_an_upstream_does_wrong_is_told_with_route_and_upstream() {
    let wrong = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ];
    let behind = behind(move |nth, _| wrong[nth].to_owned()).await;
    let world = world("[[routes]]\npath = \"/r\"\nto = \"UP\"\nretries = 0\n", &behind).await;
    for _ in wrong {
        let reply = world.data(Method::GET, "/r", "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (502, "upstream_failed"));
        let detail = reply.json()["detail"].to_string();
        assert!(detail.contains("route /r of app shop: upstream http://127.0.0.1:"), "{detail}");
    }
}

#[tokio::test]
async fn a_silent_upstream_a_full_one_and_one_that_leads_back_are_refused() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let behind = Behind { port, seen: Arc::default() };
    let world =
        world("[[routes]]\npath = \"/r\"\nto = \"UP\"\ntimeout = \"2s\"\nconcurrency = 1\n", &behind).await;
    let (first, second) = tokio::join!(world.data(Method::GET, "/r", ""), world.data(Method::GET, "/r", ""));
    let mut codes = [first.code(), second.code()];
    codes.sort();
    assert_eq!(codes, ["upstream_busy", "upstream_timed_out"]);
    world.deploy_routes(&format!("[[routes]]\npath = \"/loop\"\nto = \"http://{}\"\n", world.data)).await;
    let reply = world.data(Method::GET, "/loop", "").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (508, "loop_detected"));
}

#[tokio::test]
async fn heads_and_answers_without_a_body_keep_their_length_and_the_connection() {
    let behind = behind(|_, request| match request {
        head if head.starts_with("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into(),
        _ => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n".into(),
    })
    .await;
    let world = world("[[routes]]\npath = \"/r\"\nto = \"UP\"\n", &behind).await;
    for _ in 0..2 {
        let head = world.data(Method::HEAD, "/r", "").await;
        assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, Some("5")));
        let same = world.data(Method::GET, "/r", "").await;
        assert_eq!((same.status, same.header("etag")), (StatusCode::NOT_MODIFIED, Some("\"a\"")));
    }
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn a_web_socket_passes_through_has_a_bound_and_ends_with_the_server() {
    let behind = behind(|_, _| SWITCH.to_owned()).await;
    let world = world("[[routes]]\npath = \"/ws\"\nto = \"UP\"\n", &behind).await;
    let ask = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let mut client = TcpStream::connect(world.data).await.unwrap();
    client.write_all(ask).await.unwrap();
    let mut seen = String::new();
    while !seen.ends_with("\r\n\r\n") {
        seen.push(char::from(client.read_u8().await.unwrap()));
    }
    assert!(seen.starts_with("HTTP/1.1 101") && seen.contains("upgrade: websocket"), "{seen}");
    client.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    client.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
    let mut second = TcpStream::connect(world.data).await.unwrap();
    second.write_all(ask).await.unwrap();
    let mut refused = [0; 12];
    second.read_exact(&mut refused).await.unwrap();
    assert_eq!(&refused, b"HTTP/1.1 429");
    drop(second);
    world.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), client.read_u8()).await;
    assert!(ended.unwrap().is_err(), "the tunnel outlived the server");
}
