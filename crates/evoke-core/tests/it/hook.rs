//! Deliveries of hooks as requests, and what their answers mean.

use std::time::Duration;

use evoke_core::event::{Event, http::decode};
use evoke_core::hook::{ContentMode, HookUrl, Judged, judge, message};
use evoke_core::retry::{AfterFailure, RetryPolicy};
use evoke_core::secret::SecretValue;
use evoke_core::time::Timestamp;
use evoke_core::webhook::{Scheme, standard, verify};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn secrets(texts: &[&str]) -> Vec<SecretValue> {
    texts.iter().map(|text| SecretValue::new(*text).unwrap()).collect()
}

fn event(id: &str) -> Event {
    Event::new(id, "/shop", "paid").with_json(serde_json::json!({ "total": 42 }))
}

fn field(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().unwrap().to_owned()
}

#[test]
fn a_delivery_is_the_event_signed_with_each_secret() {
    let all = secrets(&[SECRET, OTHER]);
    for mode in [ContentMode::Structured, ContentMode::Binary] {
        let sent = message(&[event("evt_1")], mode, &all, NOW).unwrap();
        assert_eq!(field(&sent.headers, standard::ID), "evt_1");
        assert_eq!(field(&sent.headers, standard::TIMESTAMP), "1700000000");
        assert_eq!(field(&sent.headers, standard::SIGNATURE).split(' ').count(), 2);
        let scheme = Scheme::Standard { tolerance: Duration::from_secs(60) };
        for one in [SECRET, OTHER] {
            assert!(verify(&scheme, &secrets(&[one]), &sent.headers, &sent.body, NOW).is_ok());
        }
        let got = decode(&sent.headers, sent.body, 1).unwrap();
        assert_eq!(got.events, [event("evt_1")]);
    }
}

#[test]
fn ids_stay_the_same_and_can_be_sent_and_signed_whatever_they_are() {
    let id = |id: &str| {
        let sent = message(&[event(id)], ContentMode::Structured, &secrets(&[SECRET]), NOW).unwrap();
        field(&sent.headers, standard::ID)
    };
    assert_eq!(id("a.b 1%ä"), "a%2Eb%201%25%C3%A4");
    assert_eq!(id(&"x".repeat(300)), id(&"x".repeat(300)));
    assert!(id(&"x".repeat(300)).starts_with("sha256_"));
    let batch = |ids: [&str; 2]| {
        let sent = message(&ids.map(event), ContentMode::Binary, &secrets(&[SECRET]), NOW).unwrap();
        assert_eq!(field(&sent.headers, "content-type"), "application/cloudevents-batch+json");
        field(&sent.headers, standard::ID)
    };
    assert_eq!(batch(["a", "b"]), batch(["a", "b"]));
    assert_ne!(batch(["a", "b"]), batch(["b", "a"]));
}

#[test]
fn only_keys_of_the_specified_length_sign() {
    assert!(standard::check(&secrets(&[SECRET])[0]).is_ok());
    for wrong in ["", "whsec_", "whsec_ab$c", "whsec_c2hvcnQ="] {
        assert!(standard::check(&secrets(&[wrong])[0]).is_err(), "{wrong:?}");
    }
}

#[test]
fn answers_are_judged_by_the_table_of_standard_webhooks() {
    let none = HeaderMap::new();
    let longest = Duration::from_secs(86_400);
    let of = |status: u16, headers: &HeaderMap| {
        judge(StatusCode::from_u16(status).unwrap(), headers, NOW, longest)
    };
    let failed = |seconds: Option<u64>| Judged::Failed { retry_after: seconds.map(Duration::from_secs) };
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(of(status, &none), Judged::Delivered);
    }
    for status in [301, 302, 307, 400, 404, 429, 500, 503] {
        assert_eq!(of(status, &none), failed(None), "{status}");
    }
    assert_eq!(of(410, &none), Judged::Gone);
    let after = |text: &str| HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
    assert_eq!(of(429, &after("120")), failed(Some(120)));
    assert_eq!(of(503, &after("Tue, 14 Nov 2023 22:14:20 GMT")), failed(Some(60)));
    assert_eq!(of(503, &after("Tue, 14 Nov 2022 22:14:20 GMT")), failed(None));
    assert_eq!(of(503, &after("99999999999999999999999")), failed(Some(86_400)));
    assert_eq!(of(503, &after("soon")), failed(None));
    assert_eq!(of(500, &after("120")), failed(None));
}

#[test]
fn the_schedule_is_that_of_standard_webhooks_within_a_tenth() {
    let policy = RetryPolicy::standard_webhooks();
    let pauses = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (attempt, seconds) in (1..).zip(pauses) {
        let at = |random| match policy.after_failure(attempt, random) {
            AfterFailure::RetryAfter(pause) => pause.as_secs_f64(),
            AfterFailure::GiveUp => panic!("given up after {attempt}"),
        };
        assert!((at(0.0) - 0.9 * f64::from(seconds)).abs() < 0.001);
        assert!((at(0.5) - f64::from(seconds)).abs() < 0.001);
        assert!((at(1.0) - 1.1 * f64::from(seconds)).abs() < 0.001);
    }
    assert_eq!(policy.after_failure(10, 0.5), AfterFailure::GiveUp);
}

#[test]
fn urls_hide_their_query_and_have_no_passwords() {
    let url = HookUrl::parse("https://Example.com./a?token=1").unwrap();
    assert_eq!(url.shown(), "https://example.com./a");
    assert_eq!(url.destination().to_string(), "example.com:443");
    assert_eq!(HookUrl::parse("http://[::1]:8080/").unwrap().destination().to_string(), "[::1]:8080");
    for wrong in ["ftp://a", "https://", "a", "https://u:p@a/", "https://a/#b"] {
        assert!(HookUrl::parse(wrong).is_err(), "{wrong}");
    }
}
