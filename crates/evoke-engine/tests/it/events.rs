use evoke_engine::Arrival;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::{RunState, Trigger};
use evoke_core::runtime::Ended;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::ingest::{LaterCall, PublishError};

use crate::support::{World, app, function, request};

const ON_ORDER: &str = "on = [{ event = \"order\" }]";

fn fail() -> Ended {
    Ended::Failed(Failure::new(FailureCode::FunctionError, "no"))
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_everyone_who_subscribed_and_nobody_else() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", ON_ORDER),
            ("b", "on = [{ event = \"ord*\" }]"),
            ("c", "on = [{ event = \"other\" }]"),
        ])
        .await;
    let published = world.publish("e1", "order").await;
    assert_eq!(published.runs.len(), 2);
    for run in &published.runs {
        let run = world.ended(run).await;
        assert_eq!(run.state, RunState::Completed);
        assert!(matches!(run.trigger, Trigger::Event { ref event, .. } if event.id == "e1"));
    }
    assert_eq!(world.runs().await.len(), 2);
}

/// Filters see the event as it is delivered, with what was filled in.
#[tokio::test(start_paused = true)]
async fn an_event_reaches_only_those_whose_filters_it_passes() {
    let world = World::new().await;
    world
        .deploy(&[
            ("matches", "on = [{ event = \"order\", where = \"EXISTS time AND id LIKE 'e%'\" }]"),
            ("matched", "on = [{ event = \"order\", pattern = { data = { id = [{ prefix = \"e\" }] } } }]"),
            ("other-id", "on = [{ event = \"order\", where = \"id = 'x'\" }]"),
            ("other-data", "on = [{ event = \"order\", pattern = { data = { id = [\"x\"] } } }]"),
            (
                "one-of-two",
                "on = [{ event = \"order\", where = \"TRUE\", pattern = { data = { id = [\"x\"] } } }]",
            ),
            ("fails", "on = [{ event = \"order\", where = \"priority != 3\" }]"),
            ("twice", "on = [{ event = \"order\", where = \"id = 'e1'\" }, { event = \"*\" }]"),
        ])
        .await;
    let published = world.publish("e1", "order").await;
    let mut reached = Vec::new();
    for run in &published.runs {
        let run = world.ended(run).await;
        let Trigger::Event { subscription, .. } = run.trigger else { panic!("{:?}", run.trigger) };
        reached.push((run.function.to_string(), subscription));
    }
    reached.sort();
    let expected = [("matched", 0), ("matches", 0), ("twice", 0), ("twice", 1)];
    assert_eq!(reached, expected.map(|(name, at)| (name.to_owned(), at)));
}

