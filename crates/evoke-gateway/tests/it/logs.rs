use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use evoke_gateway::api::{LogLine, LogList};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::support::{Setup, World, open, request_of};

/// Function `echo` writes its request body as a line; `other` writes `other`.
async fn world(setup: Setup) -> World {
    let world = World::with(setup).await;
    world
        .deploy(&[("echo", ""), ("other", "")], &[("/echo", "POST", "echo"), ("/other", "POST", "other")])
        .await;
    world.runtime.script("echo", |mut guest| async move {
        let body = std::mem::take(&mut request_of(&mut guest).body).collect(1_000).await.unwrap();
        guest.log(std::str::from_utf8(&body).unwrap()).await;
        guest.agree().await
    });
    world.runtime.script("other", |guest| async move {
        guest.log("other").await;
        guest.agree().await
    });
    world
}

struct Stream {
    body: Incoming,
    text: String,
    lines: VecDeque<(String, LogLine)>,
}

impl Stream {
    async fn open(world: &World, query: &str, last: Option<&str>) -> Self {
        let mut request = world.to_control(Method::GET, &format!("/v1/apps/shop/logs{query}"));
        request = request.header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = open(world.control, request.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { body: response.into_body(), text: String::new(), lines: VecDeque::new() }
    }

    /// The next line, with its event's id.
    async fn next(&mut self) -> (String, String) {
        loop {
            if let Some((id, line)) = self.lines.pop_front() {
                assert_eq!(id, line.seq.to_string());
                return (id, line.line);
            }
            let frame = self.body.frame().await.unwrap().unwrap().into_data().unwrap();
            self.text += std::str::from_utf8(&frame).unwrap();
            while let Some((event, rest)) =
                self.text.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned()))
            {
                self.text = rest;
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                    assert_eq!(field("event:"), Some("log"));
                    self.lines.push_back((id.to_owned(), serde_json::from_str(data).unwrap()));
                }
            }
        }
    }
}

async fn list(world: &World, query: &str) -> LogList {
    serde_json::from_slice(&world.get(&format!("/v1/apps/shop/logs{query}")).await.body).unwrap()
}

async fn wait_for_lines(world: &World, count: usize) {
    while list(world, "").await.lines.len() < count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn lines_are_listed_oldest_first_and_go_on_where_the_page_ended() {
    let world = world(Setup::default()).await;
    let first = world.data(Method::POST, "/echo", "one").await;
    wait_for_lines(&world, 1).await;
    world.data(Method::POST, "/other", "").await;
    wait_for_lines(&world, 2).await;
    world.data(Method::POST, "/echo", "three").await;
    wait_for_lines(&world, 3).await;
    let all = list(&world, "").await;
    assert_eq!(
        all.lines.iter().map(|line| line.line.as_str()).collect::<Vec<_>>(),
        ["one", "other", "three"]
    );
    let newest = list(&world, "?limit=1").await;
    assert_eq!(newest.lines[0].line, "three");
    let after = list(&world, &format!("?after={}&limit=1", all.lines[0].seq)).await;
    assert_eq!(after.lines[0].line, "other");
    let end = list(&world, &format!("?after={}", newest.next.clone().unwrap())).await;
    assert_eq!((end.lines.len(), end.next), (0, newest.next));
    assert_eq!(list(&world, "?function=other").await.lines.len(), 1);
    let run = first.header("evoke-run").unwrap();
    assert_eq!(list(&world, &format!("?run={run}")).await.lines[0].line, "one");
}

#[tokio::test]
async fn a_follower_gets_what_there_is_and_then_what_comes() {
    let world = world(Setup::default()).await;
    world.data(Method::POST, "/echo", "before").await;
    wait_for_lines(&world, 1).await;
    let mut all = Stream::open(&world, "", None).await;
    let mut some = Stream::open(&world, "?function=other&follow=true", None).await;
    let mut new = Stream::open(&world, "?limit=0", None).await;
    assert_eq!(all.next().await.1, "before");
    world.data(Method::POST, "/echo", "after").await;
    assert_eq!(all.next().await.1, "after");
    assert_eq!(new.next().await.1, "after");
    world.data(Method::POST, "/other", "").await;
    assert_eq!(some.next().await.1, "other");
}

#[tokio::test]
async fn a_follower_that_comes_back_misses_nothing() {
    let world = world(Setup::default()).await;
    let mut stream = Stream::open(&world, "", None).await;
    world.data(Method::POST, "/echo", "one").await;
    let (last, line) = stream.next().await;
    assert_eq!(line, "one");
    drop(stream);
    world.data(Method::POST, "/echo", "two").await;
    wait_for_lines(&world, 2).await;
    let mut again = Stream::open(&world, "", Some(&last)).await;
    assert_eq!(again.next().await.1, "two");
    world.data(Method::POST, "/echo", "three").await;
    assert_eq!(again.next().await.1, "three");
}

#[tokio::test]
async fn followers_have_a_bound() {
    let mut setup = Setup::default();
    setup.bounds.followers = 1;
    let world = world(setup).await;
    let first = Stream::open(&world, "", None).await;
    let reply = world.get("/v1/apps/shop/logs?follow=true").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "overloaded"));
    drop(first);
    while world.get("/v1/apps/shop/logs?limit=0").await.status != StatusCode::BAD_REQUEST {}
    loop {
        let request = world.to_control(Method::GET, "/v1/apps/shop/logs?follow=true");
        let again = open(world.control, request.body(Full::<Bytes>::default()).unwrap()).await;
        if again.status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
