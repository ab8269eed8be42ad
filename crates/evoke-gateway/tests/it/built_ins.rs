//! Decorators that need no code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use evoke_core::id::AppName;
use evoke_core::secret::{SecretName, SecretValue};
use http::{Method, StatusCode};
use http_body_util::{Full, StreamBody};
use tokio_stream::StreamExt as _;

use crate::support::{Reply, World, bundle, echo, manifest, send};

/// App `shop` with the function `echo` behind these decorators.
async fn world(decorators: &str, names: &str) -> World {
    let world = World::new().await;
    let app = AppName::new("shop").unwrap();
    let value = |text: &str| SecretValue::new(text).unwrap();
    world
        .engine
        .set_secret(&app, &SecretName::new("PASSWORD").unwrap(), &value("open:sesame"))
        .await
        .unwrap();
    let route = format!("[[routes]]\npath = \"/x\"\ndecorators = [{names}]\nto = \"echo\"\n");
    let text = manifest(&[("echo", "")], &[]) + decorators + &route;
    world.engine.deploy(&app, bundle(&text)).await.unwrap();
    world.runtime.script("echo", echo);
    world
}

async fn with(world: &World, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut request = world.to_data(Method::POST, "/x");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send(world.data, request.body(Full::<Bytes>::from(body.into())).unwrap()).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn header_fields_are_removed_and_set_both_ways() {
    let rule = "[decorators.fields]\nrequest = { set = { X-In = \"1\" }, remove = [\"Cookie\"] }\n\
        response = { set = { X-Out = \"2\" }, remove = [\"Content-Type\"] }\n";
    let world = world(rule, "\"fields\"").await;
    let reply = with(&world, &[("cookie", "a=b"), ("x-in", "0")], "").await;
    let seen = reply.json()["headers"].to_string();
    assert!(seen.contains("x-in: 1") && !seen.contains("cookie") && !seen.contains("x-in: 0"), "{seen}");
    assert_eq!((reply.header("x-out"), reply.header("content-type")), (Some("2"), None));
}

#[tokio::test]
async fn members_that_a_json_object_lacks_are_filled_in_and_others_pass_as_they_came() {
    let world = world("[decorators.fill]\ndefaults = { currency = \"EUR\", n = [1] }\n", "\"fill\"").await;
    let said = async |field, body: &'static str| with(&world, &[field], body).await.json()["body"].clone();
    assert_eq!(said(JSON, "{\"id\":1.10,\"n\":null}").await, "{\"id\":1.10,\"n\":null,\"currency\":\"EUR\"}");
    let other = ("content-type", "application/merge-patch+json; charset=utf-8");
    assert_eq!(said(other, "{}").await, "{\"currency\":\"EUR\",\"n\":[1]}");
    assert_eq!(said(JSON, "[1]").await, "[1]");
    assert_eq!(said(("content-type", "text/plain"), "{}").await, "{}");
    let reply = with(&world, &[JSON], "{").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn a_body_above_its_bound_is_refused_declared_or_not() {
    let world = world("[decorators.small]\nmax_body = \"100KiB\"\n", "\"small\"").await;
    assert_eq!(with(&world, &[], vec![b'x'; 100 << 10]).await.status, StatusCode::OK);
    let reply = with(&world, &[], vec![b'x'; (100 << 10) + 1]).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "too_large"));
    assert_eq!(reply.json()["limit"]["name"], "max_body");
    let runs = world.get("/v1/apps/shop/runs").await.json()["runs"].as_array().unwrap().len();
    assert_eq!(runs, 1, "what says that it is too long reaches nobody");
    let pieces = tokio_stream::iter((0..11).map(|_| vec![b'x'; 10 << 10]));
    let pieces = pieces.map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(piece))));
    let request = world.to_data(Method::POST, "/x").body(StreamBody::new(pieces)).unwrap();
    let reply = send(world.data, request).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "too_large"));
}

