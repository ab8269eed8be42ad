//! Delivery policies: order by key, batches, limits of a subscription's own, pauses, queues.

use evoke_engine::Arrival;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evoke_core::event::{Data, Event};
use evoke_core::id::SubscriptionName;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::call::CallError;
use evoke_engine::ingest::{PublishError, Published};
use parking_lot::Mutex;

use crate::support::{World, app, function};

/// What handlers saw, in order: one entry a call.
type Seen = Arc<Mutex<Vec<String>>>;

fn done() -> Ended {
    Ended::Returned { events: Vec::new() }
}

fn failed() -> Ended {
    Ended::Failed(Failure::new(FailureCode::FunctionError, "no"))
}

/// A moment after the one before, so that there is an order among them.
async fn publish(world: &World, id: &str, subject: &str) -> Published {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let event =
        Event::new(id, "/test", "placed").with_subject(subject).with_json(serde_json::json!({ "id": id }));
    world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap().remove(0)
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_event_holds_up_those_of_its_key_until_it_is_a_dead_letter_and_no_others() {
    let world = World::new().await;
    let on = "concurrency = 8\n[[functions.f.on]]\nevent = \"placed\"\norder = \"subject\"\n\
              retry = { attempts = 3, backoff = \"fixed\", initial = \"1s\" }";
    world.deploy(&[("f", on)]).await;
    let seen = Seen::default();
    let log = seen.clone();
    world.runtime.script("f", move |guest| {
        let log = log.clone();
        async move {
            let id = guest.event().unwrap().id().to_owned();
            // Long enough for others to be attempted beside it, if they may.
            tokio::time::sleep(Duration::from_millis(50)).await;
            log.lock().push(id.clone());
            if id == "a1" { failed() } else { done() }
        }
    });
    let mut runs = Vec::new();
    for id in ["a1", "a2", "b1", "a3", "b2"] {
        runs.push(publish(&world, id, &id[..1]).await.runs[0].clone());
    }
    for run in &runs {
        world.ended(run).await;
    }
    let seen = seen.lock().clone();
    let of = |key: &str| seen.iter().filter(|id| id.starts_with(key)).cloned().collect::<Vec<_>>();
    assert_eq!(of("a"), ["a1", "a1", "a1", "a2", "a3"]);
    assert_eq!(of("b"), ["b1", "b2"]);
    let last_b = seen.iter().position(|id| id == "b2").unwrap();
    assert!(last_b < seen.iter().position(|id| id == "a2").unwrap(), "b was held up by a: {seen:?}");
    assert_eq!(world.dead_letters().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_key_never_overlap_however_many_instances_there_are() {
    let world = World::new().await;
    let on = "concurrency = 16\n[[functions.f.on]]\nevent = \"placed\"\norder = \"data.id\"";
    world.deploy(&[("f", on)]).await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, peak) = (inside.clone(), most.clone());
    world.runtime.script("f", move |_| {
        let (count, peak) = (count.clone(), peak.clone());
        async move {
            peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            count.fetch_sub(1, Ordering::SeqCst);
            done()
        }
    });
    let mut runs = Vec::new();
    for n in 0..20 {
        let event = Event::new(format!("e{n}"), "/test", "placed").with_json(serde_json::json!({ "id": 7 }));
        runs.push(
            world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap().remove(0).runs[0]
                .clone(),
        );
    }
    for run in &runs {
        assert_eq!(world.ended(run).await.state, RunState::Completed);
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_full_or_has_waited_its_window() {
    let world = World::new().await;
    world
        .deploy(&[("f", "[[functions.f.on]]\nevent = \"placed\"\nbatch = { size = 3, window = \"10s\" }")])
        .await;
    let seen = Seen::default();
    let log = seen.clone();
    world.runtime.script("f", move |guest| {
        let ids: Vec<&str> = guest.events().iter().map(Event::id).collect();
        log.lock().push(ids.join(" "));
        async { done() }
    });
    let begun = tokio::time::Instant::now();
    let mut last = None;
    for n in 1..=7 {
        last = Some(publish(&world, &format!("e{n}"), "s").await.runs[0].clone());
    }
    until(|| seen.lock().len() == 2).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "full batches wait for nothing");
    let run = world.ended(&last.unwrap()).await;
    assert!(begun.elapsed() >= Duration::from_secs(10), "the last one was not waited for");
    assert_eq!(*seen.lock(), ["e1 e2 e3", "e4 e5 e6", "e7"]);
    assert_eq!(run.state, RunState::Completed);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_those_its_handler_names_are_tried_again() {
    let world = World::new().await;
    let on = "emits = [\"made\"]\n[[functions.f.on]]\nevent = \"placed\"\nbatch = { size = 4, window = \"1s\" }\n\
              retry = { attempts = 2, backoff = \"fixed\", initial = \"1s\" }";
    world.deploy(&[("f", on)]).await;
    let seen = Seen::default();
    let log = seen.clone();
    world.runtime.script("f", move |guest| {
        let ids: Vec<String> = guest.events().iter().map(|event| event.id().to_owned()).collect();
        log.lock().push(ids.join(" "));
        async move {
            let failed = ids.into_iter().filter(|id| id == "e2" || id == "e3").collect();
            let made = Event::new("m", "/f", "made");
            Ended::Partly { events: vec![made], failed }
        }
    });
    let mut runs = Vec::new();
    for n in 1..=4 {
        runs.push(publish(&world, &format!("e{n}"), "s").await.runs[0].clone());
    }
    let mut states = Vec::new();
    for run in &runs {
        states.push(world.ended(run).await.state);
    }
    use RunState::{Completed, DeadLettered};
    assert_eq!(states, [Completed, DeadLettered, DeadLettered, Completed]);
    assert_eq!(*seen.lock(), ["e1 e2 e3 e4", "e2 e3"]);
    let reason = &world.dead_letters().await[0].reason;
    assert_eq!(
        reason,
        "given up after 2 attempts: function_error: the handler named it among batchItemFailures"
    );
    let query = evoke_core::store::EventQuery { ty: Some("made".to_owned()), limit: 9, ..Default::default() };
    assert_eq!(world.store.events(&query).await.unwrap().len(), 1, "effects come with the first completion");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_has_a_limit_of_its_own_below_the_functions() {
    let world = World::new().await;
    let on = "concurrency = 8\n[[functions.f.on]]\nevent = \"placed\"\nconcurrency = 2";
    world.deploy(&[("f", on)]).await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, peak) = (inside.clone(), most.clone());
    world.runtime.script("f", move |_| {
        let (count, peak) = (count.clone(), peak.clone());
        async move {
            peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            count.fetch_sub(1, Ordering::SeqCst);
            done()
        }
    });
    let mut runs = Vec::new();
    for n in 0..10 {
        runs.push(publish(&world, &format!("e{n}"), "s").await.runs[0].clone());
    }
    for run in &runs {
        world.ended(run).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_paused_subscription_collects_also_across_a_restart_and_the_others_go_on() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store.clone(), Limits::default()).await;
    let two = "[[functions.f.on]]\nevent = \"placed\"\n[[functions.f.on]]\nevent = \"pla*\"\nname = \"all\"";
    world.deploy(&[("f", two)]).await;
    let name = SubscriptionName::from_text("placed");
    assert!(world.engine.pause(&app(), &function("f"), &name).await.unwrap());
    assert!(!world.engine.pause(&app(), &function("f"), &name).await.unwrap());
    let published = publish(&world, "e1", "s").await;
    let by_name = async |name: &str| {
        let runs = world.runs().await;
        let run = runs.iter().find(|run| run.subscription.as_ref().unwrap().as_str() == name).unwrap();
        run.id.clone()
    };
    assert_eq!(world.ended(&by_name("all").await).await.state, RunState::Completed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let waits = by_name("placed").await;
    let state = async |world: &World| {
        let states = world.engine.subscriptions(&app()).await.unwrap().unwrap();
        (states[0].paused_at.is_some(), states[0].waiting.pending, states[1].paused_at.is_some())
    };
    assert_eq!(state(&world).await, (true, 1, false));
    world.engine.drain(Duration::from_secs(1)).await.unwrap();

    assert_eq!(published.runs.len(), 2);
    let World { runtime, clock, .. } = world;
    store.reopen();
    let world = World::on(store, Limits::default(), runtime, clock, 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(state(&world).await, (true, 1, false));
    assert!(world.engine.resume(&app(), &function("f"), &name).await.unwrap());
    assert_eq!(world.ended(&waits).await.state, RunState::Completed);
    assert!(!world.engine.resume(&app(), &function("f"), &name).await.unwrap());
    let unknown = SubscriptionName::from_text("x");
    assert!(world.engine.pause(&app(), &function("f"), &unknown).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_full_paused_subscription_does_not_take_is_on_record() {
    let limits = Limits { paused_backlog: 2, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("f", "[[functions.f.on]]\nevent = \"placed\"")]).await;
    let name = SubscriptionName::from_text("placed");
    world.engine.pause(&app(), &function("f"), &name).await.unwrap();
    for n in 0..4 {
        publish(&world, &format!("e{n}"), "s").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let runs = world.runs().await;
    let skipped: Vec<_> = runs.iter().filter(|run| run.state == RunState::Failed).collect();
    assert_eq!((runs.len(), skipped.len()), (4, 2));
    let why = skipped[0].attempts[0].outcome.reason();
    assert_eq!(why, "overloaded: the subscription is paused, and 2 deliveries wait for it already");
    world.engine.resume(&app(), &function("f"), &name).await.unwrap();
    for run in runs.iter().filter(|run| run.state == RunState::Queued) {
        assert_eq!(world.ended(&run.id).await.state, RunState::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_becomes_visible_again_and_is_a_dead_letter_after_its_last_receive() {
    let world = World::new().await;
    let text = crate::support::manifest(&[("mailer", "")])
        + "[queues.mail]\nto = \"mailer\"\nvisibility = \"20s\"\nmax_receives = 3\n";
    world.engine.deploy(&app(), crate::support::bundle(&text)).await.unwrap();
    world.runtime.script("mailer", |_| async { failed() });
    let begun = tokio::time::Instant::now();
    let sent = world.publish("m1", "queue.mail").await;
    let run = world.ended(&sent.runs[0]).await;
    assert_eq!((run.state, run.attempts.len()), (RunState::DeadLettered, 3));
    assert!(begun.elapsed() >= Duration::from_secs(40));
    let event = Event::new("m2", "/test", "queue.mali");
    let refused = world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap_err();
    assert!(matches!(refused, PublishError::Invalid { .. }), "{refused}");
    assert_eq!(refused.to_string(), "event 0: app shop has no queue.mali");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_has_a_time_limit_of_its_own_and_the_function_keeps_its() {
    let world = World::new().await;
    let on = "timeout = \"30s\"\n[[functions.a.on]]\nevent = \"placed\"\ntimeout = \"2s\"\nretry = { attempts = 1 }";
    world.deploy(&[("a", on)]).await;
    world.runtime.script("a", |_| std::future::pending());
    let sent = publish(&world, "e1", "x").await;
    let run = world.ended(&sent.runs[0]).await;
    assert_eq!(run.attempts[0].outcome, Outcome::TimedOut { after_ms: 2_000, of_caller: false });
    let called = world.call("a", "").await;
    assert!(matches!(called, Err(CallError::TimedOut { limit, .. }) if limit == Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_function_arrive_in_batches_and_only_those_that_failed_are_visible_again() {
    let world = World::new().await;
    let text = crate::support::manifest(&[("shop", "emits = [\"queue.mail\"]"), ("mailer", "")])
        + "[queues.mail]\nto = \"mailer\"\nvisibility = \"20s\"\nbatch = { size = 3, window = \"1s\" }\n";
    world.engine.deploy(&app(), crate::support::bundle(&text)).await.unwrap();
    world.runtime.script("shop", |guest| async move {
        for to in ["ada", "bob", "cleo", "dan"] {
            assert!(guest.publish("queue.mail", serde_json::json!(to)).await);
        }
        guest.agree().await
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (begun, batches) = (tokio::time::Instant::now(), seen.clone());
    world.runtime.script("mailer", move |guest| {
        let to = |event: &Event| match event.data() {
            Some(Data::Json(to)) => to.as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        let names: Vec<String> = guest.events().iter().map(to).collect();
        let is_first = begun.elapsed() < Duration::from_secs(10);
        let bob = guest.events().iter().filter(|event| is_first && to(event) == "bob");
        let failed = bob.map(|event| event.id().to_owned()).collect();
        batches.lock().push((begun.elapsed().as_secs(), names.join(" ")));
        async move { Ended::Partly { events: Vec::new(), failed } }
    });
    world.call("shop", "").await.unwrap();
    until(|| seen.lock().len() == 3).await;
    let seen = seen.lock();
    let sizes = seen.iter().map(|(_, names)| names.split(' ').count());
    assert_eq!((sizes.collect::<Vec<_>>(), seen[2].1.as_str()), (vec![3, 1, 1], "bob"), "{seen:?}");
    assert!(seen[2].0 >= 20, "it was seen before its time: {seen:?}");
}
