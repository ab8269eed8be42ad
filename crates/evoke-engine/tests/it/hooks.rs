//! Hooks as targets of subscriptions: the schedule of their retries, what they are asked to wait, and an end for good.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::hook::HookUrl;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::secret::{SecretName, SecretValue};
use evoke_engine::call::CallError;
use evoke_engine::hook::TrialError;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::support::{World, app, bundle, function};

fn manifest(url: &str) -> String {
    format!(
        "evoke = \"1\"\n[app]\nname = \"shop\"\n[hooks.partner]\nurl = \"{url}\"\nsecret = \"KEY\"\n\
         [[hooks.partner.on]]\nevent = \"paid\"\n"
    )
}

const URL: &str = "https://partner.example.com/";

async fn world() -> World {
    let world = World::new().await;
    let value = SecretValue::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    world.engine.set_secret(&app(), &SecretName::new("KEY").unwrap(), &value).await.unwrap();
    world.engine.deploy(&app(), bundle(&manifest(URL))).await.unwrap();
    world
}

/// The endpoint fails each time like this. When it was asked.
fn failing(world: &World, code: FailureCode, retry_after_ms: Option<u64>) -> Arc<Mutex<Vec<Instant>>> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let asked = times.clone();
    world.runtime.script("partner", move |guest| {
        asked.lock().push(Instant::now());
        assert!(guest.spec.hook.is_some() && guest.spec.env[0].0 == "KEY");
        async move { Ended::Failed(Failure { retry_after_ms, ..Failure::new(code, "no") }) }
    });
    times
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_tried_by_the_schedule_of_standard_webhooks_and_then_given_up() {
    let world = world().await;
    let times = failing(&world, FailureCode::BadStatus, None);
    let run = world.publish("evt-1", "paid").await.runs.remove(0);
    // Three days and a little; to look every millisecond of them takes too long.
    tokio::time::sleep(Duration::from_secs(4 * 86_400)).await;
    let record = world.ended(&run).await;
    assert_eq!((record.state, record.attempts.len()), (RunState::DeadLettered, 10));
    let times = times.lock().clone();
    let pauses = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64());
    for (pause, expected) in
        pauses.zip([5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0])
    {
        assert!((0.9 * expected - 0.1..=1.1 * expected + 0.1).contains(&pause), "{pause} for {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_left_alone_for_as_long_as_it_asks() {
    let world = world().await;
    let times = failing(&world, FailureCode::BadStatus, Some(3_600_000));
    world.publish("evt-1", "paid").await;
    tokio::time::sleep(Duration::from_secs(3_590)).await;
    assert_eq!(times.lock().len(), 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(times.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_is_asked_no_more_until_its_hook_is_enabled_or_has_another_url() {
    let world = world().await;
    let times = failing(&world, FailureCode::Gone, None);
    let first = world.publish("evt-1", "paid").await.runs.remove(0);
    assert_eq!(world.ended(&first).await.state, RunState::DeadLettered);
    let second = world.publish("evt-2", "paid").await.runs.remove(0);
    let record = world.ended(&second).await;
    let Outcome::Rejected(failure) = &record.attempts[0].outcome else { panic!("{record:?}") };
    assert_eq!(failure.code, FailureCode::Disabled);
    assert!(failure.message.contains("evoke hooks enable partner"), "{failure}");
    assert_eq!(times.lock().len(), 1);

    let hooks = world.engine.hooks(&app()).await.unwrap().unwrap();
    assert_eq!(hooks[0].disabled.as_ref().unwrap().run, first);
    assert_eq!(hooks[0].recent.failed, 2);
    let other = "https://other.example.com/";
    world.engine.deploy(&app(), bundle(&manifest(other))).await.unwrap();
    let hooks = world.engine.hooks(&app()).await.unwrap().unwrap();
    assert_eq!((&hooks[0].hook.url, &hooks[0].disabled), (&HookUrl::parse(other).unwrap(), &None));

    world.engine.deploy(&app(), bundle(&manifest(URL))).await.unwrap();
    assert!(world.engine.enable_hook(&app(), &function("partner")).await.unwrap());
    assert!(!world.engine.enable_hook(&app(), &function("partner")).await.unwrap());
    world.runtime.script("partner", |_| async { Ended::Returned { events: Vec::new() } });
    world.engine.redrive(&app(), &[first.clone(), second.clone()]).await.unwrap();
    for run in [first, second] {
        while world.ended(&run).await.state != RunState::Completed {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_no_function_to_be_called_and_a_function_no_hook_to_be_tried() {
    let world = world().await;
    assert!(matches!(world.call("partner", "").await, Err(CallError::NotFound { .. })));
    let missing = world.engine.try_hook(&app(), &function("other")).await;
    assert!(matches!(missing, Err(TrialError::NotFound { .. })));
    world.runtime.script("partner", |guest| async move {
        assert_eq!(guest.event().unwrap().ty(), "evoke.hook.test");
        guest.respond(202, "thanks").await;
        Ended::Returned { events: Vec::new() }
    });
    let tried = world.engine.try_hook(&app(), &function("partner")).await.unwrap();
    assert_eq!((tried.outcome, tried.answer.as_str()), (Outcome::Completed { status: Some(202) }, "thanks"));
    assert_eq!(world.ended(&tried.run).await.state, RunState::Completed);
}
