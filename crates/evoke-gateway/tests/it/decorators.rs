//! Decorators, with scripted functions that ask for what is next as any runtime does.

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::runtime::{Ended, PlatformResponse};
use evoke_core::testing::runtime::Guest;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::support::{World, bundle, done, echo, manifest, request_of, respond, send};

/// Goes on with the request as it came.
async fn go_on(guest: &Guest) -> PlatformResponse {
    guest.ask(Method::POST, "/v1/next", &[("evoke-body", "incoming")], "").await
}

/// Answers with an answer of what is next, as it is but for a field of its own.
async fn hand_out(guest: &Guest, answer: &PlatformResponse, field: (&'static str, &str)) {
    let fields: Vec<(&'static str, &str)> = answer
        .headers
        .get("evoke-body")
        .map(|named| ("evoke-body", named.to_str().unwrap()))
        .into_iter()
        .collect();
    respond(guest, answer.status.as_u16(), &[&fields[..], &[field]].concat(), Body::empty()).await;
}

/// A decorator that changes nothing of the body.
async fn pass(guest: Guest) -> Ended {
    let answer = go_on(&guest).await;
    hand_out(&guest, &answer, ("x-passed", "1")).await;
    done()
}

/// App `shop` with the function `echo`, the functions `outer` and `inner`, and this route.
async fn world(route: &str) -> World {
    let world = World::new().await;
    let app = evoke_core::id::AppName::new("shop").unwrap();
    let text = manifest(&[("echo", ""), ("outer", ""), ("inner", "")], &[]) + route;
    world.engine.deploy(&app, bundle(&text)).await.unwrap();
    world.runtime.script("echo", echo);
    world.runtime.script("outer", pass);
    world.runtime.script("inner", pass);
    world
}

const BOTH: &str = "[[routes]]\npath = \"/{*rest}\"\ndecorators = [\"outer\", \"inner\"]\nto = \"echo\"\n";

#[tokio::test]
async fn decorators_are_passed_in_their_order_and_back_and_change_what_they_wish() {
    let world = world(BOTH).await;
    world.runtime.script("outer", |guest: Guest| async move {
        let fields = [("evoke-body", "incoming"), ("x-outer", "1")];
        let answer = guest.ask(Method::PUT, "/v1/next/other?q=%2F", &fields, "").await;
        hand_out(&guest, &answer, ("x-back", "outer")).await;
        done()
    });
    world.runtime.script("inner", |mut guest: Guest| async move {
        let request = request_of(&mut guest);
        let outer = request.headers["x-outer"].to_str().unwrap().to_owned();
        assert_eq!((request.method.as_str(), request.params.len()), ("PUT", 1));
        let fields = [("x-inner", "1"), ("x-outer", outer.as_str())];
        let answer = guest.ask(Method::PUT, "/v1/next", &fields, "another body").await;
        hand_out(&guest, &answer, ("x-back", "inner")).await;
        done()
    });
    let reply = world.data(Method::POST, "/first?q=1", "the body").await;
    assert_eq!((reply.status, reply.header("x-back")), (StatusCode::OK, Some("outer")));
    assert_eq!(reply.header("evoke-body"), None);
    let seen = reply.json();
    assert_eq!((&seen["method"], &seen["body"]), (&"PUT".into(), &"another body".into()));
    assert_eq!(seen["uri"], format!("http://{}/other?q=%2F", world.data));
    let headers = seen["headers"].to_string();
    assert!(headers.contains("x-inner: 1") && headers.contains("x-outer: 1"), "{headers}");
    assert!(!headers.contains("evoke-body"), "{headers}");
}

#[tokio::test]
async fn runs_of_decorators_and_of_what_they_stand_before_are_one_chain_in_one_trace() {
    let world = world(BOTH).await;
    let reply = world.data(Method::POST, "/x", "the body").await;
    assert_eq!(reply.json()["body"], "the body");
    let outer = world.ended(reply.header("evoke-run").unwrap()).await;
    let query = evoke_core::store::RunQuery { limit: 10, ..Default::default() };
    let runs = loop {
        let runs = world.store.runs(&query).await.unwrap();
        if runs.len() == 3 && runs.iter().all(|run| run.ended_at.is_some()) {
            break runs;
        }
        tokio::task::yield_now().await;
    };
    let run = |name: &str| runs.iter().find(|run| run.function.as_str() == name).unwrap();
    assert_eq!(run("outer").id, outer.id);
    assert_eq!(run("inner").cause.parent.as_ref(), Some(&outer.id));
    assert_eq!(run("echo").cause.parent.as_ref(), Some(&run("inner").id));
    assert!(runs.iter().all(|run| run.cause.trace_id == outer.cause.trace_id));
    assert!(runs.iter().all(|run| run.cause.root == outer.cause.root));
    assert_eq!(run("echo").cause.depth, outer.cause.depth + 2);
}

#[tokio::test]
async fn a_decorator_may_answer_at_once_and_one_that_fails_is_no_way_around_it() {
    let world = world(BOTH).await;
    world.runtime.script("inner", |guest: Guest| async move {
        respond(&guest, 403, &[], Body::Full("no".into())).await;
        done()
    });
    let reply = world.data(Method::POST, "/x", "").await;
    assert_eq!(
        (reply.status, reply.text(), reply.header("x-passed")),
        (StatusCode::FORBIDDEN, "no", Some("1"))
    );
    world.runtime.script("outer", |guest: Guest| async move {
        guest.log("broken").await;
        Ended::Failed(evoke_core::outcome::Failure::new(
            evoke_core::outcome::FailureCode::FunctionError,
            "broken",
        ))
    });
    let reply = world.data(Method::POST, "/x", "").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "function_error"));
    assert!(reply.json()["detail"].as_str().unwrap().contains("outer"), "{reply:?}");
    let query = evoke_core::store::RunQuery { limit: 10, ..Default::default() };
    let runs = world.store.runs(&query).await.unwrap();
    assert!(runs.iter().all(|run| run.function.as_str() != "echo"), "{runs:?}");
}