#[tokio::test(start_paused = true)]
async fn the_same_event_twice_is_one_event() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ORDER)]).await;
    let first = world.publish("e1", "order").await;
    let second = world.publish("e1", "order").await;
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(first.runs, second.runs);
    world.ended(&first.runs[0]).await;
    assert_eq!(world.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_is_retried_until_it_succeeds() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ORDER)]).await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    world.runtime.script("a", move |guest| {
        let attempt = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            assert_eq!(guest.call.attempt, attempt);
            if attempt < 3 { fail() } else { guest.agree().await }
        }
    });
    let published = world.publish("e1", "order").await;
    let run = world.ended(&published.runs[0]).await;
    assert_eq!(run.state, RunState::Completed);
    assert_eq!(
        run.attempts.iter().map(|a| a.outcome.word()).collect::<Vec<_>>(),
        ["failed", "failed", "completed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_never_succeeds_is_one_dead_letter_and_can_be_redriven() {
    let world = World::new().await;
    let on = "on = [{ event = \"order\", retry = { attempts = 2, initial = \"3s\", backoff = \"fixed\" } }]";
    world.deploy(&[("a", on)]).await;
    world.runtime.script("a", |_| async { fail() });
    let started = tokio::time::Instant::now();
    let published = world.publish("e1", "order").await;
    let run = world.ended(&published.runs[0]).await;
    assert_eq!(run.state, RunState::DeadLettered);
    assert!(started.elapsed() >= Duration::from_secs(3), "the pause before the retry was not kept");
    let dead = world.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, "given up after 2 attempts: function_error: no");

    world.runtime.script("a", |guest| guest.agree());
    assert_eq!(world.engine.redrive(&app(), &published.runs).await.unwrap(), published.runs);
    let run = world.ended(&published.runs[0]).await;
    assert_eq!((run.state, run.attempts.len()), (RunState::Completed, 3));
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_for_a_function_that_is_gone_is_a_dead_letter_that_says_so() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ORDER)]).await;
    world.runtime.break_start("a", "SyntaxError");
    let published = world.publish("e1", "order").await;
    world.deploy(&[("b", "")]).await;
    let run = world.ended(&published.runs[0]).await;
    assert_eq!(run.state, RunState::DeadLettered);
    assert!(world.dead_letters().await[0].reason.contains("deploy it and redrive"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_longer_than_its_lease_keeps_the_lease() {
    let world = World::new().await;
    world.deploy(&[("a", "timeout = \"10m\"\non = [{ event = \"order\" }]")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(300)).await;
        guest.agree().await
    });
    let published = world.publish("e1", "order").await;
    let run = world.ended(&published.runs[0]).await;
    assert_eq!((run.state, run.attempts.len()), (RunState::Completed, 1));
}

#[tokio::test(start_paused = true)]
async fn events_that_break_the_specification_are_refused_with_their_position() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ORDER)]).await;
    let events = vec![Event::new("1", "/s", "order"), Event::new("", "/s", "order")];
    let error = world.engine.publish(&app(), events, Arrival::default()).await.unwrap_err();
    assert!(matches!(error, PublishError::Invalid { index: 1, .. }), "{error}");
    assert!(world.runs().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_for_later_is_made_and_the_same_key_names_the_same_run() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let later = |key: Option<&str>| LaterCall {
        app: app(),
        function: function("a"),
        request: request("body"),
        trigger: Trigger::Http { method: "POST".to_owned(), path: "/".to_owned() },
        from: Arrival::default(),
        idempotency_key: key.map(str::to_owned),
    };
    let first = world.engine.call_later(later(Some("k"))).await.unwrap();
    let second = world.engine.call_later(later(Some("k"))).await.unwrap();
    assert_eq!((&first.run, first.duplicate, second.duplicate), (&second.run, false, true));
    assert_eq!(world.ended(&first.run).await.state, RunState::Completed);
    assert_ne!(world.engine.call_later(later(None)).await.unwrap().run, first.run);
}

#[tokio::test(start_paused = true)]
async fn a_server_error_of_a_later_call_is_a_failure_and_a_client_error_is_an_answer() {
    let world = World::new().await;
    world.deploy(&[("a", "retry = { attempts = 1 }")]).await;
    for (status, state) in [(503, RunState::DeadLettered), (404, RunState::Completed)] {
        world.runtime.script("a", move |guest| async move {
            guest.respond(status, "").await;
            Ended::Returned { events: Vec::new() }
        });
        let trigger = Trigger::Http { method: "POST".to_owned(), path: "/".to_owned() };
        let call = LaterCall {
            app: app(),
            function: function("a"),
            request: request(""),
            trigger,
            from: Arrival::default(),
            idempotency_key: None,
        };
        let accepted = world.engine.call_later(call).await.unwrap();
        assert_eq!(world.ended(&accepted.run).await.state, state);
    }
}