#[tokio::test]
async fn only_who_is_known_passes_and_what_was_presented_stays_here() {
    // The SHA-256 of "letmein".
    const LETMEIN: &str = "1c8bfe8f801d79745c4631d09fff36c82aa37fc4cce4fc946683d7b336b63032";
    let rules = format!(
        "[decorators.basic]\nbasic = {{ ada = \"PASSWORD\" }}\n[decorators.bearer]\nbearer = [\"sha256:{LETMEIN}\", \"PASSWORD\"]\n\
         [decorators.key]\napi_key = [\"sha256:{LETMEIN}\"]\nheader = \"X-Key\"\n"
    );
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (name, field, good, bad) in [
        ("basic", "authorization", basic("ada:open:sesame"), basic("ada:open")),
        ("basic", "authorization", basic("ada:open:sesame"), basic("bob:open:sesame")),
        ("basic", "authorization", basic("ada:open:sesame"), "Bearer open:sesame".to_owned()),
        ("bearer", "authorization", "bearer letmein".to_owned(), "Bearer letmeout".to_owned()),
        ("bearer", "authorization", "Bearer open:sesame".to_owned(), "Bearer".to_owned()),
        ("key", "x-key", "letmein".to_owned(), LETMEIN.to_owned()),
    ] {
        let world = world(&rules, &format!("{name:?}")).await;
        let reply = with(&world, &[(field, &good)], "").await;
        assert_eq!(reply.status, StatusCode::OK, "{name} {good}");
        assert!(!reply.json()["headers"].to_string().contains(field), "{reply:?}");
        for fields in [&[(field, bad.as_str())][..], &[], &[(field, good.as_str()), (field, good.as_str())]] {
            let reply = with(&world, fields, "").await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (401, "unauthenticated"),
                "{fields:?}"
            );
            assert!(reply.header("www-authenticate").is_some());
        }
    }
}

#[tokio::test]
async fn a_secret_that_a_decorator_names_has_to_be_set_before_it_is_deployed() {
    let world = World::new().await;
    let text = manifest(&[("echo", "")], &[])
        + "[decorators.who]\nbearer = [\"TOKEN\"]\n[[routes]]\npath = \"/x\"\ndecorators = [\"who\"]\nto = \"echo\"\n";
    let error = world.engine.deploy(&AppName::new("shop").unwrap(), bundle(&text)).await.unwrap_err();
    assert!(error.to_string().contains("TOKEN"), "{error}");
}

#[tokio::test]
async fn when_the_secret_is_gone_nobody_passes_whatever_is_presented() {
    let rules = "[decorators.basic]\nbasic = { ada = \"PASSWORD\" }\n[decorators.bearer]\nbearer = [\"PASSWORD\"]\n\
         [decorators.key]\napi_key = [\"PASSWORD\"]\nheader = \"X-Key\"\n";
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("ada:{password}")));
    for (name, field) in [("basic", "authorization"), ("bearer", "authorization"), ("key", "x-key")] {
        let value = |password: &str| match name {
            "basic" => basic(password),
            "bearer" => format!("Bearer {password}"),
            _ => password.to_owned(),
        };
        let world = world(rules, &format!("{name:?}")).await;
        let status = async |password: &str| with(&world, &[(field, &value(password))], "").await.status;
        assert_eq!(status("open:sesame").await, StatusCode::OK, "{name}");
        let (app, secret) = (AppName::new("shop").unwrap(), SecretName::new("PASSWORD").unwrap());
        assert!(world.engine.remove_secret(&app, &secret).await.unwrap());
        for password in ["open:sesame", "", "PASSWORD", "anything"] {
            assert_eq!(status(password).await, StatusCode::UNAUTHORIZED, "{name} {password:?}");
        }
    }
}

