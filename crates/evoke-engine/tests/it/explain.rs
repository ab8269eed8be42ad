use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::id::SubscriptionName;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use evoke_engine::Arrival;
use evoke_engine::explain::{ExplainError, Fate, Hold, Now, Subscriber, Then};

use crate::support::{World, app, function};

async fn explain(world: &World) -> Vec<Subscriber> {
    world.engine.explain(&app(), "e1", None).await.unwrap().subscriptions
}

fn of<'a>(all: &'a [Subscriber], function: &str) -> &'a Subscriber {
    all.iter().find(|one| one.function.as_str() == function).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_subscription_says_what_it_made_of_the_event() {
    let world = World::new().await;
    world
        .deploy(&[
            ("takes", "on = [{ event = \"order\" }]"),
            ("filters", "on = [{ event = \"ord*\", where = \"id LIKE 'e%' AND subject = 'x'\" }]"),
            ("other", "on = [{ event = \"payment\" }]"),
        ])
        .await;
    let published = world.publish("e1", "order").await;
    world.ended(&published.runs[0]).await;
    let explanation = world.engine.explain(&app(), "e1", Some("/test")).await.unwrap();
    assert_eq!((explanation.event.version, explanation.current, explanation.others), (Some(1), 1, 1));
    assert_eq!(explanation.subscriptions.len(), 2);
    let takes = of(&explanation.subscriptions, "takes");
    assert_eq!((&takes.then, &takes.now, takes.name.as_str()), (&Then::Took, &Now::Takes, "order"));
    assert!(matches!(takes.deliveries[0].fate, Fate::Delivered { .. }));
    assert_eq!(takes.deliveries[0].run, published.runs[0]);
    let filters = of(&explanation.subscriptions, "filters");
    let Then::Filtered(why) = &filters.then else { panic!("{:?}", filters.then) };
    assert_eq!(why.clause, "subject = 'x'");
    assert_eq!((why.values[0].name.as_str(), &why.values[0].value), ("subject", &None));
    assert!(filters.deliveries.is_empty());
}

/// What is told of then does not change with what is deployed later; what is told of now does.
#[tokio::test(start_paused = true)]
async fn later_deployments_change_what_is_said_of_now_and_not_of_then() {
    let world = World::new().await;
    world
        .deploy(&[
            ("stays", "on = [{ event = \"order\" }]"),
            ("changes", "on = [{ event = \"order\", where = \"id = 'x'\" }]"),
            ("goes", "on = [{ event = \"order\" }]"),
        ])
        .await;
    let published = world.publish("e1", "order").await;
    for run in &published.runs {
        world.ended(run).await;
    }
    world
        .deploy(&[("stays", "on = [{ event = \"order\" }]"), ("changes", "on = [{ event = \"order\" }]")])
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world
        .deploy(&[
            ("stays", "on = [{ event = \"order\", where = \"id = 'y'\" }]"),
            ("changes", "on = [{ event = \"order\" }]"),
            ("comes", "on = [{ event = \"order\" }]"),
        ])
        .await;
    let all = explain(&world).await;
    let stays = of(&all, "stays");
    assert_eq!(stays.then, Then::Took);
    assert!(matches!(&stays.now, Now::Filtered(why) if why.clause == "id = 'y'"));
    let changes = of(&all, "changes");
    assert!(matches!(&changes.then, Then::Filtered(why) if why.clause == "id = 'x'"));
    assert_eq!(changes.now, Now::Takes);
    let goes = of(&all, "goes");
    assert_eq!((&goes.then, &goes.now), (&Then::Took, &Now::Gone));
    assert!(matches!(goes.deliveries[0].fate, Fate::Delivered { .. }));
    let comes = of(&all, "comes");
    assert!(matches!(comes.then, Then::NotThere { added: Some((3, _)) }), "{:?}", comes.then);
    assert_eq!(comes.now, Now::Takes);
}

#[tokio::test(start_paused = true)]
async fn a_failing_delivery_says_when_it_is_tried_next_and_why_it_was_given_up() {
    let world = World::new().await;
    let retry = "retry = { attempts = 2, backoff = \"fixed\", initial = \"1m\", max = \"1m\" }";
    world.deploy(&[("a", &format!("on = [{{ event = \"order\", {retry} }}]"))]).await;
    world
        .runtime
        .script("a", |_| async { Ended::Failed(Failure::new(FailureCode::FunctionError, "no money")) });
    let published = world.publish("e1", "order").await;
    let delivery = loop {
        let delivery = of(&explain(&world).await, "a").deliveries[0].clone();
        if matches!(delivery.fate, Fate::Retrying { .. }) {
            break delivery;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!((delivery.attempts, delivery.attempts_max), (1, 2));
    let Fate::Retrying { next_at, last_error } = delivery.fate else { unreachable!() };
    assert!(last_error.contains("no money"), "{last_error}");
    assert!(next_at > world.engine.now());
    world.ended(&published.runs[0]).await;
    let delivery = of(&explain(&world).await, "a").deliveries[0].clone();
    assert!(
        matches!(&delivery.fate, Fate::DeadLettered { reason, .. } if reason.contains("no money")),
        "{delivery:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_event_of_is_not_found() {
    let world = World::new().await;
    world.deploy(&[("a", "on = [{ event = \"order\" }]")]).await;
    world.publish("e1", "order").await;
    for (id, source) in [("e2", None), ("e1", Some("/other"))] {
        let error = world.engine.explain(&app(), id, source).await.unwrap_err();
        assert!(matches!(error, ExplainError::NoEvent { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_holds_up_a_delivery_is_named() {
    let world = World::new().await;
    world
        .deploy(&[
            ("paused", "on = [{ event = \"order\" }]"),
            ("ordered", "on = [{ event = \"order\", order = \"subject\" }]"),
        ])
        .await;
    world.runtime.script("ordered", |_| std::future::pending());
    let queue = SubscriptionName::from_text("order");
    world.engine.pause(&app(), &function("paused"), &queue).await.unwrap();
    let publish = async |id: &str| {
        let event = Event::new(id, "/test", "order").with_subject("one");
        world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap().remove(0)
    };
    let first = publish("e0").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    publish("e1").await;
    let all = explain(&world).await;
    let [paused] = &of(&all, "paused").deliveries[..] else { panic!("{all:?}") };
    assert!(matches!(paused.fate, Fate::Waiting { .. }));
    assert_eq!(paused.hold, Some(Hold::Paused));
    let [ordered] = &of(&all, "ordered").deliveries[..] else { panic!("{all:?}") };
    let Some(Hold::Behind { key, run }) = &ordered.hold else { panic!("{ordered:?}") };
    assert_eq!(key, "one");
    assert!(first.runs.contains(run), "{run} is of e0");
}
