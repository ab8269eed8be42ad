use evoke_engine::Arrival;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::{Event, REPLAY};
use evoke_core::filter::cesql::Expression;
use evoke_core::id::{RunId, SubscriptionName};
use evoke_core::limits::Limits;
use evoke_core::manifest::TypePattern;
use evoke_core::record::RunState;
use evoke_core::store::{EventQuery, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::replay::{Order, Point, RUNNING_MAX, Replay, ReplayError, State};
use parking_lot::Mutex;

use crate::support::{World, app, function};

fn order(name: &str) -> Order {
    Order {
        function: function(name),
        subscription: SubscriptionName::from_text("order"),
        from: Point::Position(0),
        to: None,
        types: None,
        filter: None,
    }
}

async fn publish(world: &World, count: usize) {
    for first in (0..count).step_by(100) {
        let events = (first..count.min(first + 100)).map(|n| Event::new(format!("e{n}"), "/test", "order"));
        world.engine.publish(&app(), events.collect(), Arrival::default()).await.unwrap();
    }
}

/// Waits until it is over.
async fn over(world: &World, replay: &Replay) -> Replay {
    loop {
        let all = world.engine.replays(&app()).await.unwrap();
        let found = all.into_iter().find(|one| one.id == replay.id).unwrap();
        if found.state != State::Running {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until nothing is queued or under way any more.
async fn quiet(world: &World) {
    while world.runs().await.iter().any(|run| matches!(run.state, RunState::Queued | RunState::Running)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs of a replay, by the event they are of.
async fn replayed(world: &World, replay: &Replay) -> Vec<RunId> {
    let runs = world.runs().await;
    runs.into_iter().filter(|run| run.replay.as_ref() == Some(&replay.id)).map(|run| run.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_replay_delivers_what_was_accepted_before_to_one_subscription_and_marks_it() {
    let world = World::new().await;
    world.deploy(&[("old", "on = [{ event = \"order\" }]")]).await;
    publish(&world, 3).await;
    world.publish("p1", "payment").await;
    quiet(&world).await;
    world.deploy(&[("old", "on = [{ event = \"order\" }]"), ("new", "on = [{ event = \"order\" }]")]).await;
    let marks = Arc::new(Mutex::new(Vec::new()));
    let seen = marks.clone();
    world.runtime.script("new", move |guest| {
        let mark = guest.event().and_then(|event| event.extension_str(REPLAY).map(str::to_owned));
        seen.lock().push(mark);
        guest.agree()
    });
    let before = world.runs().await.len();
    let preview = world.engine.preview_replay(&app(), &order("new")).await.unwrap();
    assert_eq!((preview.seen, preview.count, preview.next), (3, 3, None), "only of its type");
    assert_eq!(preview.first.unwrap().event.id(), "e0");
    assert_eq!(preview.last.unwrap().event.id(), "e2");
    assert!(preview.bytes > 0);
    assert_eq!(world.runs().await.len(), before, "a preview delivers nothing");

    let replay = world.engine.replay(&app(), &order("new")).await.unwrap();
    let done = over(&world, &replay).await;
    assert!(matches!(done.state, State::Done { .. }));
    assert_eq!((done.seen, done.delivered), (3, 3));
    quiet(&world).await;
    assert_eq!(world.runs().await.len(), before + 3, "to nobody else");
    assert_eq!(*marks.lock(), vec![Some(replay.id.to_string()); 3]);
    let all = world.engine.explain(&app(), "e0", None).await.unwrap().subscriptions;
    let new = all.iter().find(|one| one.function.as_str() == "new").unwrap();
    assert_eq!(new.deliveries[0].replay, Some(replay.id));
}

#[tokio::test(start_paused = true)]
async fn the_range_the_type_and_the_expression_choose() {
    let world = World::new().await;
    world.deploy(&[("a", "on = [{ event = \"order*\" }]")]).await;
    for (n, ty) in ["order", "order.paid", "order", "order.paid"].into_iter().enumerate() {
        world.publish(&format!("e{n}"), ty).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let start = Timestamp::from_millis(1_700_000_000_000);
    let at = |seconds| Point::Time(start.after(Duration::from_secs(seconds)));
    let base = Order { subscription: SubscriptionName::from_text("order*"), ..order("a") };
    let event = |id: &str| Point::Event(id.to_owned());
    for (order, expected) in [
        (base.clone(), vec!["e0", "e1", "e2", "e3"]),
        (Order { from: at(5), ..base.clone() }, vec!["e1", "e2", "e3"]),
        (Order { from: at(5), to: Some(at(25)), ..base.clone() }, vec!["e1", "e2"]),
        (Order { from: event("e1"), to: Some(event("e2")), ..base.clone() }, vec!["e1", "e2"]),
        (Order { types: Some(TypePattern("order.*".to_owned())), ..base.clone() }, vec!["e1", "e3"]),
        (Order { filter: Some(Expression::parse("id = 'e2'").unwrap()), ..base.clone() }, vec!["e2"]),
    ] {
        let preview = world.engine.preview_replay(&app(), &order).await.unwrap();
        let ends = [preview.first, preview.last].map(|one| one.unwrap().event.id().to_owned());
        assert_eq!(preview.count as usize, expected.len(), "{order:?}");
        assert_eq!(ends, [expected[0], expected[expected.len() - 1]], "{order:?}");
    }
    let late = Order { from: at(100), ..base };
    assert!(matches!(world.engine.replay(&app(), &late).await, Err(ReplayError::Empty { .. })));
}

/// The server dies at any change of the store during a replay; the next one goes on, and no event is delivered twice.
#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_a_death_at_any_commit_and_doubles_nothing() {
    const EVENTS: usize = 450;
    let mut died = 0;
    for commit in 0.. {
        let memory = Arc::new(MemoryStore::new());
        let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
        let runtime = ScriptedRuntime::new();
        let on = |store: Arc<dyn Store>, seed| {
            World::on(store, Limits::default(), runtime.clone(), clock.clone(), seed)
        };
        let faulty = Arc::new(FaultyStore::new(memory.clone()));
        let world = on(faulty.clone(), 1).await;
        world.deploy(&[("a", "on = [{ event = \"order\" }]")]).await;
        publish(&world, EVENTS).await;
        quiet(&world).await;
        world.runtime.script("a", |guest| guest.agree());
        let replay = world.engine.replay(&app(), &order("a")).await.unwrap();
        // One change in 37, of which most are leases and settlements of the deliveries.
        let fault = if commit % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter };
        faulty.fail_at(faulty.mutations() + 1 + commit * 37, fault);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let dead = faulty.crashed();
        drop(world);
        memory.reopen();
        let world = on(memory.clone(), 2).await;
        let done = over(&world, &replay).await;
        assert_eq!((done.seen, done.delivered), (EVENTS as u64, EVENTS as u64), "died at commit {commit}");
        quiet(&world).await;
        let all = EventQuery { limit: 1_000, ..EventQuery::default() };
        for stored in world.store.events(&all).await.unwrap() {
            assert_eq!(stored.again.len(), 1, "{} after a death at commit {commit}", stored.event.id());
        }
        assert_eq!(replayed(&world, &replay).await.len(), EVENTS);
        if !dead {
            break;
        }
        died += 1;
    }
    assert!(died >= 3, "it died {died} times within the replay");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_cancelled_stops_and_one_without_its_subscription_fails() {
    let world = World::new().await;
    let slow = "on = [{ event = \"order\" }]\nconcurrency = 1";
    world.deploy(&[("a", slow)]).await;
    publish(&world, 900).await;
    quiet(&world).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        guest.agree().await
    });
    let replay = world.engine.replay(&app(), &order("a")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let halfway = world.engine.replays(&app()).await.unwrap().remove(0);
    assert!(
        halfway.delivered > 0 && halfway.delivered < 900,
        "it waits for what waits: {}",
        halfway.delivered
    );
    let cancelled = world.engine.cancel_replay(&app(), &replay.id).await.unwrap();
    assert!(matches!(cancelled.state, State::Cancelled { .. }));
    assert_eq!(world.engine.cancel_replay(&app(), &replay.id).await.unwrap(), cancelled);

    let second = world.engine.replay(&app(), &order("a")).await.unwrap();
    world.deploy(&[("a", "on = [{ event = \"payment\" }]")]).await;
    let failed = over(&world, &second).await;
    let State::Failed { reason, .. } = &failed.state else { panic!("{:?}", failed.state) };
    assert_eq!(reason, "function a has no subscription order any more");
    let unknown = world.engine.replay(&app(), &order("a")).await;
    assert!(matches!(unknown, Err(ReplayError::NotFound { .. })), "{unknown:?}");
    // Handlers are under way, and instances with them.
    world.engine.drain(Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_so_many_replays_of_an_app_are_under_way() {
    let world = World::new().await;
    world.deploy(&[("a", "on = [{ event = \"order\" }]\nconcurrency = 1")]).await;
    publish(&world, 600).await;
    quiet(&world).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        guest.agree().await
    });
    for _ in 0..RUNNING_MAX {
        world.engine.replay(&app(), &order("a")).await.unwrap();
    }
    let more = world.engine.replay(&app(), &order("a")).await;
    assert!(matches!(more, Err(ReplayError::TooMany { .. })), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_range_that_begins_before_the_archive_says_where_that_starts() {
    let world = World::new().await;
    world.deploy(&[("a", "on = [{ event = \"order\" }]")]).await;
    let early = Order { from: Point::Time(Timestamp::from_millis(1_600_000_000_000)), ..order("a") };
    let nothing = world.engine.replay(&app(), &early).await.unwrap_err().to_string();
    assert_eq!(nothing, "no event of app shop was accepted in that range; the archive is empty");
    publish(&world, 1).await;
    let oldest = world.engine.event(&app(), "e0", None).await.unwrap().accepted_at;
    let preview = world.engine.preview_replay(&app(), &early).await.unwrap();
    assert_eq!((preview.count, preview.archive_from), (1, Some(oldest)));
    assert_eq!(world.engine.preview_replay(&app(), &order("a")).await.unwrap().archive_from, None);
    let before = Order { to: Some(Point::Time(oldest)), ..early };
    let nothing = world.engine.replay(&app(), &before).await.unwrap_err().to_string();
    let expected = format!("no event of app shop was accepted in that range; the archive starts at {oldest}");
    assert_eq!(nothing, expected);
}

/// Those of a key are attempted one after the other, in the order of the log, also beside live ones.
#[tokio::test(start_paused = true)]
async fn replayed_events_are_kept_in_order_by_key_and_batches_say_so_too() {
    let world = World::new().await;
    let on = "on = [{ event = \"order\", order = \"type\" }, { event = \"bill\", batch = { size = 2, window = \"1s\" } }]";
    world.deploy(&[("a", on)]).await;
    publish(&world, 20).await;
    for id in ["b1", "b2"] {
        world.publish(id, "bill").await;
    }
    quiet(&world).await;
    let (seen, batch) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (to, also) = (seen.clone(), batch.clone());
    world.runtime.script("a", move |guest| {
        to.lock().extend(guest.event().map(|event| event.id().to_owned()));
        let marks = guest.events().iter().map(|event| event.extension_str(REPLAY).map(str::to_owned));
        also.lock().extend(marks.collect::<Vec<_>>());
        async move {
            tokio::time::sleep(Duration::from_millis(7)).await;
            guest.agree().await
        }
    });
    let first = world.engine.replay(&app(), &order("a")).await.unwrap();
    over(&world, &first).await;
    quiet(&world).await;
    assert_eq!(*seen.lock(), (0..20).map(|n| format!("e{n}")).collect::<Vec<_>>());
    let bills = Order { subscription: SubscriptionName::from_text("bill"), ..order("a") };
    let second = world.engine.replay(&app(), &bills).await.unwrap();
    over(&world, &second).await;
    quiet(&world).await;
    assert_eq!(*batch.lock(), vec![Some(second.id.to_string()); 2]);
}
