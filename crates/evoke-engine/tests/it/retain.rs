//! What is kept, and for how long.

use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_engine::explain::{ExplainError, Fate, Then};

use crate::support::{World, app, bundle, manifest};

const ARCHIVE: &str = r#"
[archive]
keep = "2h"
[[archive.types]]
type = "page.*"
keep = "1m"
[[archive.types]]
type = "beat"
keep = "1m"
even_if_needed = true
"#;

async fn world() -> World {
    let world = World::new().await;
    let late = "retry = { attempts = 9, backoff = \"fixed\", initial = \"1d\", max = \"1d\" }";
    let text = manifest(&[
        ("sees", "on = [{ event = \"page.*\" }, { event = \"order\" }]"),
        ("picks", "on = [{ event = \"page.*\", pattern = { data = { id = [\"other\"] } } }]"),
        ("fails", &format!("on = [{{ event = \"beat\", {late} }}, {{ event = \"page.failed\", {late} }}]")),
    ]);
    let fails = || Ended::Failed(Failure::new(FailureCode::FunctionError, "no"));
    world.runtime.script("fails", move |_| async move { fails() });
    world.engine.deploy(&app(), bundle(&(text + ARCHIVE))).await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn events_are_kept_as_the_manifest_says_of_their_type() {
    let world = world().await;
    let view = world.publish("view", "page.view").await;
    let order = world.publish("order", "order").await;
    for run in view.runs.iter().chain(&order.runs) {
        world.ended(run).await;
    }
    tokio::time::sleep(Duration::from_secs(5 * 60)).await;
    let explained = world.engine.explain(&app(), "view", None).await.unwrap();
    assert!(explained.event.expired_at.is_some() && explained.event.event.data().is_none());
    let of = |name: &str| explained.subscriptions.iter().find(|one| one.function.as_str() == name).unwrap();
    assert!(matches!(of("sees").deliveries[0].fate, Fate::Delivered { .. }));
    assert_eq!(of("picks").then, Then::Unknown, "what it saw is gone");
    assert!(world.engine.event(&app(), "order", None).await.unwrap().expired_at.is_none());
    assert!(world.publish("view", "page.view").await.duplicate);

    tokio::time::sleep(Duration::from_secs(25 * 3_600)).await;
    let gone = world.engine.explain(&app(), "view", None).await;
    assert!(matches!(gone, Err(ExplainError::NoEvent { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_a_subscription_still_needs_is_kept_unless_the_manifest_says_otherwise() {
    let world = world().await;
    let kept = world.publish("kept", "page.failed").await;
    let beat = world.publish("beat", "beat").await;
    tokio::time::sleep(Duration::from_secs(5 * 60)).await;
    let kept_now = world.engine.event(&app(), "kept", None).await.unwrap();
    assert!(kept_now.expired_at.is_none() && kept_now.event.data().is_some());
    assert_eq!(kept.runs.len(), 2);

    let run = world.ended(&beat.runs[0]).await;
    assert_eq!(run.state, RunState::Failed);
    let explained = world.engine.explain(&app(), "beat", None).await.unwrap();
    let Fate::Dropped { reason, .. } = &explained.subscriptions[0].deliveries[0].fate else {
        panic!("{:?}", explained.subscriptions[0].deliveries)
    };
    assert!(reason.contains("no longer kept"), "{reason}");
}
