//! Loops are told, named and stopped; what only looks like one is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evoke_core::chain::Hop;
use evoke_core::limits::Limits;
use evoke_core::origin::Present;
use evoke_core::outcome::{FailureCode, Outcome};
use evoke_core::record::{RunRecord, RunState};
use evoke_core::runtime::Ended;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::{CallError, CallRequest};
use evoke_engine::deploy::DeployError;
use evoke_engine::{Arrival, TraceParent};
use http::Method;

use crate::support::{World, app, bundle, manifest};

/// A function that does what it is told when an event comes, and counts how often.
fn emits(world: &World, function: &'static str, ty: &'static str) -> Arc<AtomicUsize> {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    world.runtime.script(function, move |guest| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let body = format!("{{\"type\":\"{ty}\"}}");
            let answer = guest.ask(Method::POST, "/v1/events", &[], &body).await;
            assert_eq!(answer.status.as_u16(), 202);
            Ended::Returned { events: Vec::new() }
        }
    });
    runs
}

async fn settled(world: &World) -> Vec<RunRecord> {
    loop {
        let runs = world.runs().await;
        let open = |run: &RunRecord| matches!(run.state, RunState::Queued | RunState::Running);
        if !runs.is_empty() && !runs.iter().any(open) {
            return runs;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_events_ends_in_a_dead_letter_that_names_path_cycle_and_edge() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", "emits = [\"ab\"]\non = [{ event = \"start\" }, { event = \"ca\" }]"),
            ("b", "emits = [\"bc\"]\non = [{ event = \"ab\" }]"),
            ("c", "emits = [\"ca\"]\non = [{ event = \"bc\" }]"),
        ])
        .await;
    let counts = [emits(&world, "a", "ab"), emits(&world, "b", "bc"), emits(&world, "c", "ca")];
    world.publish("e1", "start").await;
    settled(&world).await;
    let runs: usize = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    assert_eq!(runs, 17, "one at the start, and sixteen after it");
    let [letter] = &world.dead_letters().await[..] else { panic!("one dead letter") };
    let round = "a → b → c → a → b → c → a → b → c → a → b → c → a → b → c → a → b → c";
    let reason = &letter.reason;
    assert!(reason.contains(round), "{reason}");
    assert!(reason.contains("it goes round: c → a → b → c"), "{reason}");
    assert!(reason.contains("by the event bc of b"), "{reason}");
    let Some(Outcome::Rejected(failure)) = letter.run.attempts.last().map(|last| &last.outcome) else {
        panic!("{:?}", letter.run)
    };
    assert_eq!(failure.code, FailureCode::LoopDetected);
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_calls_is_refused_with_its_path_and_has_a_record_of_it() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 50"), ("b", "concurrency = 50")]).await;
    for (function, other) in [("a", "/v1/functions/b"), ("b", "/v1/functions/a")] {
        world.runtime.script(function, move |guest| async move {
            let answer = guest.ask(Method::POST, other, &[], "").await;
            guest.respond(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)).await;
            Ended::Returned { events: Vec::new() }
        });
    }
    let (answered, body) = world.call("a", "").await.unwrap();
    assert_eq!(answered.response.status.as_u16(), 508);
    assert!(body.contains("a → b → a → b"), "{body}");
    let runs = settled(&world).await;
    let (stopped, made): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.state == RunState::Failed);
    assert_eq!((stopped.len(), made.len()), (1, 17));
    assert_eq!(stopped[0].cause.chain.links().len(), 17);
}

