use evoke_engine::Arrival;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::{LogStream, RunState};
use evoke_core::runtime::{Ended, Input, Report, Response};
use evoke_core::store::LogQuery;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::{Bound, CallError};
use evoke_engine::ingest::LaterCall;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::support::{World, function};

#[tokio::test(start_paused = true)]
async fn a_call_gets_its_functions_answer_and_leaves_a_record() {
    let world = World::new().await;
    world.deploy(&[("hello", "")]).await;
    let (answered, body) = world.call("hello", "hi").await.unwrap();
    assert_eq!((answered.response.status.as_u16(), body.as_str()), (200, "ok"));
    let run = world.ended(&answered.run).await;
    assert_eq!(run.state, RunState::Completed);
    assert!(run.attempts[0].cold);
    let (second, _) = world.call("hello", "hi").await.unwrap();
    assert!(!world.ended(&second.run).await.attempts[0].cold);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_calls_task_is_woken_by_its_instance_and_not_by_itself() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.call("a", "").await.unwrap();
    let gate = Arc::new(Notify::new());
    let behind = Arc::clone(&gate);
    world.runtime.script("a", move |guest| {
        let gate = Arc::clone(&behind);
        async move {
            gate.notified().await;
            guest.log("a line").await;
            guest.agree().await
        }
    });
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut call = Box::pin(world.engine.call(world.request("a", "")));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    gate.notify_waiters();
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_not_deployed_is_not_found() {
    let world = World::new().await;
    assert!(matches!(world.call("nobody", "").await, Err(CallError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_ended_at_its_time_limit_and_its_instance_replaced() {
    let world = World::new().await;
    world.deploy(&[("slow", "timeout = \"2s\"")]).await;
    world.runtime.script("slow", |_| std::future::pending());
    let error = world.call("slow", "").await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { limit, .. } if limit == Duration::from_secs(2)), "{error}");
    assert_eq!(world.runtime.alive(), 0);
    world.runtime.script("slow", |guest| guest.agree());
    assert!(world.call("slow", "").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_named_and_recorded() {
    let world = World::new().await;
    world.deploy(&[("bad", "")]).await;
    world.runtime.script("bad", |_| async {
        Ended::Failed(Failure::new(FailureCode::FunctionError, "TypeError: x is not a function"))
    });
    let Err(CallError::Failed { run, failure, .. }) = world.call("bad", "").await else {
        panic!("it answered")
    };
    assert_eq!(failure.to_string(), "function_error: TypeError: x is not a function");
    assert_eq!(world.ended(&run).await.state, RunState::Failed);
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_concurrency_wait_and_those_that_wait_too_long_are_refused() {
    let world = World::new().await;
    world.deploy(&[("one", "concurrency = 1\ntimeout = \"60s\"")]).await;
    world.runtime.script("one", |guest| async move {
        tokio::time::sleep(Duration::from_secs(6)).await;
        guest.agree().await
    });
    let (a, b, c) = tokio::join!(world.call("one", ""), world.call("one", ""), world.call("one", ""));
    let results = [a, b, c];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert!(
        results
            .iter()
            .any(|result| matches!(result, Err(CallError::Overloaded { bound: Bound::Concurrency(1), .. })))
    );
    assert_eq!(world.runtime.most_alive(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_cancels_the_run() {
    let world = World::new().await;
    world.deploy(&[("slow", "timeout = \"10m\"")]).await;
    world.runtime.script("slow", |_| std::future::pending());
    let call = tokio::time::timeout(Duration::from_secs(1), world.call("slow", "")).await;
    assert!(call.is_err());
    let run = loop {
        if let Some(run) = world.runs().await.pop() {
            break run;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(run.attempts[0].outcome.reason().contains("cancelled: the caller went away"));
    assert_eq!(world.runtime.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_function_calls_another_and_the_chain_is_recorded() {
    let world = World::new().await;
    world.deploy(&[("outer", ""), ("inner", "")]).await;
    world.runtime.script("outer", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/functions/inner/a?b=1", &[], "in").await;
        guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("inner", |guest| async move {
        let uri = match &guest.call.input {
            evoke_core::runtime::Input::Request(request) => request.uri.clone(),
            evoke_core::runtime::Input::Event(_) | Input::Events(_) => unreachable!("it is called"),
        };
        guest.respond(201, &uri).await;
        Ended::Returned { events: Vec::new() }
    });
    let (answered, body) = world.call("outer", "").await.unwrap();
    assert_eq!(
        (answered.response.status.as_u16(), body.as_str()),
        (201, "http://inner.evoke.internal/a?b=1")
    );
    let outer = world.ended(&answered.run).await;
    let runs = world.runs().await;
    let inner = runs.iter().find(|run| run.function == function("inner")).unwrap();
    assert_eq!(inner.cause.parent.as_ref(), Some(&outer.id));
    assert_eq!((inner.cause.root.as_str(), inner.cause.depth), (outer.id.as_str(), 1));
    assert_eq!(inner.cause.trace_id, outer.cause.trace_id);
}

#[tokio::test(start_paused = true)]
async fn a_callee_has_to_be_done_by_its_callers_deadline() {
    let world = World::new().await;
    world.deploy(&[("outer", "timeout = \"2s\""), ("inner", "timeout = \"60s\"")]).await;
    world.runtime.script("outer", |guest| async move {
        guest.ask(Method::POST, "/v1/functions/inner", &[], "").await;
        guest.agree().await
    });
    world.runtime.script("inner", |_| std::future::pending());
    let started = tokio::time::Instant::now();
    assert!(matches!(world.call("outer", "").await, Err(CallError::TimedOut { .. })));
    assert!(started.elapsed() < Duration::from_secs(3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.runtime.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_calls_itself_for_ever_is_stopped_by_the_depth_of_the_chain() {
    let world = World::new().await;
    world.deploy(&[("again", "concurrency = 100")]).await;
    world.runtime.script("again", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/functions/again", &[], "").await;
        guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
        Ended::Returned { events: Vec::new() }
    });
    let (answered, body) = world.call("again", "").await.unwrap();
    assert_eq!(answered.response.status.as_u16(), 508, "{body}");
    assert!(body.contains("loop_detected"));
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_had_to_wait_has_no_more_time_than_its_caller() {
    let world = World::new().await;
    world.deploy(&[("outer", "timeout = \"9s\""), ("inner", "concurrency = 1\ntimeout = \"60s\"")]).await;
    let deadlines = Arc::new(Mutex::new(Vec::new()));
    let (outer, inner) = (deadlines.clone(), deadlines.clone());
    world.runtime.script("outer", move |guest| {
        outer.lock().push(guest.call.deadline);
        async move {
            guest.ask(Method::POST, "/v1/functions/inner", &[], "").await;
            guest.agree().await
        }
    });
    world.runtime.script("inner", move |guest| {
        inner.lock().push(guest.call.deadline);
        async move {
            tokio::time::sleep(Duration::from_secs(4)).await;
            guest.agree().await
        }
    });
    let (_, outer) = tokio::join!(world.call("inner", ""), world.call("outer", ""));
    outer.unwrap();
    let mut deadlines = deadlines.lock();
    deadlines.sort_unstable();
    assert_eq!(deadlines[0], deadlines[1], "the caller's, and that of the second call of the callee");
}

#[tokio::test(start_paused = true)]
async fn whoever_drops_the_body_of_an_answer_ends_the_run() {
    let world = World::new().await;
    world.deploy(&[("a", "timeout = \"10m\"")]).await;
    world.runtime.script("a", |guest| async move {
        let (chunks, body) = tokio::sync::mpsc::channel(1);
        let response =
            Response { status: StatusCode::OK, headers: HeaderMap::new(), body: Body::Stream(body) };
        guest.call.up.send(Report::Response(response)).await.unwrap();
        let _ = chunks.send(Ok("some".into())).await;
        std::future::pending().await
    });
    let mut answered = world.engine.call(world.request("a", "")).await.unwrap();
    assert_eq!(answered.response.body.chunk().await, Some(Ok("some".into())));
    drop(answered.response);
    let run = tokio::time::timeout(Duration::from_secs(5), world.ended(&answered.run)).await.unwrap();
    assert!(run.attempts[0].outcome.reason().contains("cancelled: the caller went away"), "{run:?}");
    assert_eq!(world.runtime.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_on_after_its_whole_answer_was_read_is_left_alone() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        let (chunks, body) = tokio::sync::mpsc::channel(1);
        let response =
            Response { status: StatusCode::OK, headers: HeaderMap::new(), body: Body::Stream(body) };
        guest.call.up.send(Report::Response(response)).await.unwrap();
        let _ = chunks.send(Ok("all".into())).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(chunks);
        tokio::time::sleep(Duration::from_secs(5)).await;
        guest.ask(Method::PUT, "/v1/kv/default/k", &[], "1").await;
        Ended::Returned { events: Vec::new() }
    });
    let mut answered = world.engine.call(world.request("a", "")).await.unwrap();
    // A reader that knows the length does not wait for the end.
    assert_eq!(answered.response.body.chunk().await, Some(Ok("all".into())));
    drop(answered.response);
    assert_eq!(world.ended(&answered.run).await.state, RunState::Completed);
    assert_eq!(world.kv("k").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_the_span_of_its_attempt() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        let cause = &guest.call.cause;
        let Input::Request(request) = &guest.call.input else { unreachable!("it is called") };
        let expected = format!("00-{}-{}-01", cause.trace_id, cause.span_id);
        assert_eq!(request.headers["traceparent"], expected.as_str());
        guest.agree().await
    });
    world.call("a", "").await.unwrap();
    let call = world.request("a", "");
    let (trigger, request) = (call.trigger, call.request);
    let (app, function) = (call.app, call.function);
    let later =
        LaterCall { app, function, request, trigger, from: Arrival::default(), idempotency_key: None };
    let run = world.engine.call_later(later).await.unwrap().run;
    assert_eq!(world.ended(&run).await.state, RunState::Completed);
}

#[tokio::test(start_paused = true)]
async fn lines_over_the_bound_are_counted_in_a_last_line() {
    let world = World::with(Arc::new(MemoryStore::new()), Limits { log_lines: 3, ..Limits::default() }).await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        for n in 1..=5 {
            guest.log(&format!("line {n}")).await;
        }
        guest.agree().await
    });
    let (answered, _) = world.call("a", "").await.unwrap();
    world.ended(&answered.run).await;
    let query = LogQuery { run: Some(answered.run), limit: 10, ..LogQuery::default() };
    let lines: Vec<_> = world.store.logs(&query).await.unwrap().into_iter().map(|(_, log)| log).collect();
    let texts: Vec<_> = lines.iter().map(|log| log.line.as_str()).collect();
    let last = "2 further lines were dropped (12 bytes): an attempt may write 3 lines and 4194304 bytes";
    assert_eq!(texts, ["line 1", "line 2", "line 3", last]);
    assert_eq!(lines[3].stream, LogStream::Platform);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_floods_its_log_leaves_a_gap_and_its_size() {
    let limits = Limits { log_lines_per_second: 10, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("chatty", ""), ("quiet", "")]).await;
    world.runtime.script("chatty", |guest| async move {
        for n in 0..500 {
            guest.log(&format!("line {n:03}")).await;
        }
        guest.agree().await
    });
    world.runtime.script("quiet", |guest| async move {
        guest.log("a word").await;
        guest.agree().await
    });
    let texts = async |function: &str| {
        let (answered, _) = world.call(function, "").await.unwrap();
        world.ended(&answered.run).await;
        let query = LogQuery { run: Some(answered.run), limit: 1_000, ..LogQuery::default() };
        let lines = world.store.logs(&query).await.unwrap();
        lines.into_iter().map(|(_, log)| log.line).collect::<Vec<_>>()
    };
    // All of two attempts, ten seconds' worth for both.
    let (first, second) = (texts("chatty").await, texts("chatty").await);
    let rule = "function chatty may write 10 lines and 524288 bytes a second";
    assert_eq!((first.len(), first[99].as_str()), (101, "line 099"));
    assert_eq!(first[100], format!("400 further lines were dropped (3200 bytes): {rule}"));
    assert_eq!(second, [format!("500 further lines were dropped (4000 bytes): {rule}")]);
    assert_eq!(texts("quiet").await, ["a word"]);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(texts("chatty").await[0], "line 000");
}
