//! Several calls at once in one process.

use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;
use evoke_core::runtime::{Ended, Input};
use serde_json::json;

use crate::support::*;

const LONG: Duration = PATIENCE;

const PYTHON: &str = r#"
import asyncio, os, time
import evoke

waiting = []

async def handler(event, context):
    path = event["rawPath"]
    if path == "/wait":
        print("begun,", end=" ")
        waiting.append(asyncio.get_running_loop().create_future())
        await waiting[-1]
        print("woken")
    elif path == "/wake":
        while not waiting:
            await asyncio.sleep(0)
        print("waking", end="")
        waiting.pop().set_result(None)
    elif path == "/hang":
        try:
            await asyncio.sleep(3600)
        finally:
            print("cleaned up")
    elif path == "/block":
        time.sleep(3600)
    elif path == "/exit":
        os._exit(3)
    elif path == "/raise":
        raise ValueError("no")
    elif path == "/ask":
        return {"statusCode": 200, "body": await evoke.aio.kv.get(event["rawQueryString"])}
    elif path == "/echo":
        return {"statusCode": 200, "body": event["body"]}
    return {"statusCode": 200, "body": path}
"#;

const NODE: &str = r#"
const waiting = [];
const pause = () => new Promise((next) => setImmediate(next));
export default {
  async fetch(request, env, ctx) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/wait") {
      process.stdout.write("begun, ");
      await new Promise((wake) => waiting.push(wake));
      console.log("woken");
    } else if (pathname === "/wake") {
      while (waiting.length === 0) await pause();
      process.stdout.write("waking");
      waiting.pop()();
    } else if (pathname === "/hang") {
      await new Promise((stop) => ctx.signal.addEventListener("abort", stop));
      console.log("cleaned up");
    } else if (pathname === "/block") {
      for (;;);
    } else if (pathname === "/exit") {
      process.reallyExit(3);
    } else if (pathname === "/raise") {
      throw new TypeError("no");
    } else if (pathname === "/ask") {
      return new Response(await env.KV.get(search.slice(1)));
    } else if (pathname === "/echo") {
      return new Response(await request.text());
    }
    return new Response(pathname);
  },
};
"#;

const BOTH: [(&str, &str); 2] = [("at_once.py", PYTHON), ("at_once.mjs", NODE)];

/// A process that runs `count` calls at once: its lanes.
async fn lanes(host: &Host, (name, code): (&str, &str), count: u32) -> Vec<Guest> {
    let mut spec = host.prepare(&[(name, code)]).await.unwrap();
    spec.instance_concurrency = count;
    let mut first = host.start_spec(spec).await.unwrap();
    let others = first.instance.lanes().into_iter().map(|instance| Guest { instance });
    let lanes: Vec<Guest> = others.collect();
    assert_eq!(lanes.len() + 1, count as usize);
    [first].into_iter().chain(lanes).collect()
}

fn get(path: &str) -> Input {
    Input::Request(request("GET", path, &[], Body::empty()))
}

#[tokio::test]
async fn calls_of_one_process_run_at_once_and_each_has_its_own_lines() {
    let host = Host::start().await;
    for function in BOTH {
        let mut lanes = lanes(&host, function, 2).await;
        let [a, b] = &mut *lanes else { unreachable!() };
        for _ in 0..3 {
            let (waits, wakes) = tokio::join!(a.get("/wait"), b.get("/wake"));
            assert_eq!((waits.answer().status, wakes.answer().status), (200, 200), "{waits:?} {wakes:?}");
            assert_eq!(waits.lines(LogStream::Stdout), ["begun, woken"], "{}", function.0);
            assert_eq!(wakes.lines(LogStream::Stdout), ["waking"], "{}", function.0);
        }
        assert!(a.instance.is_usable() && b.instance.is_usable());
    }
}

#[tokio::test]
async fn each_call_asks_the_platform_in_its_own_name_and_gets_its_own_body() {
    let host = Host::start().await;
    for function in BOTH {
        let mut lanes = lanes(&host, function, 8).await;
        let large = "x".repeat(300_000);
        let calls = lanes.iter_mut().enumerate().map(|(at, lane)| {
            let large = format!("{at}{large}");
            async move {
                for round in 0..5 {
                    let key = format!("key{at}-{round}");
                    let expected = key.clone();
                    let platform: Platform = Box::new(move |asked| {
                        assert_eq!(asked.path, format!("/v1/kv/default/{expected}"));
                        let mut answer = json_answer(200, json!(expected));
                        answer.headers.insert("evoke-revision", http::HeaderValue::from_static("1"));
                        answer
                    });
                    let asked = lane.run(get(&format!("/ask?{key}")), LONG, platform).await;
                    assert_eq!(asked.answer().text(), key);
                    let echoed = lane
                        .request(request("POST", "/echo", &[("content-type", "text/plain")], body_of(&large)))
                        .await;
                    assert!(echoed.answer().text() == large, "{:?}", echoed.ended);
                }
            }
        });
        futures_util::future::join_all(calls).await;
    }
}

