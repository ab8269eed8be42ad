//! Answers that a decorator keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::id::{AppName, VariantName};
use evoke_core::rollout::Portion;
use evoke_core::runtime::Progress;
use evoke_core::testing::runtime::Guest;
use evoke_engine::deploy::DeployOrder;
use http::{Method, StatusCode};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::support::{Reply, World, bundle, done, manifest, request_of, respond, send};

/// What the function behind the cache answers with, and how often it was asked.
#[derive(Default)]
struct Origin {
    asked: AtomicUsize,
    headers: Mutex<Vec<(&'static str, String)>>,
    /// Header fields of the last request.
    seen: Mutex<http::HeaderMap>,
    etag: Mutex<Option<&'static str>>,
    /// Holds back answers until it is told, if there is one.
    gate: Mutex<Option<Arc<Notify>>>,
    bytes: AtomicUsize,
}

impl Origin {
    fn says(&self, cache_control: &str) {
        *self.headers.lock() = vec![("cache-control", cache_control.to_owned())];
    }

    fn adds(&self, name: &'static str, value: &str) {
        self.headers.lock().push((name, value.to_owned()));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// App `shop` with the function `origin` behind a cache.
async fn world(rule: &str) -> (World, Arc<Origin>) {
    let world = World::new().await;
    let origin = Arc::new(Origin::default());
    origin.says("max-age=60");
    let script = origin.clone();
    world.runtime.script("origin", move |mut guest: Guest| {
        let origin = script.clone();
        async move {
            let number = origin.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let request = request_of(&mut guest);
            let sent = request.headers.get("if-none-match").cloned();
            *origin.seen.lock() = request.headers.clone();
            let gate = origin.gate.lock().clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            let fields = origin.headers.lock().clone();
            let etag = *origin.etag.lock();
            let mut fields: Vec<(&'static str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            fields.extend(etag.map(|etag| ("etag", etag)));
            if sent.zip(etag).is_some_and(|(sent, etag)| sent.to_str().unwrap().contains(etag)) {
                respond(&guest, 304, &fields, Body::empty()).await;
            } else {
                let filler = "x".repeat(origin.bytes.load(Ordering::SeqCst));
                respond(&guest, 200, &fields, Body::Full(format!("answer {number}{filler}").into())).await;
            }
            done()
        }
    });
    deploy(&world, rule).await;
    (world, origin)
}

async fn deploy(world: &World, rule: &str) {
    world.engine.deploy(&AppName::new("shop").unwrap(), app(rule)).await.unwrap();
}

fn app(rule: &str) -> bytes::Bytes {
    let route = "[[routes]]\npath = \"/{*rest}\"\ndecorators = [\"kept\"]\nto = \"origin\"\n";
    let text =
        manifest(&[("origin", "concurrency = 50\n")], &[]) + "[decorators.kept]\n" + rule + "\n" + route;
    bundle(&text)
}

async fn ask(world: &World, method: Method, path: &str, fields: &[(&str, &str)]) -> Reply {
    let mut request = world.to_data(method, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send(world.data, request.body(Full::<bytes::Bytes>::default()).unwrap()).await
}

async fn get(world: &World, fields: &[(&str, &str)]) -> Reply {
    ask(world, Method::GET, "/a", fields).await
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const RULE: &str = "cache = \"1MiB\"";

#[tokio::test]
async fn an_answer_is_given_again_as_long_as_it_says() {
    let (world, origin) = world(RULE).await;
    let first = get(&world, &[]).await;
    assert_eq!((first.text(), first.header("age")), ("answer 1", None));
    assert_eq!(first.header("cache-status"), Some("evoke; fwd=uri-miss; stored"));
    assert!(first.header("evoke-run").is_some());
    pass(Duration::from_secs(20)).await;
    let again = get(&world, &[]).await;
    assert_eq!((again.text(), again.header("age")), ("answer 1", Some("20")));
    assert!(again.header("cache-status").unwrap().starts_with("evoke; hit; ttl="));
    assert_eq!(again.header("evoke-run"), None);
    let head = ask(&world, Method::HEAD, "/a", &[]).await;
    assert_eq!((head.text(), head.header("content-length"), origin.asked()), ("", Some("8"), 1));
    assert_eq!(ask(&world, Method::GET, "/a?b", &[]).await.text(), "answer 2");
    pass(Duration::from_secs(41)).await;
    assert_eq!(get(&world, &[]).await.text(), "answer 3");
}

#[tokio::test]
async fn what_may_not_be_kept_is_not() {
    let (world, origin) = world(RULE).await;
    for says in ["no-store", "private, max-age=60", "max-age=0", "no-cache", "", "s-maxage=0, max-age=60"] {
        origin.says(says);
        let path = format!("/{}", says.len());
        let before = origin.asked();
        for _ in 0..2 {
            let reply = ask(&world, Method::GET, &path, &[]).await;
            assert_eq!(reply.header("cache-status"), Some("evoke; fwd=uri-miss"), "{says}");
        }
        assert_eq!(origin.asked(), before + 2, "{says}");
    }
    for (name, value) in [("set-cookie", "a=b"), ("vary", "*")] {
        origin.says("public, max-age=60");
        origin.adds(name, value);
        let before = origin.asked();
        for _ in 0..2 {
            ask(&world, Method::GET, &format!("/{name}"), &[]).await;
        }
        assert_eq!(origin.asked(), before + 2, "{name}");
    }
    origin.says("max-age=60");
    for fields in [[("authorization", "Bearer x")], [("cache-control", "no-store")], [("range", "bytes=0-1")]]
    {
        let before = origin.asked();
        for _ in 0..2 {
            ask(&world, Method::GET, &format!("/{}", fields[0].0), &fields).await;
        }
        assert_eq!(origin.asked(), before + 2, "{fields:?}");
    }
    origin.says("public, max-age=60");
    for _ in 0..2 {
        ask(&world, Method::GET, "/public", &[("authorization", "Bearer x")]).await;
    }
    assert_eq!(ask(&world, Method::GET, "/public", &[]).await.header("age"), Some("0"));
}

#[tokio::test]
async fn answers_differ_by_what_they_vary_by() {
    let (world, origin) = world(RULE).await;
    origin.adds("vary", "accept-language");
    let (de, en) = ([("accept-language", "de")], [("accept-language", "en")]);
    assert_eq!(get(&world, &de).await.text(), "answer 1");
    let other = get(&world, &en).await;
    assert_eq!(
        (other.text(), other.header("cache-status")),
        ("answer 2", Some("evoke; fwd=vary-miss; stored"))
    );
    assert_eq!((get(&world, &de).await.text(), get(&world, &en).await.text()), ("answer 1", "answer 2"));
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so_and_may_ask_for_a_new_one() {
    let (world, origin) = world(RULE).await;
    *origin.etag.lock() = Some("\"v1\"");
    assert_eq!(get(&world, &[]).await.text(), "answer 1");
    let same = get(&world, &[("if-none-match", "\"v0\", W/\"v1\"")]).await;
    assert_eq!(
        (same.status, same.text(), same.header("etag")),
        (StatusCode::NOT_MODIFIED, "", Some("\"v1\""))
    );
    assert_eq!(get(&world, &[("if-none-match", "\"v0\"")]).await.text(), "answer 1");
    assert_eq!(origin.asked(), 1);
    *origin.etag.lock() = Some("\"v2\"");
    assert_eq!(get(&world, &[("cache-control", "no-cache")]).await.text(), "answer 2");
    assert_eq!(get(&world, &[]).await.text(), "answer 2");
    let none = ask(&world, Method::GET, "/none", &[("cache-control", "only-if-cached")]).await;
    assert_eq!((none.status.as_u16(), none.code().as_str()), (504, "not_cached"));
}

#[tokio::test]
async fn what_is_no_longer_fresh_is_confirmed_without_being_sent_again() {
    let (world, origin) = world(RULE).await;
    *origin.etag.lock() = Some("\"v1\"");
    get(&world, &[]).await;
    pass(Duration::from_secs(61)).await;
    let confirmed = get(&world, &[]).await;
    assert_eq!((confirmed.status, confirmed.text()), (StatusCode::OK, "answer 1"));
    assert_eq!(origin.seen.lock()["if-none-match"], "\"v1\"");
    assert_eq!(origin.asked(), 2);
    assert_eq!(get(&world, &[]).await.text(), "answer 1");
    assert_eq!(origin.asked(), 2);
    pass(Duration::from_secs(61)).await;
    *origin.etag.lock() = Some("\"v2\"");
    assert_eq!(get(&world, &[]).await.text(), "answer 3");
    // Who asks by a tag of its own is answered by that.
    pass(Duration::from_secs(61)).await;
    let has = get(&world, &[("if-none-match", "\"v2\"")]).await;
    assert_eq!((has.status, has.text()), (StatusCode::NOT_MODIFIED, ""));
}

#[tokio::test]
async fn a_change_or_another_deployment_makes_it_forget() {
    let (world, origin) = world(RULE).await;
    assert_eq!(get(&world, &[]).await.text(), "answer 1");
    let changed = ask(&world, Method::PUT, "/a", &[]).await;
    assert_eq!((changed.text(), changed.header("cache-status")), ("answer 2", Some("evoke; fwd=method")));
    assert_eq!(get(&world, &[]).await.text(), "answer 3");
    assert_eq!(get(&world, &[]).await.text(), "answer 3");
    deploy(&world, RULE).await;
    assert_eq!(get(&world, &[]).await.text(), "answer 4");
    assert_eq!(origin.asked(), 4);
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_asks_what_is_next() {
    let (world, origin) = world(RULE).await;
    let gate = Arc::new(Notify::new());
    *origin.gate.lock() = Some(gate.clone());
    let many = futures_util::future::join_all((0..20).map(|_| get(&world, &[])));
    let opened = async {
        while origin.asked() == 0 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
    };
    let (replies, ()) = tokio::join!(many, opened);
    assert!(replies.iter().all(|reply| reply.text() == "answer 1"));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn answers_that_are_not_kept_do_not_make_others_wait() {
    let (world, origin) = world(RULE).await;
    origin.says("no-store");
    get(&world, &[]).await;
    let gate = Arc::new(Notify::new());
    *origin.gate.lock() = Some(gate.clone());
    let many = futures_util::future::join_all((0..5).map(|_| get(&world, &[])));
    let opened = async {
        // All are asked before the first is answered.
        while origin.asked() < 6 {
            tokio::task::yield_now().await;
        }
        gate.notify_waiters();
    };
    let (replies, ()) = tokio::join!(many, opened);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
}

#[tokio::test]
async fn it_takes_no_more_memory_than_it_may() {
    let (world, origin) = world("cache = \"64KiB\"").await;
    origin.bytes.store(20 << 10, Ordering::SeqCst);
    let large = get(&world, &[]).await;
    assert_eq!(
        (large.text().len(), large.header("cache-status")),
        ((20 << 10) + 8, Some("evoke; fwd=uri-miss"))
    );
    origin.bytes.store(10 << 10, Ordering::SeqCst);
    for i in 0..20 {
        let reply = ask(&world, Method::GET, &format!("/{i}"), &[]).await;
        assert_eq!(reply.header("cache-status"), Some("evoke; fwd=uri-miss; stored"));
        // What is asked for all the time stays.
        ask(&world, Method::GET, "/0", &[]).await;
    }
    let before = origin.asked();
    ask(&world, Method::GET, "/0", &[]).await;
    assert_eq!(origin.asked(), before);
    ask(&world, Method::GET, "/1", &[]).await;
    assert_eq!(origin.asked(), before + 1);
}

#[tokio::test]
async fn a_cache_before_who_is_checked_is_warned_of() {
    let (world, _) = world(RULE).await;
    let rules = "[decorators.kept]\ncache = \"1MiB\"\n[decorators.known]\nbearer = [\"sha256:1c8bfe8f801d79745c4631d09fff36c82aa37fc4cce4fc946683d7b336b63032\"]\n";
    let route = |names: &str| format!("[[routes]]\npath = \"/x\"\ndecorators = [{names}]\nto = \"origin\"\n");
    let text = |names: &str| manifest(&[("origin", "")], &[]) + rules + &route(names);
    let app = AppName::new("shop").unwrap();
    let deployed = world.engine.deploy(&app, bundle(&text("\"kept\", \"known\""))).await.unwrap();
    let warning = "route /x: kept keeps answers before known has checked who asks, and gives them to everybody; put known first";
    assert_eq!(deployed.warnings, [warning]);
    let deployed = world.engine.deploy(&app, bundle(&text("\"known\", \"kept\""))).await.unwrap();
    assert_eq!(deployed.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn while_two_versions_share_the_work_neither_answers_for_the_other() {
    let (world, origin) = world(RULE).await;
    assert_eq!((get(&world, &[]).await.text(), get(&world, &[]).await.text()), ("answer 1", "answer 1"));
    let shop = AppName::new("shop").unwrap();
    let order = DeployOrder { canary: Some(Portion::percent(50)), unwatched: true };
    let next = app("cache = \"1MiB\"\n# another version");
    world.engine.deploy_telling(&shop, next, order, Progress::none()).await.unwrap();
    for asked in 2..5 {
        let reply = get(&world, &[]).await;
        assert_eq!((origin.asked(), reply.header("cache-status")), (asked, Some("evoke; fwd=bypass")));
    }
    world.engine.withdraw_canary(&shop, None).await.unwrap();
    assert_eq!(get(&world, &[]).await.text(), "answer 1");
}

#[tokio::test]
async fn a_promoted_variant_makes_it_forget_what_others_answered() {
    let (world, _) = world(RULE).await;
    let rules = "[decorators.kept]\ncache = \"1MiB\"\n[experiments.trial]\nvariants.one = { weight = 1, to = \"origin\" }\nvariants.two = { weight = 1, to = \"other\" }\n\
        [[routes]]\nname = \"x\"\npath = \"/a\"\ndecorators = [\"kept\"]\nto = \"trial\"\n";
    world.runtime.script("other", |guest: Guest| async move {
        respond(&guest, 200, &[("cache-control", "max-age=60")], Body::Full("other".into())).await;
        done()
    });
    let shop = AppName::new("shop").unwrap();
    let text = manifest(&[("origin", ""), ("other", "")], &[]) + rules;
    world.engine.deploy(&shop, bundle(&text)).await.unwrap();
    let first = get(&world, &[]).await.text().to_owned();
    assert_eq!(get(&world, &[]).await.text(), first);
    let winner = if first == "other" { "one" } else { "two" };
    world.engine.promote(&shop, "x", None, &VariantName::new(winner).unwrap()).await.unwrap();
    assert_ne!(get(&world, &[]).await.text(), first);
}
