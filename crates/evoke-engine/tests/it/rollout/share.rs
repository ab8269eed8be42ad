//! Which version has what.

use std::collections::BTreeSet;
use std::time::Duration;

use evoke_core::record::RunState;
use evoke_core::rollout::Portion;
use evoke_core::runtime::Ended;
use evoke_engine::call::CallError;
use evoke_engine::deploy::{DeployError, DeployOrder};
use evoke_engine::rollout::Wish;
use http::Method;

use super::{a, canary, settings, version};
use crate::support::{World, app, manifest};

#[tokio::test(start_paused = true)]
async fn a_canary_has_its_part_of_the_calls_and_the_current_version_the_rest() {
    let world = World::new().await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    let deployed = world.put(2, "", canary(20)).await.unwrap();
    assert_eq!((deployed.deployment.version, deployed.canary), (2, Some(Portion::percent(20))));
    assert_eq!(world.engine.app(&app()).unwrap().version, 1);
    let share = world.share_of("2", 2_000).await;
    assert!((0.17..0.23).contains(&share), "{share}");
    world.engine.weigh_canary(&app(), Portion::NONE).await.unwrap();
    assert_eq!(world.share_of("2", 100).await, 0.0);
    world.engine.weigh_canary(&app(), Portion::ALL).await.unwrap();
    assert_eq!(world.share_of("2", 100).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_canary_of_an_app_that_was_never_deployed() {
    let world = World::new().await;
    let refused = world.put(1, "", canary(5)).await.unwrap_err();
    assert!(matches!(refused, DeployError::NothingBeside(_)), "{refused}");
    assert!(world.engine.apps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_has_a_key_meets_the_same_version_and_stays_when_the_canary_grows() {
    let world = World::new().await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(10)).await.unwrap();
    let mut before = BTreeSet::new();
    for key in 0..300 {
        let first = world.asked_by(&format!("user-{key}")).await;
        assert_eq!(world.asked_by(&format!("user-{key}")).await, first);
        if first == "2" {
            before.insert(key);
        }
    }
    assert!((15..60).contains(&before.len()), "{}", before.len());
    world.engine.weigh_canary(&app(), Portion::percent(50)).await.unwrap();
    for key in before {
        assert_eq!(world.asked_by(&format!("user-{key}")).await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_asked_for_answers_whatever_its_part_and_another_is_refused() {
    let world = World::new().await;
    world.tells_its_version();
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(0)).await.unwrap();
    let call = async |version| {
        let mut call = world.request("a", "");
        call.from.wish = Wish::Version(version);
        let mut answered = world.engine.call(call).await?;
        let body = std::mem::take(&mut answered.response.body).collect(1 << 20).await.unwrap();
        Ok::<_, CallError>(String::from_utf8_lossy(&body).into_owned())
    };
    assert_eq!(call(2).await.unwrap(), "2");
    assert_eq!(call(1).await.unwrap(), "1");
    let refused = call(3).await.unwrap_err().to_string();
    assert_eq!(refused, "version 3 of app shop does no work; version 1 or version 2 can be asked for");
}

#[tokio::test(start_paused = true)]
async fn what_a_call_leads_to_stays_with_its_version() {
    let world = World::new().await;
    let functions = |v| {
        let (a, b) = (settings(v, "emits = [\"went\"]"), settings(v, ""));
        manifest(&[("a", &a), ("b", &b), ("c", &settings(v, "on = [{ event = \"went\" }]"))])
    };
    world.put_manifest(&functions(1), DeployOrder::default()).await.unwrap();
    world.put_manifest(&functions(2), canary(30)).await.unwrap();
    world.runtime.script("a", |guest| async move {
        let inner = guest.ask(Method::POST, "/v1/functions/b", &[], "").await;
        let inner = String::from_utf8_lossy(&inner.body).into_owned();
        let own = version(&guest.spec.env);
        guest.publish("went", own.clone().into()).await;
        guest.respond(200, &format!("{own}{inner}")).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("b", |guest| async move {
        guest.respond(200, &version(&guest.spec.env)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.runtime.script("c", |guest| async move {
        let from = guest.event().and_then(|event| event.data().cloned());
        let same = format!("{from:?}").contains(&version(&guest.spec.env));
        assert!(same, "{from:?} came to {}", version(&guest.spec.env));
        guest.agree().await
    });
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        seen.insert(world.call("a", "").await.unwrap().1);
    }
    // Also where it was not chosen by the start of the chain, but by who sent it.
    for key in 0..100 {
        seen.insert(world.asked_by(&format!("user-{key}")).await);
    }
    assert_eq!(seen, BTreeSet::from(["11".to_owned(), "22".to_owned()]));
    for run in world.runs().await {
        assert_eq!(world.ended(&run.id).await.state, RunState::Completed, "{run:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_shared_too_and_what_failed_with_the_canary_is_done_by_the_current_version() {
    let world = World::new().await;
    let on = "on = [{ event = \"e\", retry = { attempts = 2, initial = \"1s\" } }]";
    world.runtime.script("a", |guest| async move {
        if version(&guest.spec.env) == "2" {
            let failure =
                evoke_core::outcome::Failure::new(evoke_core::outcome::FailureCode::FunctionError, "no");
            return Ended::Failed(failure);
        }
        guest.agree().await
    });
    let first = world.put(1, on, DeployOrder::default()).await.unwrap();
    let old = first.deployment.revisions[&a()].clone();
    // So that it stays, however often it fails.
    let never = manifest(&[("a", &settings(2, on))])
        .replace("name = \"shop\"\n", "name = \"shop\"\nrollback = { automatic = false }\n");
    let second = world.put_manifest(&never, canary(40)).await.unwrap();
    let new = second.deployment.revisions[&a()].clone();
    let mut failed = 0;
    for nth in 0..100 {
        let run = world.publish(&format!("e{nth}"), "e").await.runs.remove(0);
        let run = world.ended(&run).await;
        assert_eq!(run.state, RunState::Completed);
        let by: Vec<_> = run.attempts.iter().map(|attempt| attempt.revision.clone().unwrap()).collect();
        failed += usize::from(by == [new.clone(), old.clone()]);
        assert!(by == [old.clone()] || by.len() == 2, "{by:?}");
    }
    assert!((25..55).contains(&failed), "{failed}");
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_versions_together_have_no_more_attempts_at_once_than_one() {
    let world = World::new().await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        guest.respond(200, "").await;
        Ended::Returned { events: Vec::new() }
    });
    world.put(1, "concurrency = 1", DeployOrder::default()).await.unwrap();
    world.put(2, "concurrency = 1", canary(50)).await.unwrap();
    let started = tokio::time::Instant::now();
    let calls = (0..20).map(|_| world.call("a", ""));
    for answered in futures_util::future::join_all(calls).await {
        answered.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_canary_finishes_there_when_it_is_withdrawn_and_the_next_does_not() {
    let world = World::new().await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.respond(200, &version(&guest.spec.env)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.put(1, "", DeployOrder::default()).await.unwrap();
    world.put(2, "", canary(100)).await.unwrap();
    let (before, done) = tokio::join!(world.call("a", ""), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.engine.withdraw_canary(&app(), Some(2)).await.unwrap()
    });
    assert_eq!(before.unwrap().1, "2");
    assert_eq!((done.version, done.current), (2, 1));
    assert_eq!(world.call("a", "").await.unwrap().1, "1");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.runtime.alive(), 1, "an instance of the canary is left");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_canary_that_is_withdrawn_gets_the_current_version() {
    let world = World::new().await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.respond(200, &version(&guest.spec.env)).await;
        Ended::Returned { events: Vec::new() }
    });
    world.put(1, "concurrency = 1", DeployOrder::default()).await.unwrap();
    world.put(2, "concurrency = 1", canary(100)).await.unwrap();
    let (first, second, ()) = tokio::join!(world.call("a", ""), world.call("a", ""), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.engine.withdraw_canary(&app(), None).await.unwrap();
    });
    assert_eq!((first.unwrap().1, second.unwrap().1), ("2".to_owned(), "1".to_owned()));
}
