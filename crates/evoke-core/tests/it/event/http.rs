//! The HTTP binding.

use bytes::Bytes;
use evoke_core::event::http::{Mode, decode, encode_batch, encode_binary, encode_structured};
use evoke_core::event::{Attribute, Data, Event};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::strategy;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect()
}

fn binary(more: &[(&'static str, &str)]) -> HeaderMap {
    let mut all =
        headers(&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]);
    all.extend(headers(more));
    all
}

#[track_caller]
fn read(headers: &HeaderMap, body: &'static str) -> Event {
    let mut incoming = decode(headers, Bytes::from_static(body.as_bytes()), 1).unwrap();
    assert_eq!(incoming.mode, Mode::Binary);
    incoming.events.remove(0)
}

#[track_caller]
fn refused(headers: &HeaderMap, body: &'static str, message: &str) {
    assert_eq!(decode(headers, Bytes::from_static(body.as_bytes()), 2).unwrap_err().to_string(), message);
}

fn subject_of(value: &str) -> String {
    read(&binary(&[("ce-subject", value)]), "").subject().unwrap().to_owned()
}

#[test]
fn binary_mode_takes_attributes_from_header_fields_and_data_from_the_body() {
    let headers = binary(&[
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-x", "5"),
        ("content-type", "application/json; charset=utf-8"),
        ("host", "h"),
    ]);
    let expected = Event::new("1", "/s", "t")
        .with_time("2018-04-05T03:56:24Z")
        .with_extension("x", "5".into())
        .with_data(Data::Json(json!({ "a": 1 })), Some("application/json; charset=utf-8".to_owned()));
    assert_eq!(read(&headers, r#"{"a":1}"#), expected);
}

#[test]
fn binary_body_is_kept_by_its_content_type() {
    let data = |ty: &str, body| read(&binary(&[("content-type", ty)]), body).data().cloned();
    assert_eq!(data("text/plain", "hi"), Some(Data::Text("hi".into())));
    assert_eq!(data("application/atom+xml", "<a/>"), Some(Data::Text("<a/>".into())));
    assert_eq!(data("text/plain; charset=latin1", "hi"), Some(Data::Bytes("hi".into())));
    assert_eq!(data("image/png", "hi"), Some(Data::Bytes("hi".into())));
    assert_eq!(data("application/json", ""), None);
    assert_eq!(read(&binary(&[]), "hi").data(), Some(&Data::Bytes("hi".into())));
    let not_utf8 =
        decode(&binary(&[("content-type", "text/plain")]), Bytes::from_static(b"\xff"), 1).unwrap();
    assert_eq!(not_utf8.events[0].data(), Some(&Data::Bytes(Bytes::from_static(b"\xff"))));
}

#[test]
fn header_values_are_percent_encoded_as_the_specification_shows() {
    let (headers, _) =
        encode_binary(&Event::new("1", "/s", "t").with_subject("Euro € 😀 \"100%\" ~!")).unwrap();
    assert_eq!(headers["ce-subject"], "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22100%25%22%20~!");
}

#[test]
fn header_values_are_decoded_once_and_tolerantly() {
    assert_eq!(subject_of("Euro%20%e2%82%ac"), "Euro €");
    assert_eq!(subject_of("%2541"), "%41", "a single round");
    assert_eq!(subject_of(r#""a \"b\" \\ c""#), r#"a "b" \ c"#, "quoted string of older senders");
    assert_eq!(subject_of(r#"5" disk"#), r#"5" disk"#, "a quote that is not closed");
    assert_eq!(subject_of("100% of %zz %4"), "100% of %zz %4", "no percent-encoding");
    assert_eq!(subject_of("Größe"), "Größe", "raw UTF-8");
}

#[test]
fn what_is_no_event_is_refused_by_name() {
    let ty = |value| headers(&[("content-type", value)]);
    refused(
        &ty("text/plain"),
        "",
        "no CloudEvent: there are neither ce- header fields nor the content type application/cloudevents+json",
    );
    refused(&headers(&[("ce-id", "1")]), "", "header ce-specversion is missing");
    refused(
        &headers(&[("ce-specversion", "0.3")]),
        "",
        "header ce-specversion is \"0.3\", only \"1.0\" is known",
    );
    refused(&headers(&[("ce-specversion", "1.0")]), "", "header ce-id is missing");
    refused(&binary(&[("ce-subject", "%FF")]), "", "header ce-subject is no UTF-8 once percent-decoded");
    refused(
        &binary(&[("ce-datacontenttype", "text/plain")]),
        "",
        "header ce-datacontenttype: that attribute travels as content-type",
    );
    refused(
        &binary(&[("ce-data", "x")]),
        "",
        "extension attribute \"data\" has a name that the specification reserves",
    );
    refused(
        &binary(&[("ce-subject", "%00")]),
        "",
        "attribute subject has the character U+0000, which is not allowed",
    );
    refused(
        &binary(&[("content-type", "application/json")]),
        "{",
        "content type is application/json, but the body is no JSON: EOF while parsing an object at line 1 column 1",
    );
    refused(
        &ty("application/cloudevents+avro"),
        "",
        "content type application/cloudevents+avro is not understood; application/cloudevents+json and application/cloudevents-batch+json are",
    );
    refused(
        &ty("application/cloudevents+json; charset=utf-16"),
        "{}",
        "content type application/cloudevents+json; charset=utf-16: events in JSON format must be UTF-8",
    );
    let mut twice = binary(&[]);
    twice.append("ce-id", HeaderValue::from_static("2"));
    refused(&twice, "", "header ce-id is there twice");
}

#[test]
fn content_type_tells_the_mode_whatever_its_case_and_parameters() {
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let mode = |ty, body: String| {
        decode(&headers(&[("content-type", ty)]), body.into(), 2).map(|incoming| incoming.mode)
    };
    assert_eq!(mode("Application/CloudEvents+JSON; charset=\"UTF-8\"", one.to_owned()), Ok(Mode::Structured));
    assert_eq!(mode("application/cloudevents-batch+json", format!("[{one},{one}]")), Ok(Mode::Batched));
    assert_eq!(mode("application/cloudevents-batch+json", "[]".to_owned()), Ok(Mode::Batched));
}

#[test]
fn bytes_of_a_binary_body_are_not_copied() {
    let body = Bytes::from(vec![7; 4096]);
    let incoming = decode(&binary(&[("content-type", "image/png")]), body.clone(), 1).unwrap();
    let (_, out) = encode_binary(&incoming.events[0]).unwrap();
    assert_eq!(out.as_ptr(), body.as_ptr());
}

/// What binary mode keeps of an event: extensions become text, implied JSON is declared, empty data is none.
fn as_binary_mode_keeps_it(event: Event) -> Event {
    let content_type = match event.data() {
        Some(Data::Json(_)) => Some(event.data_content_type().unwrap_or("application/json").to_owned()),
        _ => event.data_content_type().map(str::to_owned),
    };
    let empty = match event.data() {
        Some(Data::Text(text)) => text.is_empty(),
        Some(Data::Bytes(bytes)) => bytes.is_empty(),
        _ => false,
    };
    let extensions = event.extensions().clone();
    let kept = extensions
        .iter()
        .fold(event, |event, (name, value)| event.with_extension(name, Attribute::String(value.to_string())));
    match kept.data().cloned().filter(|_| !empty) {
        Some(data) => kept.with_data(data, content_type),
        None => kept.without_data().with_content_type(content_type),
    }
}

proptest! {
    #[test]
    fn events_survive_binary_mode(event in strategy::event()) {
        let (headers, body) = encode_binary(&event).unwrap();
        let incoming = decode(&headers, body, 1).unwrap();
        prop_assert_eq!(incoming.mode, Mode::Binary);
        prop_assert_eq!(incoming.events, vec![as_binary_mode_keeps_it(event)]);
    }

    #[test]
    fn events_survive_structured_mode(event in strategy::event()) {
        let (headers, body) = encode_structured(&event);
        let incoming = decode(&headers, body, 1).unwrap();
        prop_assert_eq!(incoming.mode, Mode::Structured);
        prop_assert_eq!(incoming.events, vec![event]);
    }

    #[test]
    fn events_survive_batched_mode(events in prop::collection::vec(strategy::event(), 0..5)) {
        let (headers, body) = encode_batch(&events);
        let incoming = decode(&headers, body, 5).unwrap();
        prop_assert_eq!(incoming.mode, Mode::Batched);
        prop_assert_eq!(incoming.events, events);
    }

    #[test]
    fn arbitrary_header_values_do_not_panic(value in "[ -~\u{80}-\u{ff}]{0,40}", ty in "[ -~]{0,30}", body in "[ -~]{0,20}") {
        let mut headers = binary(&[("ce-x", &value)]);
        if let Ok(ty) = HeaderValue::from_str(&ty) {
            headers.insert("content-type", ty);
        }
        let _ = decode(&headers, body.into(), 1);
    }
}