#[tokio::test]
async fn a_refusal_behind_a_decorator_reaches_it_as_an_answer_and_the_client_as_a_problem() {
    let world = world(BOTH).await;
    world.runtime.script("echo", |_: Guest| async move {
        Ended::Failed(evoke_core::outcome::Failure::new(
            evoke_core::outcome::FailureCode::FunctionError,
            "broken",
        ))
    });
    let reply = world.data(Method::POST, "/x", "").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "function_error"));
    assert_eq!(reply.header("evoke-problem"), Some("function_error"));
    assert_eq!(reply.header("x-passed"), Some("1"));
}

#[tokio::test]
async fn what_is_behind_a_decorator_has_no_more_time_than_it() {
    let world = World::new().await;
    let app = evoke_core::id::AppName::new("shop").unwrap();
    let (short, long) = ("timeout = \"20s\"", "timeout = \"5m\"");
    let text = manifest(&[("echo", long), ("outer", short), ("inner", long)], &[]) + BOTH;
    world.engine.deploy(&app, bundle(&text)).await.unwrap();
    let (told, mut deadlines) = tokio::sync::mpsc::unbounded_channel();
    for name in ["outer", "inner"] {
        let told = told.clone();
        world.runtime.script(name, move |guest: Guest| {
            told.send(guest.call.deadline).unwrap();
            pass(guest)
        });
    }
    world.runtime.script("echo", move |guest: Guest| {
        told.send(guest.call.deadline).unwrap();
        echo(guest)
    });
    assert_eq!(world.data(Method::POST, "/x", "").await.status, StatusCode::OK);
    let [outer, inner, echo] = [(); 3].map(|()| deadlines.try_recv().unwrap());
    assert_eq!((inner, echo), (outer, outer));
}

