//! What is taken back by itself, and what is not.

use std::time::Duration;

use evoke_core::lifecycle::{APP_ROLLED_BACK, CANARY_WITHDRAWN};
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use evoke_core::store::EventQuery;
use evoke_engine::deploy::DeployOrder;
use evoke_engine::rollout::State;

use super::{canary, settings, version};
use crate::support::{World, app, manifest};

const WATCHED: &str = "rollback = { errors = \"5%\", within = \"1m\", min = 20 }";

/// Functions `a`, with these lines in `[app]`, and `told`, which gets what the platform says of versions.
fn with(v: u32, lines: &str) -> String {
    let on = "on = [{ event = \"evoke.canary.withdrawn\" }, { event = \"evoke.app.rolled_back\" }]";
    let told = settings(v, on);
    manifest(&[("a", &settings(v, "")), ("told", &told)])
        .replace("name = \"shop\"", &format!("name = \"shop\"\n{lines}"))
}

impl World {
    /// From now on `a` fails in the versions with these `V`, with this status; 0: it throws.
    fn breaks(&self, bad: &'static [&'static str], status: u16) {
        self.runtime.script("a", move |guest| async move {
            let v = version(&guest.spec.env);
            match (bad.contains(&&*v), status) {
                (true, 0) => return Ended::Failed(Failure::new(FailureCode::FunctionError, "no")),
                (true, status) => guest.respond(status, &v).await,
                (false, _) => guest.respond(200, &v).await,
            }
            Ended::Returned { events: Vec::new() }
        });
    }

    async fn calls(&self, count: u32) {
        for _ in 0..count {
            drop(self.call("a", "").await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    fn current(&self) -> (u64, Option<u64>) {
        let app = self.engine.app(&app()).unwrap();
        (app.version, app.back_to)
    }

    /// Why a version was taken back by itself.
    async fn reason(&self, version: u64) -> String {
        let versions = self.engine.versions(&app()).await.unwrap();
        let found = versions.into_iter().find(|found| found.deployment.version == version).unwrap();
        match found.state {
            State::Withdrawn(why) if why.automatic => why.reason,
            other => panic!("{other:?}"),
        }
    }

    async fn told_of(&self, ty: &str) -> Vec<serde_json::Value> {
        let query = EventQuery { limit: 1_000, ..EventQuery::default() };
        let events = self.store.events(&query).await.unwrap();
        let of = events.into_iter().filter(|stored| stored.event.ty() == ty);
        let data = of.map(|stored| match stored.event.data() {
            Some(evoke_core::event::Data::Json(data)) => data.clone(),
            other => panic!("{other:?}"),
        });
        data.collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_fails_withdraws_itself_and_says_so() {
    let world = World::new().await;
    world.breaks(&["2"], 500);
    world.put_manifest(&with(1, ""), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, ""), canary(20)).await.unwrap();
    world.calls(300).await;
    assert_eq!((world.engine.canary(&app()), world.current()), (None, (1, None)));
    assert!(world.reason(2).await.starts_with("function a failed in 20 of 20 attempts (100.0%)"));
    let told = world.told_of(CANARY_WITHDRAWN).await;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["version"], &told[0]["automatic"]), (&2.into(), &true.into()));
    assert_eq!(world.share_of("1", 50).await, 1.0);
    // Whoever tries the same files again is told.
    let again = world.put_manifest(&with(2, ""), canary(20)).await.unwrap();
    assert!(again.warnings[0].starts_with("these files were version 2, which was taken back by itself: "));
}

#[tokio::test(start_paused = true)]
async fn what_clients_do_wrong_takes_nothing_back() {
    let world = World::new().await;
    world.breaks(&["2"], 404);
    world.put_manifest(&with(1, ""), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, ""), canary(50)).await.unwrap();
    world.calls(200).await;
    assert!(world.engine.canary(&app()).is_some());
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_before_the_answer_take_nothing_back() {
    let world = World::new().await;
    world.runtime.script("a", |guest| async move {
        if version(&guest.spec.env) == "2" {
            std::future::pending::<()>().await;
        }
        guest.agree().await
    });
    world.put_manifest(&with(1, ""), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, ""), canary(50)).await.unwrap();
    let mut left = 0;
    for _ in 0..100 {
        left += u32::from(tokio::time::timeout(Duration::from_secs(1), world.call("a", "")).await.is_err());
    }
    assert!(left > 20, "{left}");
    assert!(world.engine.canary(&app()).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_both_versions_takes_nothing_back() {
    let world = World::new().await;
    world.breaks(&["1", "2"], 503);
    world.put_manifest(&with(1, ""), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, ""), canary(50)).await.unwrap();
    // The first few of each side alone say nothing.
    world.calls(300).await;
    let canary = world.engine.canary(&app()).unwrap();
    let (new, old) = canary.functions[&super::a()];
    assert!(new.attempts > 100 && old.attempts > 100 && new.errors == new.attempts);
}

#[tokio::test(start_paused = true)]
async fn who_says_so_keeps_a_canary_whatever_it_does() {
    let world = World::new().await;
    world.breaks(&["2"], 0);
    let never = "rollback = { automatic = false }";
    world.put_manifest(&with(1, never), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, never), canary(50)).await.unwrap();
    world.calls(200).await;
    assert!(world.engine.canary(&app()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_fails_within_its_time_is_rolled_back_once_and_not_tried_again() {
    let world = World::new().await;
    world.breaks(&["2"], 0);
    world.put_manifest(&with(1, WATCHED), DeployOrder::default()).await.unwrap();
    world.calls(100).await;
    let deployed = world.put_manifest(&with(2, WATCHED), DeployOrder::default()).await.unwrap();
    assert!(deployed.watched_until.is_some());
    world.calls(100).await;
    assert_eq!(world.current(), (3, Some(1)));
    assert!(world.reason(2).await.ends_with("; with version 1 it was 0 of 100"));
    let told = world.told_of(APP_ROLLED_BACK).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["version"], &told[0]["from"], &told[0]["back_to"], &told[0]["automatic"]),
        (&3.into(), &2.into(), &1.into(), &true.into())
    );
    // What came back is not watched: there is nothing to go back to that was better.
    world.breaks(&["1", "2"], 0);
    world.calls(200).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.calls(100).await;
    assert_eq!(world.current(), (3, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_deploy_is_watched_for_its_time_only_and_not_where_somebody_says_so() {
    let world = World::new().await;
    world.breaks(&["2", "3"], 0);
    world.put_manifest(&with(1, WATCHED), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, WATCHED), DeployOrder { unwatched: true, canary: None }).await.unwrap();
    world.calls(100).await;
    assert_eq!(world.current(), (2, None));
    world.breaks(&["3"], 0);
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.put_manifest(&with(4, WATCHED), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(3, WATCHED), DeployOrder::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.calls(100).await;
    assert_eq!(world.current(), (4, None));
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_is_not_watched_stays_without_a_rule() {
    let world = World::new().await;
    world.breaks(&["2"], 0);
    world.put_manifest(&with(1, ""), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, ""), DeployOrder::default()).await.unwrap();
    world.calls(100).await;
    assert_eq!(world.current(), (2, None));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_starts_again_goes_on_watching_and_knows_how_it_was_before() {
    let world = World::new().await;
    world.breaks(&["1", "2"], 0);
    world.put_manifest(&with(1, WATCHED), DeployOrder::default()).await.unwrap();
    world.calls(100).await;
    world.put_manifest(&with(2, WATCHED), DeployOrder::default()).await.unwrap();
    let again = World::with(world.store.clone(), Limits::default()).await;
    again.breaks(&["1", "2"], 0);
    // As bad as before.
    again.calls(100).await;
    assert_eq!(again.current(), (2, None));
    let store = World::new().await;
    store.breaks(&["2"], 0);
    store.put_manifest(&with(1, WATCHED), DeployOrder::default()).await.unwrap();
    store.calls(100).await;
    store.put_manifest(&with(2, WATCHED), DeployOrder::default()).await.unwrap();
    let again = World::with(store.store.clone(), Limits::default()).await;
    again.breaks(&["2"], 0);
    again.calls(100).await;
    assert_eq!(again.current(), (3, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_promoted_canary_is_watched_like_a_deploy() {
    let world = World::new().await;
    world.breaks(&[], 0);
    world.put_manifest(&with(1, WATCHED), DeployOrder::default()).await.unwrap();
    world.put_manifest(&with(2, WATCHED), canary(10)).await.unwrap();
    world.calls(100).await;
    world.engine.promote_canary(&app(), None).await.unwrap();
    world.breaks(&["2"], 500);
    world.calls(200).await;
    assert_eq!(world.current(), (3, Some(1)));
}