#[tokio::test(start_paused = true)]
async fn emitted_events_carry_their_cause() {
    let world = World::new().await;
    world
        .deploy(&[
            ("a", "emits = [\"paid\"]\non = [{ event = \"order\" }]"),
            ("b", "on = [{ event = \"paid\" }]"),
        ])
        .await;
    world.runtime.script("a", |guest| async move {
        assert!(guest.publish("paid", serde_json::json!(1)).await);
        guest.agree().await
    });
    let seen = Arc::new(parking_lot::Mutex::new(None));
    let keep = seen.clone();
    world.runtime.script("b", move |guest| {
        *keep.lock() = guest.event().cloned();
        guest.agree()
    });
    let published = world.publish("e1", "order").await;
    let first = world.ended(&published.runs[0]).await;
    let event = loop {
        if let Some(event) = seen.lock().clone() {
            break event;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(event.extension_str("causationid"), Some(first.id.as_str()));
    assert_eq!(event.extension_str("correlationid"), Some(first.cause.root.as_str()));
    assert_eq!(event.id(), format!("{}.0", first.id));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_settlement_fails_for_a_moment_is_not_made_again() {
    for fault in [Fault::Before, Fault::After] {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let world = World::with(store.clone(), Limits::default()).await;
        world
            .deploy(&[
                ("a", "emits = [\"next\"]\non = [{ event = \"order\" }]"),
                ("b", "on = [{ event = \"next\" }]"),
            ])
            .await;
        let made = Arc::new(AtomicU32::new(0));
        let counted = made.clone();
        let failing = store.clone();
        world.runtime.script("a", move |guest| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                failing.fail_next(fault);
            }
            async move {
                assert!(guest.publish("next", serde_json::json!(1)).await);
                guest.agree().await
            }
        });
        let started = tokio::time::Instant::now();
        let run = world.publish("e1", "order").await.runs.remove(0);
        let run = world.ended(&run).await;
        assert_eq!((run.state, run.attempts.len()), (RunState::Completed, 1), "{fault:?}");
        assert_eq!(made.load(Ordering::SeqCst), 1, "{fault:?}");
        while !world
            .runs()
            .await
            .iter()
            .any(|run| run.function == function("b") && run.state == RunState::Completed)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(started.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_lost_counts() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    world.deploy(&[("a", "on = [{ event = \"order\", retry = { attempts = 2 } }]")]).await;
    world.runtime.script("a", |_| std::future::pending());
    let run = world.publish("e1", "order").await.runs.remove(0);
    let mut worlds = vec![world];
    for crash in 1..=3 {
        let runtime = ScriptedRuntime::new();
        runtime.script("a", |_| std::future::pending());
        let world = worlds.last().unwrap();
        while world.runtime.alive() == 0 && world.dead_letters().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(world.runtime.alive(), usize::from(crash <= 2), "server {crash}");
        if crash == 3 {
            break;
        }
        // As if the server had died: its leases are void, and what it does from now on is refused.
        store.reopen();
        let clock = world.clock.clone();
        worlds.push(World::on(store.clone(), Limits::default(), runtime, clock, crash).await);
    }
    let dead = worlds[2].dead_letters().await.remove(0);
    assert_eq!(dead.reason, "given up after 2 attempts: lost: the server stopped while it ran");
    assert_eq!(
        dead.run.attempts.iter().map(|a| (a.number, a.outcome.word())).collect::<Vec<_>>(),
        [(1, "lost"), (2, "lost")]
    );
    assert_eq!(dead.run.id, run);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_could_not_start_says_how_long_it_waited() {
    let world = World::new().await;
    world.deploy(&[("a", "on = [{ event = \"order\", retry = { attempts = 1 } }]")]).await;
    world.runtime.start_takes(Duration::from_secs(2));
    world.runtime.break_start("a", "ModuleNotFoundError: x");
    let run = world.publish("e1", "order").await.runs.remove(0);
    let run = world.ended(&run).await;
    assert_eq!(run.state, RunState::DeadLettered);
    assert_eq!(run.attempts[0].waited_us, 2_000_000);
    assert_eq!(run.attempts[0].ended_at.since(run.attempts[0].started_at), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn no_event_is_mistaken_for_a_call_with_a_key() {
    let world = World::new().await;
    world.deploy(&[("a", ON_ORDER)]).await;
    let trigger = Trigger::Http { method: "POST".to_owned(), path: "/".to_owned() };
    let call = LaterCall {
        app: app(),
        function: function("a"),
        request: request(""),
        trigger,
        from: Arrival::default(),
        idempotency_key: Some("k".to_owned()),
    };
    let run = world.engine.call_later(call).await.unwrap().run;
    let event = Event::new("k", "call:a", "order");
    let published = world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap().remove(0);
    assert!(!published.duplicate);
    assert_ne!(published.runs, [run]);
}