#[tokio::test]
async fn a_small_body_can_be_handed_on_again_and_a_stream_once() {
    let world = world(BOTH).await;
    world.runtime.script("inner", |guest: Guest| async move {
        let (first, second) = (go_on(&guest).await, go_on(&guest).await);
        let told = format!("{} {}", first.status.as_u16(), second.status.as_u16());
        let refused =
            second.headers.get("evoke-problem").map_or("", |code| code.to_str().unwrap()).to_owned();
        respond(&guest, 200, &[], Body::Full(format!("{told} {refused}").into())).await;
        done()
    });
    assert_eq!(world.data(Method::POST, "/x", "small").await.text(), "200 200 ");
    let large = Full::<Bytes>::from(vec![b'x'; 100 << 10]);
    let reply = send(world.data, world.to_data(Method::POST, "/x").body(large).unwrap()).await;
    assert_eq!(reply.text(), "200 409 next_refused");
    world.runtime.script("inner", |guest: Guest| async move {
        for _ in 0..8 {
            assert_eq!(go_on(&guest).await.status, 200);
        }
        let refused = go_on(&guest).await;
        respond(&guest, refused.status.as_u16(), &[], Body::Full(refused.body)).await;
        done()
    });
    let reply = world.data(Method::POST, "/x", "small").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["limit"]["name"]), (409, &"next_calls".into()));
}

#[tokio::test]
async fn what_was_read_is_gone_and_a_body_of_ones_own_is_sent_instead() {
    let world = world(BOTH).await;
    world.runtime.script("inner", |mut guest: Guest| async move {
        let body = std::mem::take(&mut request_of(&mut guest).body).collect(u64::MAX).await.unwrap();
        let refused = go_on(&guest).await;
        let answer = guest.ask(Method::POST, "/v1/next", &[], &body.len().to_string()).await;
        let name = answer.headers["evoke-body"].to_str().unwrap().to_owned();
        let read = guest.ask(Method::GET, &format!("/v1/next-body/{name}"), &[], "").await;
        let end = guest.ask(Method::GET, &format!("/v1/next-body/{name}"), &[], "").await;
        assert!(end.body.is_empty() && end.headers.contains_key("evoke-end"));
        let seen: serde_json::Value = serde_json::from_slice(&read.body).unwrap();
        let told = format!("{} {}", refused.status.as_u16(), seen["body"]);
        respond(&guest, 200, &[], Body::Full(told.into())).await;
        done()
    });
    let large = Full::<Bytes>::from(vec![b'x'; 1 << 20]);
    let reply = send(world.data, world.to_data(Method::POST, "/x").body(large).unwrap()).await;
    assert_eq!(reply.text(), "409 \"1048576\"");
}

