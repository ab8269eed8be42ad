//! What passes between a client and a server behind a route: trailers, HTTP/2, expectations, TLS, proxies, time.

use std::sync::Arc;

use bytes::Bytes;
use evoke_gateway::Proxies;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_util::task::TaskTracker;

use crate::behind::{Behind, behind};
use crate::support::{Setup, World, open, send};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn world(setup: Setup, route: &str, behind: &Behind) -> World {
    let world = World::with(setup).await;
    world.deploy_routes(&route.replace("UP", &format!("http://127.0.0.1:{}", behind.port))).await;
    world
}

const ROUTE: &str = "[[routes]]\npath = \"/r\"\nto = \"UP\"\n";

async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "ended: {text}");
        text += &String::from_utf8_lossy(&bytes[..read]);
    }
    text
}

#[tokio::test]
async fn trailers_go_along_both_ways() {
    let behind = behind(|_, _| {
        "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n".into()
    })
    .await;
    let world = world(Setup::default(), ROUTE, &behind).await;
    let mut client = TcpStream::connect(world.data).await.unwrap();
    let request = "POST /r HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTrailer: x-mine\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Mine: 1\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = until(&mut client, "x-sum: 7\r\n").await;
    assert!(answer.contains("trailer: x-sum\r\n"), "{answer}");
    let seen = behind.seen.lock()[0].clone();
    assert!(seen.contains("te: trailers\r\n") && seen.contains("x-mine: 1\r\n"), "{seen}");
}

#[tokio::test]
async fn a_client_of_http_2_reaches_a_server_of_http_1() {
    let behind = behind(|_, _| OK.into()).await;
    let world = world(Setup::default(), ROUTE, &behind).await;
    let stream = TcpStream::connect(world.data).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    TaskTracker::new().spawn(connection);
    for _ in 0..3 {
        let request = Request::post("http://shop.test/r").body(Full::<Bytes>::from("two")).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    let seen = behind.seen.lock()[0].clone();
    assert!(
        seen.starts_with("POST /r HTTP/1.1\r\n") && seen.contains("x-forwarded-host: shop.test\r\n"),
        "{seen}"
    );
    assert!(seen.contains("via: 2.0 "), "{seen}");
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_server_behind_wants_it() {
    let behind = behind(|_, _| OK.into()).await;
    let world = world(Setup::default(), ROUTE, &behind).await;
    let mut client = TcpStream::connect(world.data).await.unwrap();
    let head = b"POST /r HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.write_all(head).await.unwrap();
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    client.write_all(b"body").await.unwrap();
    assert!(until(&mut client, "ok").await.starts_with("HTTP/1.1 200"));
    let seen = behind.seen.lock()[0].to_lowercase();
    assert!(!seen.contains("expect") && seen.ends_with("body"), "{seen}");
}

#[tokio::test]
async fn an_answer_that_pauses_or_lasts_too_long_is_cut() {
    for limit in ["idle_timeout = \"1s\"", "total_timeout = \"1s\""] {
        let behind = behind(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart".into()).await;
        let world = world(Setup::default(), &format!("{ROUTE}{limit}\n"), &behind).await;
        let response =
            open(world.data, world.to_data(Method::GET, "/r").body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{limit}");
        assert!(response.into_body().collect().await.is_err(), "{limit}: an answer that was cut looks whole");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_not_used_again() {
    let behind = behind(|nth, _| if nth == 1 { String::new() } else { OK.into() }).await;
    let world = world(Setup::default(), &format!("{ROUTE}retries = 1\n"), &behind).await;
    assert_eq!(world.data(Method::GET, "/r", "").await.text(), "ok");
    // On the kept connection it gets none; on a new one it does.
    assert_eq!(world.data(Method::GET, "/r", "").await.text(), "ok");
    assert_eq!(behind.seen.lock().len(), 3);
}

#[tokio::test]
async fn a_server_with_a_certificate_of_an_own_authority_is_reached_where_that_is_trusted() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certificate.pem()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TaskTracker::new().spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(OK.as_bytes()).await;
        }
    });
    let route = format!("[[routes]]\npath = \"/r\"\nto = \"https://localhost:{port}\"\nretries = 0\n");
    let told = Setup { tell_failures: true, ..Setup::default() };
    let (stranger, trusting) =
        (World::with(told).await, World::with(Setup { ca_file: Some(ca_file), ..Setup::default() }).await);
    stranger.deploy_routes(&route).await;
    let refused = stranger.data(Method::GET, "/r", "").await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert!(refused.text().contains("--ca-file"), "{refused:?}");
    trusting.deploy_routes(&route).await;
    assert_eq!(trusting.data(Method::GET, "/r", "").await.text(), "ok");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_passed_on_and_rates_count_whom_it_names() {
    let behind = behind(|_, _| OK.into()).await;
    let proxies = Proxies(vec!["127.0.0.1/32".parse().unwrap()]);
    let rule = "[decorators.slow]\nrate = 1\nper = \"1h\"\nby = \"client\"\n";
    let route = format!("{ROUTE}[[routes]]\npath = \"/slow\"\nto = \"UP\"\ndecorators = [\"slow\"]\n{rule}");
    let world = world(Setup { proxies, ..Setup::default() }, &route, &behind).await;
    let request = world
        .to_data(Method::GET, "/r")
        .header("x-forwarded-for", "6.6.6.6, 2001:db8::9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "shop.example.com");
    send(world.data, request.body(Full::<Bytes>::default()).unwrap()).await;
    let seen = behind.seen.lock()[0].clone();
    for line in [
        "x-forwarded-for: 2001:db8::9, 127.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
        "x-forwarded-host: shop.example.com\r\n",
        "forwarded: for=\"[2001:db8::9]\";host=\"shop.example.com\";proto=https, for=127.0.0.1\r\n",
    ] {
        assert!(seen.contains(line), "{line}{seen}");
    }
    for (client, status) in [("7.7.7.7", 200), ("8.8.8.8", 200), ("7.7.7.7", 429)] {
        let request = world.to_data(Method::GET, "/slow").header("x-forwarded-for", client);
        let reply = send(world.data, request.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{client}");
    }
}
