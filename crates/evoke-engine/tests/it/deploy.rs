use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_engine::deploy::DeployError;

use crate::support::{World, app, bundle, function, manifest};

#[tokio::test(start_paused = true)]
async fn a_function_that_does_not_load_changes_nothing() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.break_start("b", "SyntaxError: b.js:3");
    let next = bundle(&manifest(&[("a", ""), ("b", "")]));
    let Err(DeployError::Functions(failures)) = world.engine.deploy(&app(), next).await else {
        panic!("deployed")
    };
    assert_eq!(failures[0].0, function("b"));
    assert_eq!(world.engine.app(&app()).unwrap().version, 1);
    world.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_finishes_on_its_revision_and_the_next_gets_the_new_one() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    world.runtime.script("a", |guest| async move {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        guest.respond(200, guest.spec.revision.as_str()).await;
        evoke_core::runtime::Ended::Returned { events: Vec::new() }
    });
    let old = world.engine.app(&app()).unwrap().revisions[&function("a")].clone();
    let (before, ()) = tokio::join!(world.call("a", ""), async {
        tokio::task::yield_now().await;
        world.deploy(&[("a", "timeout = \"9s\"")]).await;
    });
    assert_eq!(before.unwrap().1, old.as_str());
    let new = world.engine.app(&app()).unwrap().revisions[&function("a")].clone();
    assert_ne!(old, new);
    assert_eq!(world.call("a", "").await.unwrap().1, new.as_str());
    assert_eq!(world.runtime.alive(), 1);
    let kept = world.engine.revisions(&app(), &function("a")).await.unwrap();
    assert_eq!(kept.iter().map(|revision| revision.id.clone()).collect::<Vec<_>>(), [new, old]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deployed_is_there_after_a_restart() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let again = World::with(world.store.clone(), evoke_core::limits::Limits::default()).await;
    again.call("a", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_route_that_another_app_has_is_refused() {
    let world = World::new().await;
    let with_route = |name: &str, path: &str| {
        let text = manifest(&[("a", "")]).replace("\"shop\"", &format!("{name:?}"));
        bundle(&format!("{text}[[routes]]\npath = {path:?}\nmethods = [\"GET\"]\nto = \"a\"\n"))
    };
    let other = AppName::new("other").unwrap();
    world.engine.deploy(&app(), with_route("shop", "/orders/{id}")).await.unwrap();
    let error = world.engine.deploy(&other, with_route("other", "/orders/{number}")).await.unwrap_err();
    assert_eq!(error.to_string(), "route GET /orders/{number} is already taken by app shop");
    world.engine.deploy(&other, with_route("other", "/other")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn archives_that_are_no_app_are_refused_with_what_is_wrong() {
    let world = World::new().await;
    let deploy =
        async |bytes: Vec<u8>| world.engine.deploy(&app(), bytes.into()).await.unwrap_err().to_string();
    assert_eq!(deploy(Vec::new()).await, "bundle: it has no evoke.toml at its top");
    assert!(deploy(vec![7; 1024]).await.starts_with("bundle: it is not a tar archive"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "secret", "/etc/shadow").unwrap();
    assert!(deploy(tar.into_inner().unwrap()).await.contains("only files and folders are taken"));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_busy_revision_gets_the_next_one_when_it_is_there() {
    let world = World::new().await;
    let settings = "concurrency = 1\non = [{ event = \"e\" }]";
    world.deploy(&[("a", &format!("timeout = \"10m\"\n{settings}"))]).await;
    world.runtime.script("a", |_| std::future::pending());
    world.publish("e1", "e").await;
    while world.runtime.alive() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waiting = world.publish("e2", "e").await.runs.remove(0);
    let ((call, run), ()) =
        tokio::join!(async { tokio::join!(world.call("a", ""), world.ended(&waiting)) }, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.runtime.script("a", |guest| async move {
                guest.respond(200, guest.spec.revision.as_str()).await;
                Ended::Returned { events: Vec::new() }
            });
            world.deploy(&[("a", &format!("timeout = \"9m\"\n{settings}"))]).await;
        });
    let new = world.engine.app(&app()).unwrap().revisions[&function("a")].clone();
    assert_eq!(call.unwrap().1, new.as_str());
    assert_eq!((run.state, run.attempts[0].revision.as_ref()), (RunState::Completed, Some(&new)));
}

#[tokio::test(start_paused = true)]
async fn of_two_apps_that_take_the_same_route_at_once_one_is_refused() {
    let world = World::new().await;
    world.runtime.start_takes(Duration::from_millis(10));
    let deploy = async |name: &str| {
        let text = manifest(&[("a", "")]).replace("\"shop\"", &format!("{name:?}"));
        let text = format!("{text}[[routes]]\npath = \"/same\"\nto = \"a\"\n");
        world.engine.deploy(&AppName::new(name).unwrap(), bundle(&text)).await
    };
    let (one, other) = tokio::join!(deploy("one"), deploy("other"));
    assert!(one.is_ok());
    assert!(matches!(other, Err(DeployError::RouteTaken { .. })), "{other:?}");
    assert_eq!(world.engine.apps().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn versions_count_what_the_store_has_also_when_another_node_deployed_it() {
    let first = World::new().await;
    let second = World::with(first.store.clone(), evoke_core::limits::Limits::default()).await;
    first.deploy(&[("a", "")]).await;
    // The second node has not had the time to hear of it.
    second.deploy(&[("a", "timeout = \"9s\""), ("b", "")]).await;
    assert_eq!(second.engine.app(&app()).unwrap().version, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first.engine.app(&app()).unwrap().version, 2);
    assert_eq!(first.engine.revisions(&app(), &function("a")).await.unwrap().len(), 2);
    first.call("b", "").await.unwrap();
}
