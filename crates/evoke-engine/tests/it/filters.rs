//! Which subscriptions get an event, when there are many of them or their filters are dear.

use evoke_engine::Arrival;
use std::sync::Arc;

use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::outcome::{FailureCode, Outcome};
use evoke_core::record::RunState;
use evoke_core::testing::store::MemoryStore;
use evoke_engine::explain::{Fate, Then};

use crate::support::{World, app};

/// True, at more than an evaluation has to itself.
fn dear() -> String {
    vec!["id = id"; 600].join(" AND ")
}

async fn world() -> World {
    let limits = Limits { filter_work: 0, ..Limits::default() };
    World::with(Arc::new(MemoryStore::new()), limits).await
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_decided_at_once_is_decided_when_it_is_due() {
    let world = world().await;
    let (yes, no) = (dear(), format!("{} AND id = 'x'", dear()));
    world
        .deploy(&[
            ("cheap", "on = [{ event = \"order\", where = \"id = 'e1'\" }]"),
            ("cheap-no", "on = [{ event = \"order\", where = \"id = 'x'\" }]"),
            ("dear", &format!("on = [{{ event = \"order\", where = \"{yes}\" }}]")),
            ("dear-no", &format!("on = [{{ event = \"order\", where = \"{no}\" }}]")),
        ])
        .await;
    let published = world.publish("e1", "order").await;
    let mut ended = Vec::new();
    for run in &published.runs {
        ended.push(world.ended(run).await);
    }
    ended.sort_by(|a, b| a.function.cmp(&b.function));
    let [cheap, dear, none] = &ended[..] else { panic!("{ended:#?}") };
    assert!(!cheap.undecided && dear.undecided && none.undecided);
    for run in [cheap, dear] {
        assert_eq!(run.state, RunState::Completed);
        assert!(run.attempts[0].outcome.is_completed(), "{run:?}");
    }
    assert_eq!(none.state, RunState::Completed);
    let Outcome::Rejected(failure) = &none.attempts[0].outcome else { panic!("{none:?}") };
    assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Filtered, "id = 'x' is false"));
    assert_eq!(none.attempts.len(), 1);
    assert_eq!(world.instances("dear-no"), (0, 0), "it was not even started");
}

#[tokio::test(start_paused = true)]
async fn what_was_found_out_late_is_explained() {
    let world = world().await;
    let no = format!("{} AND id = 'x'", dear());
    world.deploy(&[("dear", &format!("on = [{{ event = \"order\", where = \"{no}\" }}]"))]).await;
    let published = world.publish("e1", "order").await;
    world.ended(&published.runs[0]).await;
    let explained = world.engine.explain(&app(), "e1", None).await.unwrap();
    let one = &explained.subscriptions[0];
    assert!(matches!(&one.then, Then::Filtered(filtered) if filtered.clause == "id = 'x'"), "{one:?}");
    let Fate::Dropped { reason, .. } = &one.deliveries[0].fate else { panic!("{one:?}") };
    assert_eq!(reason, "filtered: id = 'x' is false");
}

#[tokio::test(start_paused = true)]
async fn the_events_of_one_publish_share_what_filters_may_take() {
    let limits = Limits { filter_work: 5_000, ..Limits::default() };
    let world = World::with(Arc::new(MemoryStore::new()), limits).await;
    world.deploy(&[("dear", &format!("on = [{{ event = \"order\", where = \"{}\" }}]", dear()))]).await;
    let events = (0..20).map(|n| Event::new(format!("e{n}"), "/test", "order")).collect();
    let published = world.engine.publish(&app(), events, Arrival::default()).await.unwrap();
    let mut undecided = 0;
    for run in published.iter().flat_map(|one| &one.runs) {
        let run = world.ended(run).await;
        assert!(run.attempts[0].outcome.is_completed(), "{run:?}");
        undecided += usize::from(run.undecided);
    }
    assert!((1..20).contains(&undecided), "{undecided} of 20");
}

#[tokio::test(start_paused = true)]
async fn subscribers_are_found_by_type_and_by_any_beginning_of_it() {
    let world = World::new().await;
    let on = |ty: &str| format!("on = [{{ event = \"{ty}\" }}]");
    let patterns = [
        ("a", "order"),
        ("b", "order*"),
        ("c", "*"),
        ("d", "ä*"),
        ("e", "äp*"),
        ("f", "orders"),
        ("g", "o*"),
    ];
    let functions: Vec<(&str, String)> = patterns.iter().map(|(name, ty)| (*name, on(ty))).collect();
    let functions: Vec<(&str, &str)> = functions.iter().map(|(name, on)| (*name, on.as_str())).collect();
    world.deploy(&functions).await;
    let long = format!("order{}", "x".repeat(1_000));
    for (n, (ty, expected)) in
        [("order", "abcg"), ("orders", "bcfg"), ("äpfel", "cde"), ("a", "c"), (long.as_str(), "bcg")]
            .into_iter()
            .enumerate()
    {
        let published = world.publish(&format!("e{n}"), ty).await;
        let mut reached = String::new();
        for run in &published.runs {
            reached += world.ended(run).await.function.as_str();
        }
        assert_eq!(reached, expected, "of {ty}");
    }
}