#[tokio::test]
async fn a_call_that_stops_when_its_time_is_up_leaves_the_process_to_the_others() {
    let host = Host::start().await;
    for function in BOTH {
        let mut lanes = lanes(&host, function, 3).await;
        let [a, b, c] = &mut *lanes else { unreachable!() };
        let hang = a.run(get("/hang"), ENOUGH, no_platform());
        let (hung, waits) = tokio::join!(
            async {
                let hung = hang.await;
                assert_eq!(c.get("/wake").await.answer().status, 200);
                hung
            },
            b.get("/wait")
        );
        assert_eq!(hung.ended, Ended::TimedOut, "{}", function.0);
        assert_eq!(hung.lines(LogStream::Stdout), ["cleaned up"], "{}", function.0);
        assert_eq!(waits.answer().status, 200);
        assert!(a.instance.is_usable());
        assert_eq!(a.get("/again").await.answer().text(), "/again");
    }
}

#[tokio::test]
async fn a_call_that_does_not_stop_takes_the_process_along_and_the_others_are_told_which_it_was() {
    let host = Host::start().await;
    for function in BOTH {
        let mut lanes = lanes(&host, function, 2).await;
        let [a, b] = &mut *lanes else { unreachable!() };
        let waits = b.get("/wait");
        let block = a.run(get("/block"), ENOUGH, no_platform());
        let (blocked, other) = tokio::join!(block, waits);
        assert_eq!(blocked.ended, Ended::TimedOut, "{}", function.0);
        let failure = other.failure();
        assert_eq!(failure.code, FailureCode::InstanceEnded, "{}: {failure}", function.0);
        assert!(failure.message.contains("(run_01) did not stop at its time limit"), "{failure}");
        assert!(!a.instance.is_usable() && !b.instance.is_usable());
        b.instance.gone().await;
    }
}

#[tokio::test]
async fn when_the_process_dies_all_its_calls_have_crashed_and_a_failure_is_one_calls_own() {
    let host = Host::start().await;
    for function in BOTH {
        let mut lanes = lanes(&host, function, 3).await;
        let [a, b, c] = &mut *lanes else { unreachable!() };
        let raised = c.get("/raise").await;
        assert_eq!(raised.failure().code, FailureCode::FunctionError);
        let (exits, waits) = tokio::join!(a.get("/exit"), b.get("/wait"));
        for outcome in [exits, waits] {
            let failure = outcome.failure();
            assert_eq!(failure.code, FailureCode::Crashed, "{}: {failure}", function.0);
            assert!(failure.message.contains("status 3"), "{failure}");
        }
        assert!(!c.instance.is_usable());
    }
}

#[tokio::test]
async fn a_caller_who_leaves_takes_nobody_along() {
    let host = Host::start().await;
    for function in BOTH {
        let mut lanes = lanes(&host, function, 2).await;
        let [a, b] = &mut *lanes else { unreachable!() };
        assert!(tokio::time::timeout(Duration::from_millis(100), a.get("/hang")).await.is_err());
        assert!(!a.instance.is_usable(), "nobody knows what it is doing");
        assert_eq!(b.get("/on").await.answer().text(), "/on");
    }
}

#[tokio::test]
async fn a_handler_that_cannot_run_several_calls_is_refused() {
    let host = Host::start().await;
    let sync = ("sync.py", "def handler(event, context):\n    return 1\n", "`def` serves one call at a time");
    let wsgi = (
        "wsgi.py",
        "def app(environ, start_response):\n    return []\n",
        "a WSGI application serves one call at a time",
    );
    for (name, code, words) in [sync, wsgi] {
        let mut spec = host.prepare(&[(name, code)]).await.unwrap();
        spec.instance_concurrency = 10;
        let Err(failure) = host.start_spec(spec).await else { panic!("{name} started") };
        assert_eq!(failure.code, FailureCode::InitError);
        assert!(
            failure.message.contains(words) && failure.message.contains("instance_concurrency = 10"),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn asgi_applications_serve_several_requests_at_once() {
    let code = r#"
import asyncio
waiting = []
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/wait":
        waiting.append(asyncio.get_running_loop().create_future())
        await waiting[-1]
    else:
        while not waiting:
            await asyncio.sleep(0)
        waiting.pop().set_result(None)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"#;
    let host = Host::start().await;
    let mut lanes = lanes(&host, ("asgi_at_once.py", code), 2).await;
    let [a, b] = &mut *lanes else { unreachable!() };
    let (waits, wakes) = tokio::join!(a.get("/wait"), b.get("/wake"));
    assert_eq!((waits.answer().text(), wakes.answer().text()), ("/wait".to_owned(), "/wake".to_owned()));
}
