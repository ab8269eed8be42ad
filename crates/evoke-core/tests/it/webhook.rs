//! Signatures, against the vectors their owners publish, and the events they become.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use evoke_core::event::Data;
use evoke_core::secret::SecretValue;
use evoke_core::time::Timestamp;
use evoke_core::webhook::{Encoding, Mapping, Place, Refused, Scheme, standard, to_events, verify};
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;
use sha2::Sha256;

const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_000);
const TOLERANCE: Duration = Duration::from_secs(300);

fn secrets(texts: &[&str]) -> Vec<SecretValue> {
    texts.iter().map(|text| SecretValue::new(*text).unwrap()).collect()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn hex_mac(secret: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation>
#[test]
fn githubs_published_signature_is_accepted() {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let keys = secrets(&["It's a Secret to Everybody"]);
    let fields = headers(&[("X-Hub-Signature-256", signature)]);
    assert_eq!(verify(&Scheme::Github, &keys, &fields, b"Hello, World!", NOW), Ok(()));
    let verdict = verify(&Scheme::Github, &keys, &fields, b"Hello, world!", NOW);
    assert_eq!(verdict, Err(Refused::Signature));
    // The weaker signature beside it is not looked at.
    let old = headers(&[("X-Hub-Signature", "sha1=00")]);
    let verdict = verify(&Scheme::Github, &keys, &old, b"Hello, World!", NOW);
    assert_eq!(verdict, Err(Refused::Field("x-hub-signature-256".to_owned())));
    let twice = headers(&[("X-Hub-Signature-256", signature), ("X-Hub-Signature-256", signature)]);
    assert!(matches!(verify(&Scheme::Github, &keys, &twice, b"Hello, World!", NOW), Err(Refused::Field(_))));
}

/// The vector of the libraries of Standard Webhooks.
#[test]
fn the_published_signature_of_standard_webhooks_is_made_and_accepted() {
    let scheme = Scheme::Standard { tolerance: TOLERANCE };
    let keys = secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(standard::sign(&keys, id, 1_614_265_330, body).as_deref(), Some(signature));
    let fields = |time: &str, signature: &str| {
        headers(&[("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)])
    };
    let verdict = |time: &str, signature: &str| verify(&scheme, &keys, &fields(time, signature), body, NOW);
    assert_eq!(verdict("1614265330", signature), Ok(()));
    // Among signatures of other keys and other versions.
    assert_eq!(verdict("1614265330", &format!("v1a,xyz v1,AAAA {signature}")), Ok(()));
    assert_eq!(verdict("1614265330", "v1,AAAA"), Err(Refused::Signature));
    assert_eq!(verdict("1614265330", &signature.replace("v1,", "v2,")), Err(Refused::Signature));
    assert_eq!(verdict("1614265331", signature), Err(Refused::Signature));
}

#[test]
fn a_report_outside_the_replay_window_is_refused_whatever_its_signature() {
    let scheme = Scheme::Standard { tolerance: TOLERANCE };
    let keys = secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let at = |seconds: u64| {
        let signature = standard::sign(&keys, "id", seconds, b"x").unwrap();
        let seconds = seconds.to_string();
        let fields = [
            ("webhook-id", "id"),
            ("webhook-timestamp", seconds.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        verify(&scheme, &keys, &headers(&fields), b"x", NOW)
    };
    assert_eq!(at(1_614_265_330 - 300), Ok(()));
    assert_eq!(at(1_614_265_330 + 300), Ok(()));
    assert_eq!(at(1_614_265_330 - 301), Err(Refused::Time { seconds: 301, tolerance_s: 300 }));
    assert_eq!(at(1_614_265_330 + 301), Err(Refused::Time { seconds: -301, tolerance_s: 300 }));
}

#[test]
fn either_secret_signs_while_one_replaces_the_other() {
    let keys = secrets(&["new", "old"]);
    for key in ["new", "old"] {
        let signature = format!("sha256={}", hex_mac(key, b"x"));
        let fields = headers(&[("x-hub-signature-256", signature.as_str())]);
        assert_eq!(verify(&Scheme::Github, &keys, &fields, b"x", NOW), Ok(()), "{key}");
    }
    let both = secrets(&["whsec_bmV3", "whsec_b2xk"]);
    assert_eq!(standard::sign(&both, "id", 1, b"x").unwrap().split(' ').count(), 2);
    assert_eq!(standard::sign(&secrets(&["not base64!"]), "id", 1, b"x"), None);
    assert_eq!(verify(&Scheme::Github, &[], &headers(&[]), b"x", NOW), Err(Refused::NoSecret));
}

/// The form of <https://docs.stripe.com/webhooks/signature>: `t`, and `v1` over `<t>.<body>`.
#[test]
fn stripes_form_is_accepted_and_its_other_schemes_are_not() {
    let scheme = Scheme::Stripe { tolerance: TOLERANCE };
    let keys = secrets(&["whsec_test"]);
    let v1 = hex_mac("whsec_test", b"1614265330.{}");
    let verdict = |value: &str| verify(&scheme, &keys, &headers(&[("Stripe-Signature", value)]), b"{}", NOW);
    assert_eq!(verdict(&format!("t=1614265330,v1={v1},v0=6ffbb59b2300aae63f27")), Ok(()));
    assert_eq!(verdict(&format!("t=1614265330,v1=00,v1={v1}")), Ok(()));
    assert_eq!(verdict(&format!("t=1614265330,v0={v1}")), Err(Refused::Signature));
    assert_eq!(verdict(&format!("v1={v1}")), Err(Refused::Form("stripe-signature".to_owned())));
    assert!(matches!(verdict(&format!("t=1614260000,v1={v1}")), Err(Refused::Time { .. })));
}

#[test]
fn a_plain_hmac_has_the_field_the_encoding_and_the_prefix_one_says() {
    let keys = secrets(&["s"]);
    let hex = hex_mac("s", b"body");
    let scheme = |encoding, prefix: &str| Scheme::Hmac {
        header: "x-signature".to_owned(),
        encoding,
        prefix: prefix.to_owned(),
    };
    let verdict = |scheme: &Scheme, value: &str| {
        verify(scheme, &keys, &headers(&[("X-Signature", value)]), b"body", NOW)
    };
    assert_eq!(verdict(&scheme(Encoding::Hex, ""), &hex), Ok(()));
    assert_eq!(verdict(&scheme(Encoding::Hex, "hmac="), &format!("hmac={}", hex.to_uppercase())), Ok(()));
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    assert_eq!(verdict(&scheme(Encoding::Base64, ""), &base64), Ok(()));
    assert_eq!(
        verdict(&scheme(Encoding::Hex, "sha256="), &hex),
        Err(Refused::Form("x-signature".to_owned()))
    );
    assert_eq!(verdict(&scheme(Encoding::Hex, ""), &hex[..62]), Err(Refused::Signature));
}

#[test]
fn a_cloudevents_sender_has_a_bearer_token() {
    let keys = secrets(&["token"]);
    let verdict = |value: &str| {
        verify(&Scheme::Cloudevents, &keys, &headers(&[("authorization", value)]), b"", NOW).is_ok()
    };
    assert!(verdict("Bearer token") && verdict("bearer token"));
    assert!(!verdict("Bearer tokem") && !verdict("Basic token") && !verdict("token"));
}

proptest! {
    #[test]
    fn no_header_and_no_body_makes_it_panic_or_passes_by_chance(
        value in "[ -~]{0,120}", body in proptest::collection::vec(any::<u8>(), 0..64)
    ) {
        let keys = secrets(&["whsec_c2VjcmV0"]);
        let names = ["x-hub-signature-256", "webhook-id", "webhook-timestamp", "webhook-signature", "stripe-signature"];
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, value.as_str())).collect();
        for scheme in [Scheme::Github, Scheme::Standard { tolerance: TOLERANCE }, Scheme::Stripe { tolerance: TOLERANCE }] {
            prop_assert!(verify(&scheme, &keys, &headers(&fields), &body, NOW).is_err());
        }
    }

    #[test]
    fn what_was_signed_is_accepted_and_nothing_else(body in proptest::collection::vec(any::<u8>(), 1..64), at in any::<proptest::sample::Index>()) {
        let keys = secrets(&["whsec_c2VjcmV0"]);
        let scheme = Scheme::Standard { tolerance: TOLERANCE };
        let signature = standard::sign(&keys, "id", 1_614_265_330, &body).unwrap();
        let fields = headers(&[("webhook-id", "id"), ("webhook-timestamp", "1614265330"), ("webhook-signature", signature.as_str())]);
        prop_assert_eq!(verify(&scheme, &keys, &fields, &body, NOW), Ok(()));
        let mut other = body.clone();
        *at.get_mut(&mut other) ^= 1;
        prop_assert_eq!(verify(&scheme, &keys, &fields, &other, NOW), Err(Refused::Signature));
    }
}

fn mapping() -> Mapping {
    Mapping {
        event: "github.{type}".to_owned(),
        source: "/webhooks/hooks/github".to_owned(),
        ty: Some(Place::Header("x-github-event".to_owned())),
        id: Some(Place::Header("x-github-delivery".to_owned())),
        subject: Some(Place::Body(vec!["repository".to_owned(), "full_name".to_owned()])),
    }
}

#[test]
fn a_report_becomes_an_event_with_the_body_as_its_data() {
    let fields = headers(&[
        ("x-github-event", "push"),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("content-type", "application/json"),
    ]);
    let body = Bytes::from(r#"{"repository":{"full_name":"octocat/Hello-World"}}"#);
    let event =
        to_events(&Scheme::Github, &mapping(), &fields, body, 1, || unreachable!()).unwrap().remove(0);
    assert_eq!((event.ty(), event.subject()), ("github.push", Some("octocat/Hello-World")));
    assert_eq!(event.id(), "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert_eq!(event.source(), "/webhooks/hooks/github");
    let Some(Data::Json(data)) = event.data() else { panic!("{event:?}") };
    assert_eq!(data["repository"]["full_name"], json!("octocat/Hello-World"));
}

#[test]
fn githubs_form_is_read_and_what_is_not_json_is_kept_as_bytes() {
    let event = |kind: &str, body: &'static [u8]| {
        let fields =
            headers(&[("x-github-event", "ping"), ("x-github-delivery", "1"), ("content-type", kind)]);
        to_events(&Scheme::Github, &mapping(), &fields, Bytes::from_static(body), 1, String::new)
            .unwrap()
            .remove(0)
    };
    let form = event("application/x-www-form-urlencoded", b"payload=%7B%22zen%22%3A1%7D");
    assert_eq!(form.data(), Some(&Data::Json(json!({ "zen": 1 }))));
    let broken = event("application/json", b"{");
    assert_eq!(broken.data(), Some(&Data::Bytes(Bytes::from_static(b"{"))));
    assert_eq!(broken.data_content_type(), Some("application/octet-stream"));
    assert_eq!(event("text/plain", b"hi").data(), Some(&Data::Text("hi".to_owned())));
    assert_eq!(event("application/json", b"").data(), None);
}

#[test]
fn a_report_that_does_not_name_itself_is_refused_where_it_should() {
    let fields = headers(&[("x-github-event", "push")]);
    let error = to_events(&Scheme::Github, &mapping(), &fields, Bytes::new(), 1, String::new).unwrap_err();
    assert_eq!(error.message, "webhook: the request does not name its delivery");
    let fields = headers(&[("x-github-delivery", "1")]);
    let error = to_events(&Scheme::Github, &mapping(), &fields, Bytes::new(), 1, String::new).unwrap_err();
    assert_eq!(error.message, "webhook: the request does not say what type of event it is");
    let fixed = Mapping { event: "built".to_owned(), ty: None, id: None, subject: None, ..mapping() };
    let events =
        to_events(&Scheme::Github, &fixed, &HeaderMap::new(), Bytes::new(), 1, || "fresh".to_owned())
            .unwrap();
    assert_eq!((events[0].ty(), events[0].id()), ("built", "fresh"));
}
