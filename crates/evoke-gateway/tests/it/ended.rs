use std::time::Duration;

use evoke_core::runtime::{Ended, Report, Response};
use http::{HeaderMap, StatusCode};
use http_body_util::Full;

use crate::support::{Reply, Setup, World, done, send};

/// A world whose function `f` answers when it is told to, and a call of it that was accepted.
async fn accepted(setup: Setup) -> (World, tokio::sync::mpsc::Sender<()>, String) {
    let world = World::with(setup).await;
    world.deploy(&[("f", "retry = { attempts = 1 }"), ("g", "")], &[]).await;
    let (go, gone) = tokio::sync::mpsc::channel::<()>(9);
    let gone = std::sync::Arc::new(tokio::sync::Mutex::new(gone));
    world.runtime.script("f", move |guest| {
        let gone = gone.clone();
        async move {
            gone.lock().await.recv().await;
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "text/html".parse().unwrap());
            headers.insert("location", "/elsewhere".parse().unwrap());
            let body = evoke_core::body::Body::Full("<b>hello</b>".into());
            let _ = guest
                .call
                .up
                .send(Report::Response(Response { status: StatusCode::CREATED, headers, body }))
                .await;
            done()
        }
    });
    let run = later(&world, "f").await;
    (world, go, run)
}

async fn later(world: &World, function: &str) -> String {
    let request = world
        .to_control(http::Method::POST, &format!("/v1/apps/shop/functions/{function}/invoke"))
        .header("prefer", "respond-async");
    let reply = send(world.control, request.body(Full::<bytes::Bytes>::default()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    reply.json()["run"].as_str().unwrap().to_owned()
}

async fn get(world: &World, path: &str, prefer: &str) -> Reply {
    let request = world.to_control(http::Method::GET, path).header("prefer", prefer);
    send(world.control, request.body(Full::<bytes::Bytes>::default()).unwrap()).await
}

#[tokio::test]
async fn a_pending_run_says_when_to_ask_again_and_can_be_waited_for() {
    let (world, go, run) = accepted(Setup::default()).await;
    let path = format!("/v1/apps/shop/runs/{run}");
    let now = world.get(&path).await;
    assert_eq!((now.header("retry-after"), now.header("preference-applied")), (Some("1"), None));
    let pending = world.get(&format!("{path}/result")).await;
    assert_eq!((pending.status, pending.code().as_str()), (StatusCode::CONFLICT, "run_pending"));
    let short = world.get(&format!("{path}?wait=20ms")).await;
    assert!(matches!(short.json()["state"].as_str(), Some("queued" | "running")), "{short:?}");
    let (waited, ()) = tokio::join!(get(&world, &path, "wait=30"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        go.send(()).await.unwrap();
    });
    assert_eq!((waited.json()["state"].as_str(), waited.header("retry-after")), (Some("completed"), None));
    assert_eq!(waited.header("preference-applied"), Some("wait=30"));
    let result = &waited.json()["result"];
    assert_eq!((&result["status"], &result["body"]), (&201.into(), &"<b>hello</b>".into()));
    for wrong in ["2m", "soon", "-1"] {
        assert_eq!(world.get(&format!("{path}?wait={wrong}")).await.code(), "invalid_request", "{wrong}");
    }
}

#[tokio::test]
async fn a_result_is_given_as_it_was_answered_and_does_no_harm_to_the_console() {
    let (world, go, run) = accepted(Setup::default()).await;
    go.send(()).await.unwrap();
    let result = get(&world, &format!("/v1/apps/shop/runs/{run}/result"), "wait=30").await;
    assert_eq!((result.status, result.text()), (StatusCode::OK, "<b>hello</b>"));
    assert_eq!(
        (result.header("evoke-status"), result.header("content-type")),
        (Some("201"), Some("text/html"))
    );
    assert_eq!((result.header("location"), result.header("evoke-truncated")), (None, None));
    assert_eq!(result.header("content-security-policy"), Some("sandbox"));
    assert_eq!(result.header("evoke-run"), Some(run.as_str()));
}

#[tokio::test]
async fn a_run_without_a_result_says_why() {
    let (world, _go, _) = accepted(Setup::default()).await;
    world.runtime.script("g", |_| async {
        Ended::Failed(evoke_core::outcome::Failure::new(
            evoke_core::outcome::FailureCode::FunctionError,
            "Error: no data",
        ))
    });
    let reply = world.post("/v1/apps/shop/functions/g/invoke", "text/plain", "x").await;
    let run = reply.header("evoke-run").unwrap().to_owned();
    let none = world.get(&format!("/v1/apps/shop/runs/{run}/result")).await;
    assert_eq!((none.status, none.code().as_str()), (StatusCode::NOT_FOUND, "no_result"));
    assert_eq!(
        none.json()["detail"],
        format!("there is no result of run {run}: function_error: Error: no data")
    );
}

#[tokio::test]
async fn those_who_wait_have_a_bound() {
    let mut setup = Setup::default();
    setup.bounds.run_waiters = 1;
    let (world, go, run) = accepted(setup).await;
    let path = format!("/v1/apps/shop/runs/{run}?wait=30s");
    let waiting = async {
        let reply = world.get(&path).await;
        assert_eq!(reply.json()["state"], "completed");
    };
    let refused = async {
        loop {
            let reply = world.get(&path).await;
            if reply.status == StatusCode::TOO_MANY_REQUESTS {
                assert_eq!(reply.json()["limit"]["name"], "run_waiters");
                return go.send(()).await.unwrap();
            }
        }
    };
    // Whichever comes first waits.
    tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        refused.await;
    });
}
