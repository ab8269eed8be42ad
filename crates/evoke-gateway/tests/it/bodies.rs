use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use evoke_core::limits::Limits;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::support::{Setup, World, done, open, request_of, respond, send};

/// A request body whose chunks come when the test says so.
fn chunked(chunks: mpsc::Receiver<Bytes>) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send {
    StreamBody::new(stream::unfold(chunks, |mut chunks| async {
        let chunk = chunks.recv().await?;
        Some((Ok(Frame::data(chunk)), chunks))
    }))
}

fn small() -> Setup {
    Setup { limits: Limits { body_bytes: 256 << 10, ..Limits::default() }, ..Setup::default() }
}

#[tokio::test]
async fn bodies_stream_both_ways_while_the_call_goes_on() {
    let world = World::with_echo(Setup::default()).await;
    world.runtime.script("echo", |mut guest| async move {
        let (to, body) = mpsc::channel(1);
        respond(&guest, 200, &[], Body::Stream(body)).await;
        let request = request_of(&mut guest);
        while let Some(chunk) = request.body.chunk().await {
            to.send(chunk).await.unwrap();
        }
        done()
    });
    let (send, chunks) = mpsc::channel(1);
    send.send(Bytes::from("first")).await.unwrap();
    let request = world.to_data(Method::POST, "/echo").body(Box::pin(chunked(chunks))).unwrap();
    let mut response = open(world.data, request).await;
    let mut next = async || response.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    assert_eq!(next().await.as_deref(), Some(&b"first"[..]));
    send.send(Bytes::from("second")).await.unwrap();
    assert_eq!(next().await.as_deref(), Some(&b"second"[..]));
    drop(send);
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_declared_body_over_the_limit_is_refused_before_the_call() {
    let world = World::with_echo(small()).await;
    let body = Full::new(Bytes::from(vec![b'x'; (256 << 10) + 1]));
    let reply = send(world.data, world.to_data(Method::POST, "/echo").body(body).unwrap()).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    assert_eq!(reply.json()["limit"], serde_json::json!({ "name": "body_bytes", "value": 256 << 10 }));
    assert_eq!(reply.header("evoke-run"), None);
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_without_sending_anything() {
    let world = World::with_echo(small()).await;
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_streamed_body_is_cut_at_the_limit() {
    let world = World::with_echo(small()).await;
    // Its own time limit is not what ends it.
    world.deploy(&[("echo", "timeout = \"10m\"")], &[("/echo", "POST", "echo")]).await;
    world.runtime.script("echo", |mut guest| async move {
        let body = std::mem::take(&mut request_of(&mut guest).body).collect(u64::MAX).await;
        assert_eq!(body, Err(BodyError::TooLarge { limit_bytes: 256 << 10 }));
        std::future::pending().await
    });
    let (to, chunks) = mpsc::channel(64);
    for _ in 0..40 {
        to.send(Bytes::from(vec![b'x'; 8 << 10])).await.unwrap();
    }
    drop(to);
    let request = world.to_data(Method::POST, "/echo").body(Box::pin(chunked(chunks))).unwrap();
    let reply = send(world.data, request).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
}

#[tokio::test]
async fn a_large_body_within_the_limit_arrives_whole() {
    let world = World::with_echo(Setup::default()).await;
    let body = "0123456789abcdef".repeat(200_000);
    let request = world.to_data(Method::POST, "/echo").body(Full::new(Bytes::from(body.clone()))).unwrap();
    let reply = send(world.data, request).await;
    assert_eq!(reply.json()["body"], body);
}

#[tokio::test]
async fn a_function_that_does_not_read_its_body_still_gets_its_answer_through() {
    let world = World::with_echo(Setup::default()).await;
    world.runtime.script("echo", |guest| guest.agree());
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", 5 << 20);
    stream.write_all(head.as_bytes()).await.unwrap();
    // As many clients do: first write everything, then read.
    stream.write_all(&vec![b'x'; 5 << 20]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n2\r\nok\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_is_there_first_does_not_wait_for_its_request_and_the_connection_goes_on() {
    let world = World::with_echo(Setup::default()).await;
    world.runtime.script("echo", |guest| guest.agree());
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    for _ in 0..2 {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 1 << 20);
        stream.write_all(head.as_bytes()).await.unwrap();
        // The rest only once there is an answer.
        until(&mut stream, "\r\n2\r\nok\r\n").await;
        stream.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        until(&mut stream, "0\r\n\r\n").await;
    }
}

/// Reads on until it has come to these words.
async fn until(stream: &mut TcpStream, words: &str) {
    let mut read = Vec::new();
    while !read.ends_with(words.as_bytes()) {
        let byte = stream.read_u8().await;
        read.push(byte.unwrap_or_else(|cause| panic!("{cause} after {}", String::from_utf8_lossy(&read))));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_cancels_the_run() {
    let world = World::with_echo(Setup::default()).await;
    world.runtime.script("echo", |_| std::future::pending());
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    while world.runtime.alive() == 0
        || world.engine.instances(&"shop".parse().unwrap(), &"echo".parse().unwrap()).busy == 0
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(stream);
    while world.runtime.alive() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_during_the_answer_ends_its_body() {
    let world = World::with_echo(Setup::default()).await;
    let (gone, mut was_gone) = mpsc::channel(1);
    world.runtime.script("echo", move |guest| {
        let gone = gone.clone();
        async move {
            let (to, body) = mpsc::channel(1);
            respond(&guest, 200, &[], Body::Stream(body)).await;
            to.send(Ok(Bytes::from("begin"))).await.unwrap();
            to.closed().await;
            gone.send(()).await.unwrap();
            done()
        }
    });
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"begin") {
        stream.read_buf(&mut seen).await.unwrap();
    }
    drop(stream);
    was_gone.recv().await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_the_connection_rather_than_end_well() {
    let world = World::with_echo(Setup::default()).await;
    let half = Arc::new(Notify::new());
    let read = half.clone();
    world.runtime.script("echo", move |guest| {
        let half = half.clone();
        async move {
            let (to, body) = mpsc::channel(1);
            respond(&guest, 200, &[], Body::Stream(body)).await;
            to.send(Ok(Bytes::from("half"))).await.unwrap();
            half.notified().await;
            to.send(Err(BodyError::Aborted("the function failed".to_owned()))).await.unwrap();
            done()
        }
    });
    let request = world.to_data(Method::POST, "/echo").body(Full::<Bytes>::default()).unwrap();
    let mut response = open(world.data, request).await;
    assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    read.notify_one();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_body_that_has_to_be_whole_must_come_in_time() {
    let mut setup = Setup::default();
    setup.bounds.body_timeout = Duration::from_millis(50);
    let world = World::with_echo(setup).await;
    let mut stream = TcpStream::connect(world.data).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
}