#[tokio::test(start_paused = true)]
async fn a_function_may_be_come_back_to_as_often_as_it_says() {
    let world = World::new().await;
    world.deploy(&[("a", "concurrency = 50\nchain = { reentries = 2 }")]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    world.runtime.script("a", move |guest| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let answer = guest.ask(Method::POST, "/v1/functions/a", &[], "").await;
            guest.respond(answer.status.as_u16(), "").await;
            Ended::Returned { events: Vec::new() }
        }
    });
    assert_eq!(world.call("a", "").await.unwrap().0.response.status.as_u16(), 508);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn one_start_may_not_cause_more_invocations_than_the_app_says() {
    let world = World::new().await;
    let text = manifest(&[
        ("fan", "emits = [\"part\"]\non = [{ event = \"start\" }]"),
        ("part", "on = [{ event = \"part\" }]"),
    ]);
    let text = text.replace("name = \"", "chain = { invocations = 5 }\nname = \"");
    world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    world.runtime.script("fan", |guest| async move {
        let events: Vec<String> = (0..20).map(|_| "{\"type\":\"part\"}".to_owned()).collect();
        guest.ask(Method::POST, "/v1/events", &[], &format!("[{}]", events.join(","))).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("part", |guest| guest.agree());
    world.publish("e1", "start").await;
    settled(&world).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 15);
    assert!(letters[0].reason.contains("one start may cause 5 invocations"), "{}", letters[0].reason);
}

#[tokio::test(start_paused = true)]
async fn neither_a_long_pipeline_nor_a_wide_fan_out_nor_retries_are_taken_for_a_loop() {
    let world = World::new().await;
    let names: Vec<String> = (0..15).map(|step| format!("step{step}")).collect();
    let settings: Vec<String> = (0..15)
        .map(|step| {
            format!("emits = [\"e{}\"]\nconcurrency = 100\non = [{{ event = \"e{step}\" }}]", step + 1)
        })
        .collect();
    let functions: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(settings.iter().map(String::as_str)).collect();
    world.deploy(&functions).await;
    for (step, name) in names.iter().enumerate() {
        let ty = format!("e{}", step + 1);
        world.runtime.script(name, move |guest| {
            let ty = ty.clone();
            async move {
                // Each is tried twice; the first step fans out, and the last but one again.
                if step > 0 && guest.call.attempt < 2 {
                    return Ended::Failed(evoke_core::outcome::Failure::new(FailureCode::Crashed, "no"));
                }
                let count = match step {
                    0 => 20,
                    13 => 35,
                    _ => 1,
                };
                let one = format!("{{\"type\":\"{ty}\"}}");
                let events = vec![one; count].join(",");
                guest.ask(Method::POST, "/v1/events", &[], &format!("[{events}]")).await;
                Ended::Returned { events: Vec::new() }
            }
        });
    }
    world.publish("e1", "e0").await;
    settled(&world).await;
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_circle_in_the_manifest_is_told_or_refused_as_it_says() {
    let world = World::new().await;
    let functions = [
        ("a", "emits = [\"x\"]\non = [{ event = \"y\" }]"),
        ("b", "emits = [\"y\"]\non = [{ event = \"x\" }]"),
    ];
    let text = manifest(&functions);
    let deployed = world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    assert_eq!(deployed.warnings, ["functions can lead to each other in a circle: a —x→ b —y→ a"]);
    let with = |loops: &str| text.replace("name = \"", &format!("loops = \"{loops}\"\nname = \""));
    let refused = world.engine.deploy(&app(), bundle(&with("deny"))).await;
    assert!(matches!(refused, Err(DeployError::Loops(circles)) if circles == ["a —x→ b —y→ a"]));
    let deployed = world.engine.deploy(&app(), bundle(&with("allow"))).await.unwrap();
    assert_eq!(deployed.warnings, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_function_calls_only_those_it_says_it_calls() {
    let world = World::new().await;
    world.deploy(&[("a", "calls = [\"b\"]"), ("b", ""), ("c", "")]).await;
    for name in ["b", "c"] {
        world.runtime.script(name, |guest| async move {
            guest.respond(200, "").await;
            Ended::Returned { events: Vec::new() }
        });
    }
    world.runtime.script("a", |guest| async move {
        let good = guest.ask(Method::POST, "/v1/functions/b", &[], "").await;
        let refused = guest.ask(Method::POST, "/v1/functions/c", &[], "").await;
        let words = String::from_utf8_lossy(&refused.body).into_owned();
        guest.respond(good.status.as_u16(), &format!("{} {words}", refused.status)).await;
        Ended::Returned { events: Vec::new() }
    });
    let (answered, body) = world.call("a", "").await.unwrap();
    assert_eq!(answered.response.status.as_u16(), 200);
    assert!(body.starts_with("403") && body.contains("calls = [\\\"b\\\", \\\"c\\\"]"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_stopped_call_gets_the_loop_as_its_error() {
    let world = World::new().await;
    world.deploy(&[("a", "chain = { depth = 1, reentries = 0 }")]).await;
    world.runtime.script("a", |guest| async move {
        let answer = guest.ask(Method::POST, "/v1/functions/a", &[], "").await;
        guest.respond(answer.status.as_u16(), "").await;
        Ended::Returned { events: Vec::new() }
    });
    let answered = world.call("a", "").await;
    assert!(!matches!(answered, Err(CallError::Loop { .. })), "who comes from outside is not part of it");
    assert_eq!(answered.unwrap().0.response.status.as_u16(), 508);
}

/// What a request brings along that a function sent over the network.
fn sent(hop: Option<(&str, u32)>, trace: Option<&str>, peer: Option<&str>) -> Arrival {
    Arrival {
        hop: hop.map(|(span, depth)| Hop { span: span.to_owned(), depth }),
        trace: trace.map(|span| TraceParent { trace_id: "1".repeat(32), span_id: span.to_owned() }),
        peer: peer.map(|peer| peer.parse().unwrap()),
        ..Arrival::default()
    }
}

/// Two functions: `a` tells its span and waits until it is told to end, `b` does nothing.
async fn two(
    world: &World,
) -> (tokio::sync::mpsc::UnboundedReceiver<(String, u32)>, Arc<tokio::sync::Notify>) {
    world
        .deploy(&[
            ("a", "egress = [\"example.com:443\"]\nconcurrency = 9\non = [{ event = \"start\" }]"),
            ("b", ""),
        ])
        .await;
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let end = Arc::new(tokio::sync::Notify::new());
    let ends = end.clone();
    world.runtime.script("a", move |guest| {
        tell.send((guest.call.cause.span_id.clone(), guest.call.cause.depth)).unwrap();
        let ends = ends.clone();
        async move {
            ends.notified().await;
            Ended::Returned { events: Vec::new() }
        }
    });
    world.runtime.script("b", |guest| async move {
        guest.respond(200, "").await;
        Ended::Returned { events: Vec::new() }
    });
    (told, end)
}

async fn called(world: &World, from: Arrival) -> RunRecord {
    let answered = world.engine.call(CallRequest { from, ..world.request("b", "") }).await.unwrap();
    world.ended(&answered.run).await
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_back_goes_on_with_the_chain_of_the_attempt_that_sent_it() {
    let world = World::new().await;
    let (mut told, end) = two(&world).await;
    world.publish("e1", "start").await;
    let (span, _) = told.recv().await.unwrap();
    for from in [sent(Some((&span, 1)), None, None), sent(None, Some(&span), Some("192.0.2.1:999"))] {
        let run = called(&world, from).await;
        assert_eq!(run.cause.depth, 1);
        assert_eq!(run.cause.chain.links()[0].function.as_str(), "a");
        assert!(run.cause.parent.is_some());
    }
    // Later too: it may have been told to somebody who takes his time.
    end.notify_one();
    settled(&world).await;
    assert_eq!(called(&world, sent(Some((&span, 1)), None, None)).await.cause.depth, 1);
    // What nobody knows comes from outside, but for the depth it owns up to.
    assert_eq!(called(&world, sent(None, Some("00000000000000aa"), None)).await.cause.depth, 0);
    let owned = called(&world, sent(Some(("00000000000000aa", 5)), None, None)).await;
    assert_eq!((owned.cause.depth, owned.cause.chain.is_empty()), (5, true));
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_a_function_cannot_be_denied_to_be_that() {
    let world = World::new().await;
    let (mut told, end) = two(&world).await;
    let network = Arc::new(Present::default());
    let peer = "127.0.0.1:4001";
    let _open = world.origins.opened(peer.parse().unwrap(), &network);
    world.publish("e1", "start").await;
    let (first, _) = told.recv().await.unwrap();
    let _first = network.enter(&first);
    // It says nothing, or names what it is not.
    for from in [
        sent(None, None, Some(peer)),
        sent(Some(("00000000000000aa", 0)), Some("00000000000000bb"), Some(peer)),
    ] {
        assert_eq!(called(&world, from).await.cause.chain.links().len(), 1);
    }
    // Of several the one it names, and the deepest if it names none.
    let deep = sent(Some((&first, 1)), None, None);
    let second = CallRequest { from: deep, ..world.request("a", "") };
    let (engine, call) = (world.engine.clone(), second);
    let _calling = tokio::task::JoinSet::from_iter([async move { engine.call(call).await.is_ok() }]);
    let (span, depth) = told.recv().await.unwrap();
    assert_eq!(depth, 1);
    let _second = network.enter(&span);
    assert_eq!(called(&world, sent(None, None, Some(peer))).await.cause.depth, 2);
    assert_eq!(called(&world, sent(None, Some(&first), Some(peer))).await.cause.depth, 1);
    end.notify_waiters();
}

#[tokio::test(start_paused = true)]
async fn a_rate_from_outside_is_bounded_where_it_is_set_and_told_where_it_is_unusual() {
    let limits = Limits { loop_rate: 3, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    let sends = "egress = [\"example.com:443\"]\non = [{ event = \"ticket\" }]";
    world
        .deploy(&[
            ("free", sends),
            ("bound", &format!("{sends}\nchain = {{ rate = 4 }}")),
            ("deaf", "on = [{ event = \"ticket\" }]"),
        ])
        .await;
    for name in ["free", "bound", "deaf"] {
        world.runtime.script(name, |_| async { Ended::Returned { events: Vec::new() } });
    }
    for n in 0..6 {
        world.publish(&format!("t{n}"), "ticket").await;
    }
    settled(&world).await;
    let letters = world.dead_letters().await;
    let stopped: Vec<&str> = letters.iter().map(|letter| letter.run.function.as_str()).collect();
    assert_eq!(stopped, ["bound", "bound"]);
    assert!(
        letters[0].reason.contains("4 invocations a minute may come from outside"),
        "{}",
        letters[0].reason
    );
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    world.publish("t7", "ticket").await;
    settled(&world).await;
    assert_eq!(world.dead_letters().await.len(), 2, "the next minute is another");
}