#[tokio::test]
async fn a_body_that_was_read_is_unknown_or_stands_beside_another_is_not_handed_out() {
    let world = world(BOTH).await;
    for (read, named, body) in [(true, "1", ""), (false, "7", ""), (false, "x", ""), (false, "1", "mine")] {
        world.runtime.script("inner", move |guest: Guest| async move {
            assert_eq!(go_on(&guest).await.headers["evoke-body"], "1");
            if read {
                guest.ask(Method::GET, "/v1/next-body/1", &[], "").await;
            }
            respond(&guest, 200, &[("evoke-body", named)], Body::Full(body.into())).await;
            done()
        });
        let reply = world.data(Method::POST, "/x", "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (502, "protocol_violation"), "{reply:?}");
    }
}

#[tokio::test]
async fn what_a_client_says_of_bodies_is_not_believed_and_nothing_is_next_without_a_route() {
    let world = world(&format!("{BOTH}[[routes]]\npath = \"/plain\"\nto = \"inner\"\n")).await;
    world.runtime.script("outer", |mut guest: Guest| async move {
        let is_told = request_of(&mut guest).headers.contains_key("evoke-body");
        let answer = go_on(&guest).await;
        hand_out(&guest, &answer, ("x-told", if is_told { "1" } else { "0" })).await;
        done()
    });
    let request =
        world.to_data(Method::POST, "/x").header("evoke-body", "incoming").header("evoke-refused", "1");
    let reply = send(world.data, request.body(Full::<Bytes>::from("mine")).unwrap()).await;
    assert_eq!((reply.json()["body"].as_str(), reply.header("x-told")), (Some("mine"), Some("0")));
    assert!(!reply.json()["headers"].to_string().contains("evoke-body"));
    world.runtime.script("inner", |guest: Guest| async move {
        let refused = go_on(&guest).await;
        respond(&guest, refused.status.as_u16(), &[], Body::Full(refused.body)).await;
        done()
    });
    let reply = world.data(Method::POST, "/plain", "").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "nothing_next"));
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// A server that takes the first byte of a body, says so, and answers with the bytes it got, the first before the last was sent.
async fn telling() -> (u16, tokio::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (began, first) = tokio::sync::mpsc::channel(1);
    TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !holds(&seen, b"first") {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            seen.extend_from_slice(&bytes[..read]);
            assert!(read > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ngot\r\n").await.unwrap();
        began.send(()).await.unwrap();
        while !holds(&seen, b"last") {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            seen.extend_from_slice(&bytes[..read]);
            assert!(read > 0);
        }
        stream.write_all(b"3\r\nend\r\n0\r\n\r\n").await.unwrap();
    });
    (port, first)
}

#[tokio::test]
async fn the_first_byte_passes_both_ways_before_the_last_is_sent() {
    let (port, mut first) = telling().await;
    let route = format!(
        "[[routes]]\npath = \"/{{*rest}}\"\ndecorators = [\"outer\", \"inner\"]\nto = \"http://127.0.0.1:{port}\"\n"
    );
    let world = world(&route).await;
    let mut client = TcpStream::connect(world.data).await.unwrap();
    client
        .write_all(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await
        .unwrap();
    first.recv().await.unwrap();
    let mut seen = String::new();
    while !seen.contains("got") {
        let mut bytes = [0; 4096];
        let read = client.read(&mut bytes).await.unwrap();
        assert!(read > 0, "{seen}");
        seen += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    assert!(seen.contains("x-passed: 1") && !seen.contains("end"), "{seen}");
    client.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    while !seen.contains("end") {
        let mut bytes = [0; 4096];
        let read = client.read(&mut bytes).await.unwrap();
        assert!(read > 0, "{seen}");
        seen += std::str::from_utf8(&bytes[..read]).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_all_that_was_begun_for_it() {
    let world = world(BOTH).await;
    let (begun, mut begins) = tokio::sync::mpsc::channel(1);
    world.runtime.script("echo", move |guest: Guest| {
        let begun = begun.clone();
        async move {
            begun.send(()).await.unwrap();
            guest.call.cancel.cancelled().await;
            Ended::Cancelled
        }
    });
    let mut client = TcpStream::connect(world.data).await.unwrap();
    client.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    begins.recv().await.unwrap();
    drop(client);
    let query = evoke_core::store::RunQuery { limit: 10, ..Default::default() };
    loop {
        let runs = world.store.runs(&query).await.unwrap();
        if runs.len() == 3 && runs.iter().all(|run| run.ended_at.is_some()) {
            assert!(runs.iter().all(|run| run.state == evoke_core::record::RunState::Failed), "{runs:?}");
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_large_answer_passes_with_its_length_and_its_type() {
    let world = world(BOTH).await;
    world.runtime.script("echo", |guest: Guest| async move {
        respond(&guest, 200, &[("content-type", "text/x")], Body::Full(vec![b'x'; 4 << 20].into())).await;
        done()
    });
    let request = world.to_data(Method::GET, "/x").body(Full::<Bytes>::default()).unwrap();
    let answer = crate::support::open(world.data, request).await;
    assert_eq!(answer.headers()["content-length"], "4194304");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 4 << 20);
}
