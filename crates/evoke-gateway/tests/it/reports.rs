//! Webhooks and beacons over HTTP: what senders are told, and what they are not.

use evoke_core::id::AppName;
use evoke_core::secret::{SecretName, SecretValue};
use evoke_core::webhook::standard;
use http::{Method, StatusCode};
use http_body_util::Full;

use crate::support::{APP, Reply, World, bundle, manifest, send};

const REPORTS: &str = r#"
[[webhooks]]
path = "/hooks/pay"
provider = "standard"
secret = "PAY"
max_body = "1KiB"
origins = ["sender.example.com"]

[[beacons]]
path = "/beacons/clicks"
event = "page_click"
origins = ["https://www.example.com"]
rate = 3
"#;

async fn world() -> World {
    let world = World::new().await;
    let app = AppName::new(APP).unwrap();
    let value = SecretValue::new("whsec_c2VjcmV0").unwrap();
    world.engine.set_secret(&app, &SecretName::new("PAY").unwrap(), &value).await.unwrap();
    let text = manifest(&[("page", "")], &[("/hooks/pay", "GET", "page")]) + REPORTS;
    world.engine.deploy(&app, bundle(&text)).await.unwrap();
    world
}

async fn report(world: &World, secret: &str, id: &str, body: &'static str) -> Reply {
    let seconds = world.engine.now().as_millis() / 1_000;
    let secret = SecretValue::new(secret).unwrap();
    let signature = standard::sign(&[secret], id, seconds, body.as_bytes()).unwrap();
    let request = world.to_data(Method::POST, "/hooks/pay").header("webhook-id", id);
    let request = request.header("webhook-timestamp", seconds).header("webhook-signature", signature);
    send(world.data, request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_signed_report_is_accepted_and_every_other_gets_the_same_answer() {
    let world = world().await;
    let accepted = report(&world, "whsec_c2VjcmV0", "1", r#"{"type":"paid"}"#).await;
    assert_eq!((accepted.status, accepted.text()), (StatusCode::ACCEPTED, ""));
    let events = world.get("/v1/apps/shop/events?type=paid").await.json();
    assert_eq!(events["events"][0]["event"]["id"], "1");
    let forged = report(&world, "whsec_b3RoZXI=", "2", r#"{"type":"paid"}"#).await;
    assert_eq!((forged.status, forged.code().as_str()), (StatusCode::UNAUTHORIZED, "report_refused"));
    let unsigned = world.data(Method::POST, "/hooks/pay", "{").await;
    assert_eq!(unsigned.json(), forged.json(), "an attacker learns what was wrong");
    let untyped = report(&world, "whsec_c2VjcmV0", "3", "{}").await;
    assert_eq!((untyped.status, untyped.code().as_str()), (StatusCode::BAD_REQUEST, "invalid_event"));
    assert_eq!(world.get("/v1/apps/shop/events").await.json()["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_report_over_its_size_is_refused_and_other_methods_are_for_others() {
    let world = world().await;
    let large: &'static str = "x".repeat(2_000).leak();
    let refused = report(&world, "whsec_c2VjcmV0", "1", large).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused.json()["limit"]["name"], "webhook_bytes");
    assert_eq!(world.data(Method::GET, "/hooks/pay", "").await.status, StatusCode::OK);
    assert_eq!(
        world.data(Method::PUT, "/hooks/pay", "").await.header("allow"),
        Some("GET, HEAD, OPTIONS, POST")
    );
}

#[tokio::test]
async fn the_handshake_says_yes_to_known_origins_only() {
    let world = world().await;
    let ask = async |origin: &str| {
        let request = world.to_data(Method::OPTIONS, "/hooks/pay").header("webhook-request-origin", origin);
        let request = request.header("webhook-request-rate", "120");
        send(world.data, request.body(Full::<bytes::Bytes>::default()).unwrap()).await
    };
    let yes = ask("sender.example.com").await;
    assert_eq!(yes.header("webhook-allowed-origin"), Some("sender.example.com"));
    assert_eq!(yes.header("webhook-allowed-rate"), Some("120"));
    assert_eq!(yes.header("allow"), Some("POST, OPTIONS"));
    let no = ask("other.example.com").await;
    assert_eq!((no.header("webhook-allowed-origin"), no.header("webhook-allowed-rate")), (None, None));
}

async fn click(world: &World, origin: Option<&str>, kind: &str, body: &'static str) -> Reply {
    let mut request = world.to_data(Method::POST, "/beacons/clicks").header("content-type", kind);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    send(world.data, request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_reports_as_text_or_json_until_its_rate() {
    let world = world().await;
    let page = Some("https://www.example.com");
    let taken = click(&world, page, "text/plain;charset=UTF-8", r#"{"button":"buy"}"#).await;
    assert_eq!((taken.status, taken.text()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(taken.header("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(click(&world, page, "application/json", "{}").await.status, StatusCode::NO_CONTENT);
    let refused = click(&world, Some("https://evil.example"), "text/plain", "{}").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "origin_refused"));
    assert_eq!(click(&world, None, "text/plain", "{}").await.status, StatusCode::FORBIDDEN);
    assert_eq!(click(&world, page, "text/plain", "plain words").await.status, StatusCode::NO_CONTENT);
    let full = click(&world, page, "text/plain", "{}").await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(full.header("retry-after").is_some());
    let events = world.get("/v1/apps/shop/events?type=page_click").await.json();
    let data: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|e| e["event"]["data"].clone()).collect();
    assert_eq!(
        data,
        [serde_json::json!("plain words"), serde_json::json!({}), serde_json::json!({ "button": "buy" })]
    );
    assert_eq!(events["events"][0]["event"]["subject"], "https://www.example.com");
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_for_pages_it_may() {
    let world = world().await;
    let ask = async |origin: &str| {
        let request = world.to_data(Method::OPTIONS, "/beacons/clicks").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        send(world.data, request.body(Full::<bytes::Bytes>::default()).unwrap()).await
    };
    let yes = ask("https://www.example.com").await;
    assert_eq!(
        (yes.status, yes.header("access-control-allow-headers")),
        (StatusCode::NO_CONTENT, Some("content-type"))
    );
    assert_eq!(ask("https://evil.example").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn secrets_are_set_listed_and_removed_and_never_shown() {
    let world = World::new().await;
    let put = async |name: &str, body: &'static [u8]| {
        let request = world.to_control(Method::PUT, &format!("/v1/apps/new/secrets/{name}"));
        send(world.control, request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await
    };
    assert_eq!(put("KEY", b"hunter2").await.status, StatusCode::NO_CONTENT);
    assert_eq!(put("not%20a%20name", b"x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(put("KEY", b"\xff").await.status, StatusCode::BAD_REQUEST);
    let list = world.get("/v1/apps/new/secrets").await;
    assert_eq!(list.json()["secrets"][0]["name"], "KEY");
    assert!(!list.text().contains("hunter2"));
    let remove = async || {
        let request = world.to_control(Method::DELETE, "/v1/apps/new/secrets/KEY");
        send(world.control, request.body(Full::<bytes::Bytes>::default()).unwrap()).await
    };
    assert_eq!(remove().await.status, StatusCode::NO_CONTENT);
    assert_eq!(remove().await.code(), "unknown_secret");
}
