//! Webhooks, beacons and the secrets they need.

use evoke_engine::Arrival;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::limits::Limits;
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Clock;
use evoke_core::webhook::{Refused, standard};
use evoke_engine::deploy::DeployError;
use evoke_engine::report::ReportError;
use http::HeaderMap;

use crate::support::{World, app, bundle, function, manifest};

const WEBHOOK: &str =
    "[[webhooks]]\npath = \"/hooks/pay\"\nprovider = \"standard\"\nsecret = [\"NEW\", \"OLD\"]\n";

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(text).unwrap()
}

async fn world() -> World {
    deployed(World::new().await).await
}

async fn deployed(world: World) -> World {
    world.engine.set_secret(&app(), &name("OLD"), &value("whsec_b2xk")).await.unwrap();
    let text = manifest(&[("paid", "[[functions.paid.on]]\nevent = \"invoice.paid\"")]) + WEBHOOK;
    world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    world
}

fn signed(world: &World, secret: &str, id: &str, body: &str) -> HeaderMap {
    let seconds = world.clock.now().as_millis() / 1_000;
    let signature = standard::sign(&[value(secret)], id, seconds, body.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().unwrap());
    headers.insert("webhook-timestamp", seconds.into());
    headers.insert("webhook-signature", signature.parse().unwrap());
    headers
}

#[tokio::test(start_paused = true)]
async fn a_signed_report_starts_its_subscribers_once_however_often_it_is_delivered() {
    let world = world().await;
    let body = r#"{"type":"invoice.paid","data":{"amount":7}}"#;
    let report = async |id: &str| {
        let headers = signed(&world, "whsec_b2xk", id, body);
        world
            .engine
            .report(&app(), 0, &headers, Bytes::from(body), Arrival::default())
            .await
            .unwrap()
            .remove(0)
    };
    let first = report("msg_1").await;
    assert_eq!((first.id.as_str(), first.source.as_str()), ("msg_1", "/webhooks/hooks/pay"));
    assert_eq!(first.runs.len(), 1);
    let again = report("msg_1").await;
    assert!(again.duplicate);
    assert_eq!(again.runs, first.runs);
    assert!(!report("msg_2").await.duplicate);
    world.ended(&first.runs[0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_report_that_was_taken_before_a_restart_is_known_after_it_and_too_old_after_five_minutes() {
    let store = Arc::new(MemoryStore::new());
    let first = deployed(World::with(store.clone(), Limits::default()).await).await;
    let body = r#"{"type":"invoice.paid","data":{"amount":7}}"#;
    let headers = signed(&first, "whsec_b2xk", "msg_1", body);
    let taken = first
        .engine
        .report(&app(), 0, &headers, Bytes::from(body), Arrival::default())
        .await
        .unwrap()
        .remove(0);
    first.ended(&taken.runs[0]).await;
    first.engine.drain(Duration::from_secs(1)).await.unwrap();
    store.reopen();
    let clock = first.clock.clone();
    let second = World::on(store, Limits::default(), ScriptedRuntime::new(), clock, 2).await;
    let again = second
        .engine
        .report(&app(), 0, &headers, Bytes::from(body), Arrival::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!((again.duplicate, again.runs), (true, taken.runs));
    tokio::time::sleep(Duration::from_secs(5 * 60 + 1)).await;
    let replayed = second.engine.report(&app(), 0, &headers, Bytes::from(body), Arrival::default()).await;
    assert!(matches!(replayed, Err(ReportError::Refused(_))), "{replayed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_whose_report_may_have_been_kept_is_told_so() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let world = World::with(store.clone(), Limits::default()).await;
    let text = manifest(&[("seen", "on = [{ event = \"page_click\" }]")])
        + "[[beacons]]\npath = \"/b\"\nevent = \"page_click\"\norigins = [\"https://shop.example\"]\n";
    world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    let beacon = world.engine.beacon(&app(), 0).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.fail_next(Fault::After);
    let answer = world.engine.report_page(&app(), &beacon, None, Bytes::from("{}"), Arrival::default()).await;
    let Err(ReportError::Unknown { id }) = answer else { panic!("{answer:?}") };
    assert!(world.engine.event(&app(), &id, None).await.is_ok(), "it is there under the id it got");
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_replaced_without_a_gap() {
    let world = world().await;
    let body = r#"{"type":"invoice.paid"}"#;
    let report = async |secret: &str, id: &str| {
        let headers = signed(&world, secret, id, body);
        world.engine.report(&app(), 0, &headers, Bytes::from(body), Arrival::default()).await
    };
    assert!(matches!(report("whsec_bmV3", "1").await, Err(ReportError::Refused(Refused::Signature))));
    world.engine.set_secret(&app(), &name("NEW"), &value("whsec_bmV3")).await.unwrap();
    report("whsec_bmV3", "1").await.unwrap();
    report("whsec_b2xk", "2").await.unwrap();
    assert!(world.engine.remove_secret(&app(), &name("OLD")).await.unwrap());
    assert!(matches!(report("whsec_b2xk", "3").await, Err(ReportError::Refused(Refused::Signature))));
    report("whsec_bmV3", "4").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deployed_that_lacks_a_secret_and_the_names_are_told() {
    let world = World::new().await;
    let text = manifest(&[("mail", "secrets = [\"SMTP_PASSWORD\"]")]) + WEBHOOK;
    let refused = world.engine.deploy(&app(), bundle(&text)).await.unwrap_err();
    assert!(matches!(&refused, DeployError::Secrets(names) if names.len() == 3), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        "secrets NEW, OLD, SMTP_PASSWORD not set; set each with `evoke secrets set NAME`"
    );
}

#[tokio::test(start_paused = true)]
async fn functions_get_their_secrets_and_fresh_instances_when_one_changes() {
    let world = World::new().await;
    world.engine.set_secret(&app(), &name("KEY"), &value("one")).await.unwrap();
    world.deploy(&[("uses", "secrets = [\"KEY\"]\nenv = { A = \"b\" }"), ("does-not", "")]).await;
    for name in ["uses", "does-not"] {
        world.runtime.script(name, |guest| async move {
            let env: Vec<String> =
                guest.spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            guest.respond(200, &env.join(" ")).await;
            evoke_core::runtime::Ended::Returned { events: Vec::new() }
        });
    }
    let env = async |name: &str| world.call(name, "").await.unwrap().1;
    assert_eq!(env("uses").await, "A=b KEY=one");
    assert_eq!(env("does-not").await, "");
    let idle = world.engine.instances(&app(), &function("does-not"));
    world.engine.set_secret(&app(), &name("KEY"), &value("two")).await.unwrap();
    assert_eq!(env("uses").await, "A=b KEY=two");
    assert_eq!(
        world.engine.instances(&app(), &function("does-not")),
        idle,
        "who does not use it keeps its own"
    );
    assert_eq!(world.engine.secrets(&app()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_store_never_has_a_secret_in_the_clear() {
    let world = World::new().await;
    world.engine.set_secret(&app(), &name("KEY"), &value("hunter2hunter2")).await.unwrap();
    let space = evoke_core::store::Space::secrets();
    let entry = world.store.get(&space, "shop/KEY", world.clock.now()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&entry.value.bytes).into_owned();
    assert!(text.contains("sealed") && !text.contains("hunter2"), "{text}");
}
