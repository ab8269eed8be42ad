use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::sync::mpsc;

use crate::support::{Reply, Setup, World, done, request_of, send};

async fn post(world: &World, fields: &[(&str, &str)], body: &'static str) -> Reply {
    let mut request = world.to_data(Method::POST, "/echo?q=1");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send(world.data, request.body(Full::<Bytes>::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_caller_that_does_not_wait_gets_the_place_of_its_run() {
    let world = World::with_echo(Setup::default()).await;
    let (to, mut seen) = mpsc::channel(1);
    world.runtime.script("echo", move |mut guest| {
        let to = to.clone();
        async move {
            let request = request_of(&mut guest);
            let body = std::mem::take(&mut request.body).collect(100).await.unwrap();
            let prefer = request.headers.get("prefer").map(|value| value.to_str().unwrap().to_owned());
            to.send((request.uri.clone(), prefer, body)).await.unwrap();
            guest.respond(200, "done").await;
            done()
        }
    });
    let reply = post(&world, &[("prefer", "respond-async, handling=strict")], "hello").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    let run = reply.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(reply.json()["duplicate"], false);
    assert_eq!(reply.header("evoke-run"), Some(run.as_str()));
    let location = reply.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/v1/apps/shop/runs/{run}"));
    let (uri, prefer, body) = seen.recv().await.unwrap();
    assert_eq!(uri, format!("http://{}/echo?q=1", world.data));
    assert_eq!((prefer.as_deref(), &body[..]), (Some("handling=strict"), &b"hello"[..]));
    world.ended(&run).await;
    let shown = world.get(&location).await.json();
    assert_eq!(
        (shown["state"].as_str(), shown["attempts"][0]["status"].as_u64()),
        (Some("completed"), Some(200))
    );
}

#[tokio::test]
async fn a_caller_that_waits_a_while_gets_the_answer_or_the_place_of_its_run() {
    let world = World::with_echo(Setup::default()).await;
    let (go, gone) = tokio::sync::watch::channel(true);
    world.runtime.script("echo", move |mut guest| {
        let mut gone = gone.clone();
        async move {
            assert_eq!(request_of(&mut guest).headers.get("prefer"), None);
            let _ = gone.wait_for(|gone| *gone).await;
            guest.respond(201, "made").await;
            done()
        }
    });
    let key = ("idempotency-key", "order-9");
    let prefer = ("prefer", "respond-async, wait=30");
    let first = post(&world, &[prefer, key], "x").await;
    assert_eq!((first.status, first.text()), (StatusCode::CREATED, "made"));
    assert_eq!(first.header("preference-applied"), Some("wait=30"));
    let run = first.header("evoke-run").unwrap().to_owned();
    assert_eq!(world.get(&format!("/v1/apps/shop/runs/{run}")).await.json()["state"], "completed");
    let again = post(&world, &[prefer, key], "x").await;
    assert_eq!((again.text(), again.header("evoke-run")), ("made", Some(run.as_str())));

    go.send(false).unwrap();
    let late = post(&world, &[("prefer", "respond-async, wait=1")], "x").await;
    assert_eq!(late.status, StatusCode::ACCEPTED);
    let applied: Vec<_> = late.headers.get_all("preference-applied").iter().collect();
    assert_eq!(applied, ["respond-async", "wait=1"]);
    go.send(true).unwrap();
    let run = late.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(late.header("location"), Some(format!("/v1/apps/shop/runs/{run}").as_str()));
    world.ended(&run).await;
}

#[tokio::test]
async fn without_a_place_to_wait_at_a_call_is_accepted_all_the_same() {
    let mut setup = Setup::default();
    setup.bounds.run_waiters = 0;
    let world = World::with_echo(setup).await;
    let reply = post(&world, &[("prefer", "respond-async, wait=30")], "x").await;
    assert_eq!(
        (reply.status, reply.header("preference-applied")),
        (StatusCode::ACCEPTED, Some("respond-async"))
    );
}

#[tokio::test]
async fn the_same_idempotency_key_gets_the_first_answer_again() {
    let world = World::with_echo(Setup::default()).await;
    let first = post(&world, &[("idempotency-key", "order-7")], "a").await;
    assert_eq!((first.status, first.header("evoke-replayed")), (StatusCode::OK, None));
    let again = post(&world, &[("idempotency-key", "\"order-7\"")], "a").await;
    assert_eq!((again.status, again.header("evoke-replayed")), (StatusCode::OK, Some("true")));
    assert_eq!(again.header("evoke-run"), first.header("evoke-run"));
    assert_eq!(again.body, first.body);
    let other = post(&world, &[("idempotency-key", "order-7")], "b").await;
    assert_eq!((other.status, other.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "key_reused"));
}

#[tokio::test]
async fn the_same_idempotency_key_names_the_same_later_run() {
    let world = World::with_echo(Setup::default()).await;
    let fields = [("idempotency-key", "order-8"), ("prefer", "respond-async")];
    let (first, again) = (post(&world, &fields, "a").await.json(), post(&world, &fields, "a").await.json());
    assert_eq!((&first["run"], first["duplicate"].as_bool()), (&again["run"], Some(false)));
    assert_eq!(again["duplicate"], true);
}

#[tokio::test]
async fn bodies_held_whole_have_a_bound_together() {
    let mut setup = Setup::default();
    setup.bounds.held_bytes = 2 << 10;
    let world = World::with_echo(setup).await;
    let large = "x".repeat(3 << 10);
    for (header, small) in
        [(("prefer", "respond-async"), StatusCode::ACCEPTED), (("idempotency-key", "held"), StatusCode::OK)]
    {
        let request = world.to_data(Method::POST, "/echo").header(header.0, header.1);
        let reply = send(world.data, request.body(Full::new(Bytes::from(large.clone()))).unwrap()).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "overloaded"));
        assert!(matches!(reply.header("retry-after"), Some("1" | "2")));
        assert_eq!(post(&world, &[header], "small").await.status, small, "{header:?}");
    }
}