#[tokio::test]
async fn a_rate_lets_so_many_pass_of_each_and_says_when_to_come_again() {
    let rule = "[decorators.slow]\nrate = 2\nper = \"1h\"\nby = \"header:X-Who\"\n";
    let world = world(rule, "\"slow\"").await;
    for who in ["ada", "bob"] {
        for _ in 0..2 {
            assert_eq!(with(&world, &[("x-who", who)], "").await.status, StatusCode::OK);
        }
        let reply = with(&world, &[("x-who", who)], "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (429, "rate_limited"));
        let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1800).contains(&after), "{after}");
    }
    // The same rate goes on counting when the app is deployed again.
    let text = manifest(&[("echo", "memory = \"64MiB\"")], &[])
        + rule
        + "[[routes]]\npath = \"/x\"\ndecorators = [\"slow\"]\nto = \"echo\"\n";
    world.engine.deploy(&AppName::new("shop").unwrap(), bundle(&text)).await.unwrap();
    assert_eq!(with(&world, &[("x-who", "ada")], "").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn several_stand_in_their_order() {
    let rules = "[decorators.fill]\ndefaults = { a = 1 }\n[decorators.small]\nmax_body = \"5B\"\n";
    let fields = [JSON];
    let inner = world(rules, "\"fill\", \"small\"").await;
    assert_eq!(with(&inner, &fields, "{}").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let outer = world(rules, "\"small\", \"fill\"").await;
    assert_eq!(with(&outer, &fields, "{}").await.json()["body"], "{\"a\":1}");
}

#[tokio::test]
async fn a_body_has_to_be_valid_by_a_schema() {
    let rule = "[decorators.valid]\nschema = { type = \"object\", required = [\"id\"], properties = { id = { type = \"integer\" }, tags = { items = { maxLength = 3 } } } }\n";
    let world = world(rule, "\"valid\"").await;
    let good = with(&world, &[JSON], "{\"id\": 1, \"tags\": [\"a\"]}").await;
    assert_eq!(good.json()["body"], "{\"id\": 1, \"tags\": [\"a\"]}");
    let bad = with(&world, &[JSON], "{\"id\": \"secret\", \"tags\": [\"a\", \"long\"]}").await;
    assert_eq!((bad.status.as_u16(), bad.code().as_str()), (422, "invalid_body"));
    let errors = bad.json()["errors"].clone();
    let pointers: Vec<&str> =
        errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/id", "/tags/1"]);
    assert!(!bad.text().contains("secret"), "{}", bad.text());
    for (field, body, status) in
        [(JSON, "{", 400), (("content-type", "text/plain"), "{\"id\": 1}", 415), (JSON, "", 400)]
    {
        assert_eq!(with(&world, &[field], body).await.status.as_u16(), status, "{body}");
    }
    let get =
        send(world.data, world.to_data(Method::GET, "/x").body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(get.status, StatusCode::OK);
    // One that is checked on a thread of its own.
    let tags = vec!["\"abc\""; 10_000].join(",");
    let large = with(&world, &[JSON], format!("{{\"id\": 1, \"tags\": [{tags}]}}")).await;
    assert_eq!(large.status, StatusCode::OK);
    let large = with(&world, &[JSON], format!("{{\"id\": 1, \"tags\": [{tags}, \"abcd\"]}}")).await;
    assert_eq!(large.json()["errors"][0]["pointer"], "/tags/10000");
}

#[tokio::test]
async fn a_schema_that_asks_for_more_than_there_is_time_for_ends_the_request_and_nothing_else() {
    let defs: Vec<String> = (0..40)
        .map(|i| {
            format!(
                "a{i} = {{ allOf = [{{ \"$ref\" = \"#/$defs/a{0}\" }}, {{ \"$ref\" = \"#/$defs/a{0}\" }}] }}",
                i + 1
            )
        })
        .collect();
    let rule = format!(
        "[decorators.dear]\nschema = {{ \"$ref\" = \"#/$defs/a0\", \"$defs\" = {{ {}, a40 = {{ type = \"object\" }} }} }}\n",
        defs.join(", ")
    );
    let world = world(&rule, "\"dear\"").await;
    let reply = with(&world, &[JSON], "{}").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "too_large"));
    assert_eq!(reply.json()["limit"]["name"], "schema_steps");
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_not_deployed() {
    let world = World::new().await;
    let app = AppName::new("shop").unwrap();
    let rule = "[decorators.far]\nschema = { \"$ref\" = \"http://127.0.0.1:9/x.json\" }\n";
    let error =
        world.engine.deploy(&app, bundle(&(manifest(&[("echo", "")], &[]) + rule))).await.unwrap_err();
    let expected = "decorator far: the schema in evoke.toml: http://127.0.0.1:9/x.json is outside of the schema, and is not looked up; put it under $defs";
    assert_eq!(error.to_string(), expected);
}
