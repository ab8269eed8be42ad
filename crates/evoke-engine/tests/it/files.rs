//! The files that instances are started from: made at a deploy, and again after a restart if they are gone.

use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::runtime::Progress;
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_engine::call::CallError;
use evoke_engine::deploy::{DeployError, DeployOrder};

use crate::support::{World, app, bundle, manifest};

/// The engine of another life on the same store; its runtime is made ready before it starts.
async fn restarted(world: &World, runtime: ScriptedRuntime) -> World {
    World::on(world.store.clone(), Limits::default(), runtime, world.clock.clone(), 2).await
}

async fn failure(world: &World) -> String {
    match world.call("a", "").await {
        Err(CallError::Failed { failure, .. }) => failure.message,
        other => panic!("{:?}", other.map(|(_, body)| body)),
    }
}

#[tokio::test(start_paused = true)]
async fn packages_that_cannot_be_installed_leave_what_runs() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.break_prepare(Some("no such package"));
    let next = bundle(&manifest(&[("a", "timeout = \"9s\"")]));
    let error = world.engine.deploy(&app(), next).await.unwrap_err();
    assert!(matches!(error, DeployError::Prepare(_)), "{error}");
    assert_eq!(error.to_string(), "requirements.txt: no such package");
    assert_eq!(world.engine.app(&app()).unwrap().version, 1);
    world.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deploy_tells_what_it_does() {
    let world = World::new().await;
    world.runtime.prepare_takes(Duration::from_secs(7));
    let (progress, mut lines) = Progress::channel();
    let (files, order) = (bundle(&manifest(&[("a", ""), ("b", "")])), DeployOrder::default());
    world.engine.deploy_telling(&app(), files, order, progress).await.unwrap();
    let lines: Vec<String> = std::iter::from_fn(|| lines.try_recv().ok()).collect();
    assert_eq!(lines, ["preparing takes 7 s"]);
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_nobody_waits_for_stops() {
    let world = World::new().await;
    world.runtime.prepare_takes(Duration::from_secs(3_600));
    let app = app();
    let deploy = world.engine.deploy(&app, bundle(&manifest(&[("a", "")])));
    assert!(tokio::time::timeout(Duration::from_secs(1), deploy).await.is_err());
    assert_eq!(world.runtime.preparing(), 0);
    assert!(world.engine.app(&app).is_none());
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_made_after_a_restart_are_told_and_tried_again() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let runtime = ScriptedRuntime::new();
    runtime.break_prepare(Some("the registry is out of reach"));
    let again = restarted(&world, runtime).await;
    assert_eq!(
        failure(&again).await,
        "the files of app shop could not be made ready: requirements.txt: the registry is out of reach"
    );
    again.runtime.break_prepare(None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    again.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deploy_of_the_same_files_mends_those_of_a_restart() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let runtime = ScriptedRuntime::new();
    runtime.break_prepare(Some("the registry is out of reach"));
    let again = restarted(&world, runtime).await;
    failure(&again).await;
    again.runtime.break_prepare(None);
    again.deploy(&[("a", "")]).await;
    again.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_that_take_long_after_a_restart_hold_up_only_who_wants_to_start_from_them() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let runtime = ScriptedRuntime::new();
    runtime.prepare_takes(Duration::from_secs(8));
    let before = tokio::time::Instant::now();
    let again = restarted(&world, runtime).await;
    assert!(before.elapsed() < Duration::from_secs(1), "the start waited {:?}", before.elapsed());
    // Within the time that a call may wait for an instance.
    again.call("a", "").await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_ends_does_not_wait_for_files() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let runtime = ScriptedRuntime::new();
    runtime.prepare_takes(Duration::from_secs(3_600));
    let again = restarted(&world, runtime).await;
    assert_eq!(again.runtime.preparing(), 1);
    let before = tokio::time::Instant::now();
    again.engine.drain(Duration::from_secs(10)).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "the end waited {:?}", before.elapsed());
    assert_eq!(again.runtime.preparing(), 0);
}
