//! Experiments, with real servers behind and scripted functions between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::store::{RunQuery, Store};
use evoke_core::testing::store::MemoryStore;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::behind::{Behind, behind, ok, seen};
use crate::support::{Reply, Setup, World, bundle, done, echo, manifest, request_of, respond, send};

/// App `shop` with the functions `echo` and `other`, and these lines.
async fn deployed(world: &World, lines: &str) {
    let app = evoke_core::id::AppName::new("shop").unwrap();
    let text = manifest(&[("echo", ""), ("other", "")], &[]) + lines;
    world.engine.deploy(&app, bundle(&text)).await.unwrap();
    world.runtime.script("echo", echo);
    world.runtime.script("other", |guest| async move {
        respond(&guest, 200, &[("content-type", "text/plain")], Body::Full("other".into())).await;
        done()
    });
}

async fn world(lines: &str) -> World {
    let world = World::with(Setup { tell_failures: true, ..Setup::default() }).await;
    deployed(&world, lines).await;
    world
}

impl World {
    async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut request = self.to_data(Method::GET, path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        send(self.data, request.body(Full::<Bytes>::default()).unwrap()).await
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Reply {
        let request = self.to_control(method, path).header("content-type", "application/json");
        send(self.control, request.body(Full::<Bytes>::from(body.to_string())).unwrap()).await
    }

    /// Figures of a variant, since counting began.
    async fn variant(&self, name: &str) -> Value {
        let stats = self.get("/v1/apps/shop/routes/stats").await.json();
        let routes = stats["routes"].as_array().unwrap().iter();
        let variants = routes.flat_map(|route| route["experiments"].as_array().into_iter().flatten());
        let mut variants = variants.flat_map(|experiment| experiment["variants"].as_array().unwrap());
        variants.find(|variant| variant["name"] == name).unwrap().clone()
    }

    /// The figures of a shadow once so many answers were compared or left out.
    async fn shadow(&self, name: &str, settled: u64) -> Value {
        loop {
            let variant = self.variant(name).await;
            let shadow = &variant["total"]["shadow"];
            let left_out: u64 =
                shadow["left_out"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
            if shadow["compared"].as_u64().unwrap() + left_out >= settled {
                return variant;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

const HALVES: &str = r#"
[experiments.half]
sticky = "STICKY"
variants.a = { weight = 50, to = "echo" }
variants.b = { weight = 50, to = "other" }
[[routes]]
path = "/half"
to = "half"
"#;

#[tokio::test]
async fn a_client_keeps_its_variant_by_a_field_and_others_have_another() {
    let world = world(&HALVES.replace("STICKY", "header:X-User")).await;
    let mut all = BTreeSet::new();
    for user in 0..20 {
        let user = user.to_string();
        let mut own = BTreeSet::new();
        for _ in 0..3 {
            let reply = world.get_with("/half", &[("x-user", &user)]).await;
            assert_eq!(reply.header("vary"), Some("x-user"));
            own.insert(reply.header("evoke-variant").unwrap().to_owned());
        }
        assert_eq!(own.len(), 1, "{user}: {own:?}");
        all.extend(own);
    }
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["half=a", "half=b"]);
}

#[tokio::test]
async fn without_anything_to_keep_it_by_the_variant_is_one_of_chance() {
    let world = world(&HALVES.replace("sticky = \"STICKY\"\n", "")).await;
    let mut counts = [0, 0];
    for _ in 0..60 {
        let reply = world.data(Method::GET, "/half", "").await;
        counts[usize::from(reply.header("evoke-variant") == Some("half=b"))] += 1;
        assert_eq!((reply.header("set-cookie"), reply.header("vary")), (None, None));
    }
    assert!(counts[0] > 10 && counts[1] > 10, "{counts:?}");
    let (a, b) = (world.variant("a").await, world.variant("b").await);
    assert_eq!((&a["total"]["requests"], &b["total"]["requests"]), (&counts[0].into(), &counts[1].into()));
    assert_eq!((&a["weight"], &a["share"]), (&50.into(), &0.5.into()));
}

#[tokio::test]
async fn a_cookie_is_set_once_and_kept_to_and_others_are_not_believed() {
    let world = world(&HALVES.replace("STICKY", "cookie")).await;
    for _ in 0..10 {
        let first = world.data(Method::GET, "/half", "").await;
        let set = first.header("set-cookie").unwrap();
        assert!(set.ends_with("; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax"), "{set}");
        let cookie = set.split(';').next().unwrap();
        assert!(cookie.starts_with("evoke-half=") && cookie.len() == 11 + 32, "{cookie}");
        let again = world.get_with("/half", &[("cookie", &format!("a=b; {cookie}"))]).await;
        assert_eq!((again.header("set-cookie"), again.header("vary")), (None, Some("cookie")));
        assert_eq!(again.header("evoke-variant"), first.header("evoke-variant"));
    }
    let odd = world.get_with("/half", &[("cookie", "evoke-half=a")]).await;
    assert!(odd.header("set-cookie").is_some());
}

#[tokio::test]
async fn a_cookie_is_for_https_only_where_the_client_came_by_that() {
    let proxies = evoke_gateway::Proxies(vec!["127.0.0.1/32".parse().unwrap()]);
    let behind = World::with(Setup { proxies, ..Setup::default() }).await;
    deployed(&behind, &HALVES.replace("STICKY", "cookie")).await;
    let open = world(&HALVES.replace("STICKY", "cookie")).await;
    for (world, scheme, secure) in
        [(&behind, "https", true), (&behind, "http", false), (&open, "https", false)]
    {
        let fields = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", scheme)];
        let reply = world.get_with("/half", &fields).await;
        let set = reply.header("set-cookie").unwrap();
        assert_eq!(set.ends_with("; SameSite=Lax; Secure"), secure, "{scheme}: {set}");
    }
}

#[tokio::test]
async fn what_clients_say_of_variants_and_copies_is_not_believed() {
    // So that it is the function that tells what it was sent.
    let lines = HALVES
        .replace("STICKY", "header:x-user")
        .replacen("weight = 50", "weight = 100", 1)
        .replacen("weight = 50", "weight = 0", 1);
    let world = world(&lines).await;
    let reply = world
        .get_with("/half", &[("evoke-shadow", "x"), ("evoke-variant", "half=zzz"), ("x-user", "3")])
        .await;
    assert_eq!(reply.header("evoke-variant"), Some("half=a"));
    let seen = reply.json()["headers"].to_string();
    assert!(
        seen.contains("evoke-variant: half=a") && !seen.contains("zzz") && !seen.contains("shadow"),
        "{seen}"
    );
}

fn shadowing(up: &Behind, more: &str) -> String {
    format!(
        "[experiments.rewrite]\nvariants.old = {{ weight = 1, to = \"http://127.0.0.1:{}\" }}\nvariants.new = {{ shadow = 100, to = \"echo\" }}\n{more}\n[[routes]]\npath = \"/{{*rest}}\"\nto = \"rewrite\"\n",
        up.port
    )
}

#[tokio::test]
async fn a_copy_is_compared_and_dropped_and_its_run_is_marked() {
    let up = behind(|_, _| {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\":1.0}".into()
    })
    .await;
    let world = world(&shadowing(&up, "")).await;
    world.runtime.script("echo", |mut guest| async move {
        let request = request_of(&mut guest);
        assert_eq!(request.headers["evoke-shadow"], "rewrite=new");
        assert!(!request.headers.contains_key("idempotency-key"));
        let body = std::mem::take(&mut request.body).collect(1 << 20).await.unwrap();
        let answer = if body == "same" { "{\"a\":1}" } else { "{\"a\":2}" };
        respond(&guest, 200, &[("content-type", "application/json")], Body::Full(answer.into())).await;
        done()
    });
    let post = async |body: &'static str| {
        let request = world.to_data(Method::POST, "/x").header("idempotency-key", "k");
        send(world.data, request.body(Full::<Bytes>::from(body)).unwrap()).await
    };
    let reply = post("same").await;
    assert_eq!((reply.text(), reply.header("evoke-variant")), ("{\"a\":1.0}", Some("rewrite=old")));
    world.shadow("new", 1).await;
    post("other").await;
    let new = world.shadow("new", 2).await;
    let shadow = &new["total"]["shadow"];
    assert_eq!(
        (&shadow["compared"], &shadow["differing"], &shadow["differing_share"]),
        (&2.into(), &1.into(), &0.5.into())
    );
    let sample = &new["samples"][0];
    assert_eq!((&sample["method"], &sample["path"]), (&"POST".into(), &"/x".into()));
    assert_eq!(sample["differences"], json!([{ "what": "body /a", "answered": "1.0", "shadow": "2" }]));
    let run = world.ended(sample["shadow_by"].as_str().unwrap()).await;
    assert!(run.cause.shadow);
    let shown = world.get(&format!("/v1/apps/shop/runs/{}", run.id)).await.json();
    assert_eq!(shown["shadow"], true);
    // Clients' requests are those of the variant that answers them, and of the route.
    let stats = world.get("/v1/apps/shop/routes/stats").await.json();
    assert_eq!(stats["routes"][0]["total"]["requests"], 2);
    assert_eq!(world.variant("old").await["total"]["requests"], 2);
    assert_eq!(new["total"]["requests"], 2);
    assert_eq!(up.seen.lock().len(), 2);
}

#[tokio::test]
async fn a_client_does_not_wait_for_a_copy_and_what_is_over_the_bound_is_left_out() {
    let up = behind(|_, _| ok("old")).await;
    let world =
        world(&shadowing(&up, "copies = { concurrency = 2, timeout = \"1m\" }\ncompare = { headers = [] }"))
            .await;
    let (go, begun) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (wait, count) = (go.clone(), begun.clone());
    world.runtime.script("echo", move |guest| {
        let (wait, count) = (wait.clone(), count.clone());
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            wait.notified().await;
            respond(&guest, 200, &[], Body::Full("old".into())).await;
            done()
        }
    });
    for _ in 0..5 {
        assert_eq!(world.data(Method::GET, "/x", "").await.text(), "old");
    }
    while begun.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(world.variant("new").await["total"]["shadow"]["left_out"]["busy"], 3);
    go.notify_waiters();
    let shadow = world.shadow("new", 5).await["total"]["shadow"].clone();
    assert_eq!((&shadow["compared"], &shadow["differing"]), (&2.into(), &0.into()));
}

#[tokio::test]
async fn copies_take_no_more_than_half_of_a_function_that_clients_call_too() {
    let lines = r#"
[functions.small]
source = "small.js"
concurrency = 4
[experiments.pass]
variants.on = { weight = 1, to = "other" }
variants.copy = { shadow = 100, to = "small" }
[[routes]]
path = "/x"
to = "pass"
[[routes]]
path = "/small"
to = "small"
"#;
    let world = world(lines).await;
    let (go, begun) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (wait, count) = (go.clone(), begun.clone());
    world.runtime.script("small", move |mut guest| {
        let (wait, count) = (wait.clone(), count.clone());
        async move {
            if request_of(&mut guest).headers.contains_key("evoke-shadow") {
                count.fetch_add(1, Ordering::SeqCst);
                wait.notified().await;
            }
            respond(&guest, 200, &[], Body::Full("small".into())).await;
            done()
        }
    });
    for nth in 1..=6_usize {
        assert_eq!(world.data(Method::GET, "/x", "").await.text(), "other");
        while begun.load(Ordering::SeqCst) < nth.min(2) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(world.data(Method::GET, "/small", "").await.text(), "small");
    assert_eq!(world.shadow("copy", 4).await["total"]["shadow"]["left_out"]["busy"], 4);
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    go.notify_waiters();
}

#[tokio::test]
async fn a_body_over_the_bound_passes_and_is_not_copied() {
    let up = behind(|_, request| ok(&request.split("\r\n\r\n").nth(1).unwrap().len().to_string())).await;
    let world = world(&shadowing(&up, "copies = { max_body = \"1KiB\" }")).await;
    let body: &'static str = Box::leak("x".repeat(2_000).into_boxed_str());
    assert_eq!(world.data(Method::POST, "/x", body).await.text(), "2000");
    let left_out = world.shadow("new", 1).await["total"]["shadow"]["left_out"].clone();
    assert_eq!(left_out["body"], 1);
    // An answer over it is compared but for its body.
    let up = behind(|_, _| ok(&"y".repeat(3_000))).await;
    deployed(&world, &shadowing(&up, "copies = { max_body = \"1KiB\" }\ncompare = { headers = [] }")).await;
    assert_eq!(world.data(Method::GET, "/x", "").await.body.len(), 3_000);
    let shadow = world.shadow("new", 2).await["total"]["shadow"].clone();
    assert_eq!(
        (&shadow["compared"], &shadow["without_body"], &shadow["differing"]),
        (&1.into(), &1.into(), &0.into())
    );
}

#[tokio::test]
async fn an_answer_of_a_shadow_over_the_bound_is_not_held() {
    let up = behind(|_, _| ok("old")).await;
    let world = world(&shadowing(&up, "copies = { max_body = \"1KiB\" }\ncompare = { headers = [] }")).await;
    world.runtime.script("echo", |guest| async move {
        respond(&guest, 200, &[], Body::Full("y".repeat(3_000).into())).await;
        done()
    });
    assert_eq!(world.data(Method::GET, "/x", "").await.text(), "old");
    let shadow = world.shadow("new", 1).await["total"]["shadow"].clone();
    assert_eq!((&shadow["without_body"], &shadow["differing"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn copies_that_would_hold_more_than_all_may_are_left_out() {
    let up = behind(|_, _| ok("old")).await;
    let mut setup = Setup::default();
    setup.bounds.copied_bytes = 5 << 10;
    let world = World::with(setup).await;
    // Its request, its answer and the client's: 6 KiB.
    deployed(&world, &shadowing(&up, "copies = { max_body = \"2KiB\" }")).await;
    assert_eq!(world.data(Method::GET, "/x", "").await.text(), "old");
    assert_eq!(world.shadow("new", 1).await["total"]["shadow"]["left_out"]["busy"], 1);
}

#[tokio::test]
async fn a_copy_is_not_copied_again_and_counts_for_no_variant() {
    let lines = r#"
[decorators.stamp]
response = { set = { x-new = "1" } }
[experiments.first]
variants.plain = { weight = 1, decorators = [] }
variants.stamped = { shadow = 100, decorators = ["stamp"] }
[experiments.second]
variants.usual = { weight = 1, to = "echo" }
variants.copied = { shadow = 100, to = "other" }
[[routes]]
path = "/x"
decorators = ["first"]
to = "second"
"#;
    let world = world(lines).await;
    for _ in 0..3 {
        assert_eq!(world.data(Method::GET, "/x", "").await.status, StatusCode::OK);
    }
    world.shadow("stamped", 3).await;
    let copied = world.shadow("copied", 3).await;
    assert_eq!(copied["total"]["requests"], 3);
    for name in ["plain", "usual"] {
        assert_eq!(world.variant(name).await["total"]["requests"], 3, "{name}");
    }
}

#[tokio::test]
async fn a_copy_is_not_answered_from_a_cache_and_does_not_fill_it() {
    let lines = r#"
[decorators.stamp]
response = { set = { x-new = "1" } }
[decorators.kept]
cache = "1MiB"
[experiments.greeting]
variants.old = { weight = 1, decorators = [] }
variants.new = { shadow = 100, decorators = ["stamp"] }
[[routes]]
path = "/x"
decorators = ["greeting", "kept"]
to = "other"
"#;
    let world = world(lines).await;
    let (clients, copies) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (clients.clone(), copies.clone());
    world.runtime.script("other", move |mut guest| {
        let is_copy = request_of(&mut guest).headers.contains_key("evoke-shadow");
        let count = if is_copy { &counts.1 } else { &counts.0 };
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let fields = [("cache-control", "max-age=60")];
            respond(&guest, 200, &fields, Body::Full("other".into())).await;
            done()
        }
    });
    for nth in 1..=3 {
        assert_eq!(world.data(Method::GET, "/x", "").await.text(), "other");
        world.shadow("new", nth).await;
    }
    assert_eq!((clients.load(Ordering::SeqCst), copies.load(Ordering::SeqCst)), (1, 3));
}

#[tokio::test]
async fn a_copy_that_fails_or_takes_too_long_does_not_touch_the_answer() {
    let up = behind(|_, _| ok("old")).await;
    let world = world(&shadowing(&up, "copies = { timeout = \"2s\" }\ncompare = { headers = [] }")).await;
    world.runtime.script("echo", |mut guest| async move {
        if request_of(&mut guest).uri.ends_with("slow") {
            std::future::pending::<()>().await;
        }
        respond(&guest, 500, &[], Body::Full("broken".into())).await;
        done()
    });
    assert_eq!(world.data(Method::GET, "/slow", "").await.text(), "old");
    assert_eq!(world.shadow("new", 1).await["total"]["shadow"]["left_out"]["late"], 1);
    assert_eq!(world.data(Method::GET, "/x", "").await.text(), "old");
    let new = world.shadow("new", 2).await;
    assert_eq!((&new["total"]["errors"], &new["total"]["shadow"]["differing"]), (&1.into(), &1.into()));
    assert_eq!(
        new["samples"][0]["differences"][0],
        json!({ "what": "status", "answered": "200", "shadow": "500" })
    );
    assert_eq!(world.variant("old").await["total"]["errors"], 0);
}

#[tokio::test]
async fn what_cannot_be_compared_is_not_copied() {
    let up = behind(|_, _| ok("old")).await;
    let world = world(&shadowing(&up, "")).await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    world.get_with("/x", &upgrade).await;
    world.get_with("/x", &[("prefer", "respond-async")]).await;
    let shadow = world.shadow("new", 2).await["total"]["shadow"].clone();
    assert_eq!((&shadow["compared"], &shadow["left_out"]["unsuitable"]), (&0.into(), &2.into()));
    let runs = world.store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap();
    assert_eq!(runs.len(), 0);
}

#[tokio::test]
async fn a_streamed_body_is_copied_when_it_has_passed() {
    let up = behind(|_, request| ok(&seen(request).len().to_string())).await;
    let world = world(&shadowing(&up, "compare = { headers = [], body = \"ignore\" }")).await;
    let parts = ["one", "two", "three"]
        .map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(part))));
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(parts));
    let reply = send(world.data, world.to_data(Method::POST, "/x").body(body.boxed_unsync()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK);
    let new = world.shadow("new", 1).await;
    assert_eq!(
        (&new["total"]["shadow"]["compared"], &new["total"]["errors"]),
        (&1.into(), &0.into()),
        "{new}"
    );
}

const GREETING: &str = r#"
[decorators.stamp]
response = { set = { x-new = "1" } }
[decorators.few]
rate = 3
per = "1d"
by = "all"
[experiments.greeting]
variants.old = { weight = 100, decorators = [] }
variants.new = { weight = 0, decorators = ["stamp"] }
variants.shy = { shadow = 100, decorators = ["stamp"] }
compare = { headers = ["x-new"] }
[[routes]]
name = "hello"
path = "/hello"
decorators = ["greeting", "few"]
to = "other"
"#;

#[tokio::test]
async fn among_decorators_a_variant_is_what_stands_there_and_the_way_goes_on_behind() {
    let world = world(GREETING).await;
    for _ in 0..3 {
        let reply = world.data(Method::GET, "/hello", "").await;
        assert_eq!((reply.text(), reply.header("x-new")), ("other", None));
        world.shadow("shy", 1).await;
    }
    // What was copied does not count for a rate.
    let shy = world.shadow("shy", 3).await;
    assert_eq!(
        (&shy["total"]["shadow"]["compared"], &shy["total"]["shadow"]["differing"]),
        (&3.into(), &3.into())
    );
    assert_eq!(
        shy["samples"][0]["differences"][0],
        json!({ "what": "header x-new", "answered": "", "shadow": "1" })
    );
    assert_eq!(world.data(Method::GET, "/hello", "").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_promoted_variant_is_the_only_one_at_once_and_for_as_long_as_the_manifest_has_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let lines = GREETING.replace(", \"few\"", "");
    let world = World::with(Setup { store: store.clone(), ..Setup::default() }).await;
    deployed(&world, &lines).await;
    let is_new = async |world: &World| {
        let reply = world.data(Method::GET, "/hello", "").await;
        reply.header("x-new").is_some()
    };
    assert!(!is_new(&world).await);
    let path = "/v1/apps/shop/routes/hello/promotion";
    let change = world.control(Method::PUT, path, json!({ "variant": "new" })).await;
    assert_eq!(change.json(), json!({ "route": "hello", "experiment": "greeting", "promoted": "new" }));
    assert!(is_new(&world).await);
    let routes = world.get("/v1/apps/shop/routes").await.json();
    let experiment = &routes["routes"][0]["experiments"][0];
    assert_eq!(
        (&experiment["promoted"]["variant"], &experiment["variants"][0]["share"]),
        (&"new".into(), &1.0.into())
    );
    // Nothing is copied any more.
    let before = world.shadow("shy", 1).await["total"]["shadow"]["compared"].clone();
    assert!(is_new(&world).await);
    assert_eq!(world.variant("shy").await["total"]["shadow"]["compared"], before);
    // Another server on the same store, and another deployment.
    let second = World::with(Setup { store: store.clone(), ..Setup::default() }).await;
    second.runtime.script("other", echo);
    assert!(is_new(&second).await);
    let app = evoke_core::id::AppName::new("shop").unwrap();
    let text = manifest(&[("echo", ""), ("other", "")], &[]) + &lines.replace("weight = 100", "weight = 70");
    let deployed_again = second.engine.deploy(&app, bundle(&text)).await.unwrap();
    assert!(deployed_again.warnings[0].contains("new goes on to be"), "{:?}", deployed_again.warnings);
    assert!(is_new(&second).await);
    // Undone.
    let change = second.control(Method::DELETE, path, json!({})).await;
    assert_eq!(change.json(), json!({ "route": "hello", "experiment": "greeting", "before": "new" }));
    assert!(!is_new(&second).await);
    // One that the manifest no longer has is gone for good.
    second.control(Method::PUT, path, json!({ "variant": "new" })).await;
    let without = lines.replace("variants.new = { weight = 0, decorators = [\"stamp\"] }\n", "");
    let text = manifest(&[("echo", ""), ("other", "")], &[]) + &without;
    let warned = second.engine.deploy(&app, bundle(&text)).await.unwrap().warnings;
    assert!(warned[0].contains("no longer has the variant new"), "{warned:?}");
    let text = manifest(&[("echo", ""), ("other", "")], &[]) + &lines;
    assert!(second.engine.deploy(&app, bundle(&text)).await.unwrap().warnings.is_empty());
    assert!(!is_new(&second).await);
}

#[tokio::test]
async fn what_cannot_be_promoted_is_refused_with_what_could_be() {
    let world = world(GREETING).await;
    let promote = async |route: &str, body: Value| {
        let reply =
            world.control(Method::PUT, &format!("/v1/apps/shop/routes/{route}/promotion"), body).await;
        (reply.status.as_u16(), reply.code(), reply.json()["detail"].as_str().unwrap_or_default().to_owned())
    };
    let (status, code, detail) = promote("hello", json!({ "variant": "newer" })).await;
    assert_eq!((status, code.as_str()), (404, "unknown_experiment"));
    assert!(detail.contains("greeting/new, greeting/old"), "{detail}");
    let (status, code, detail) = promote("hello", json!({ "variant": "new", "experiment": "stamp" })).await;
    assert_eq!((status, code.as_str()), (404, "unknown_experiment"));
    assert!(detail.contains("it has greeting"), "{detail}");
    assert_eq!(promote("nowhere", json!({ "variant": "new" })).await.1, "unknown_route");
    assert_eq!(promote("hello", json!({ "variant": "A b" })).await.0, 400);
    // By its path, too.
    let by_path = world
        .control(Method::PUT, "/v1/apps/shop/routes/%2Fhello/promotion", json!({ "variant": "old" }))
        .await;
    assert_eq!(by_path.json()["route"], "hello");
    assert_eq!(world.get("/v1/apps/shop/routes/stats?route=x").await.code(), "unknown_route");
    assert_eq!(world.get("/v1/apps/shop/routes/stats?minutes=16").await.code(), "invalid_request");
}

#[tokio::test]
async fn routes_without_experiments_are_counted_too() {
    let world =
        world("[[routes]]\npath = \"/x\"\nto = \"echo\"\n[[routes]]\npath = \"/y\"\nto = \"other\"\n").await;
    world.runtime.script("other", |guest| async move {
        respond(&guest, 503, &[], Body::empty()).await;
        done()
    });
    for _ in 0..3 {
        world.data(Method::GET, "/x", "").await;
    }
    world.data(Method::GET, "/y", "").await;
    let stats = world.get("/v1/apps/shop/routes/stats?minutes=1").await.json();
    let of = |at: usize| {
        let total = &stats["routes"][at]["window"];
        (total["requests"].clone(), total["errors"].clone(), total["p99_ms"].is_number())
    };
    assert_eq!((of(0), of(1)), ((3.into(), 0.into(), true), (1.into(), 1.into(), true)));
    let one = world.get("/v1/apps/shop/routes/stats?route=%2Fy").await.json();
    assert_eq!((one["routes"].as_array().unwrap().len(), &one["routes"][0]["id"]), (1, &"/y".into()));
}
