//! The JSON format.

use evoke_core::event::json::{parse, parse_batch, parse_value, to_json, to_vec};
use evoke_core::event::{Attribute, Data, Event};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::strategy;

fn minimal(more: Value) -> Value {
    let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t" });
    let members = event.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    event
}

#[track_caller]
fn refused(more: Value, message: &str) {
    assert_eq!(parse_value(minimal(more)).unwrap_err().to_string(), message);
}

fn data_of(more: Value) -> Option<Data> {
    parse_value(minimal(more)).unwrap().data().cloned()
}

#[test]
fn example_of_the_specification_is_read() {
    let text = br#"{
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null,
        "id" : "C234-1234-1234", "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value",
        "comexampleothervalue" : 5, "datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "aGk="
    }"#;
    let expected = Event::new("C234-1234-1234", "/mycontext", "com.example.someevent")
        .with_time("2018-04-05T17:31:00Z")
        .with_extension("comexampleextension1", "value".into())
        .with_extension("comexampleothervalue", Attribute::Integer(5))
        .with_data(Data::Bytes("hi".into()), Some("application/vnd.apache.thrift.binary".to_owned()));
    assert_eq!(parse(text).unwrap(), expected);
}

#[test]
fn data_is_read_by_its_content_type() {
    assert_eq!(data_of(json!({})), None);
    assert_eq!(data_of(json!({ "data": { "a": 1 } })), Some(Data::Json(json!({ "a": 1 }))));
    assert_eq!(
        data_of(json!({ "data": "<much wow=\"xml\"/>", "datacontenttype": "application/xml" })),
        Some(Data::Text("<much wow=\"xml\"/>".into()))
    );
    assert_eq!(
        data_of(json!({ "data": "text", "datacontenttype": "application/json" })),
        Some(Data::Json(json!("text")))
    );
    assert_eq!(
        data_of(json!({ "data": [1], "datacontenttype": "text/X+JSON;a=b" })),
        Some(Data::Json(json!([1])))
    );
    assert_eq!(data_of(json!({ "data_base64": "AP8=" })), Some(Data::Bytes(vec![0, 255].into())));
    assert_eq!(
        data_of(json!({ "data_base64": "e30=", "datacontenttype": "application/json" })),
        Some(Data::Bytes("{}".into()))
    );
}

#[test]
fn null_data_is_the_value_null_where_data_is_json() {
    assert_eq!(data_of(json!({ "data": null })), Some(Data::Json(Value::Null)));
    assert_eq!(data_of(json!({ "data": null, "datacontenttype": "text/plain" })), None);
}

#[test]
fn null_attributes_are_absent() {
    let event = parse_value(minimal(
        json!({ "subject": null, "time": null, "x": null, "data_base64": null, "datacontenttype": null }),
    ));
    assert_eq!(event.unwrap(), Event::new("1", "/s", "t"));
    refused(json!({ "id": null }), "attribute id is missing");
}

#[test]
fn what_is_no_event_is_refused_by_name() {
    let error = |text: &[u8]| parse(text).unwrap_err().to_string();
    assert_eq!(error(b"{"), "no JSON: EOF while parsing an object at line 1 column 1");
    assert_eq!(error(b"\xff"), "no JSON: expected value at line 1 column 1");
    assert_eq!(
        error(b"[]"),
        "invalid type: sequence, expected a CloudEvent as a JSON object at line 1 column 0"
    );
    assert_eq!(error(b"{}"), "attribute specversion is missing at line 1 column 2");
    assert_eq!(
        error(br#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#),
        "member id is there twice at line 1 column 38"
    );
    refused(json!({ "specversion": "0.3" }), "attribute specversion is \"0.3\", only \"1.0\" is known");
    refused(json!({ "id": 5 }), "attribute id is 5, it must be a string");
    refused(
        json!({ "x": 1.5 }),
        "invalid type: floating point `1.5`, expected a string, a boolean or a 32-bit integer as attribute x",
    );
    refused(
        json!({ "x": 2_147_483_648_u64 }),
        "invalid value: integer `2147483648`, expected a string, a boolean or a 32-bit integer as attribute x",
    );
    refused(
        json!({ "x": {} }),
        "invalid type: map, expected a string, a boolean or a 32-bit integer as attribute x",
    );
    refused(
        json!({ "Bad": 1 }),
        "extension attribute \"Bad\" may only have the characters a-z and 0-9 in its name",
    );
    refused(json!({ "data": 1, "data_base64": "" }), "data and data_base64 exclude each other");
    refused(
        json!({ "data": 1, "datacontenttype": "text/plain" }),
        "data must be a string when datacontenttype is \"text/plain\"",
    );
    refused(json!({ "data_base64": "a" }), "data_base64 is no base64: Invalid input length: 1");
    refused(json!({ "source": "a b" }), "attribute source: \"a b\" is no URI-reference (RFC 3986)");
}

#[test]
fn errors_do_not_quote_without_end() {
    let long = "x".repeat(1_000_000);
    for member in ["specversion", "source", "time", &long] {
        let error = parse_value(minimal(json!({ member: [&long], "x": 1.5 }))).unwrap_err();
        assert!(error.message.len() < 500);
        let error = parse_value(minimal(json!({ member: &long, "X": 1 }))).unwrap_err();
        assert!(error.message.len() < 500);
    }
}

#[test]
fn numbers_keep_their_value() {
    let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[18446744073709551615,-9223372036854775808,0.1,5e-324,1.7976931348623157e+308]}"#;
    assert_eq!(to_vec(&parse(text).unwrap()), text);
}

#[test]
fn batch_is_bounded_and_names_the_event_that_is_wrong() {
    let batch = |events: &[Value], max| {
        parse_batch(&serde_json::to_vec(events).unwrap(), max).map_err(|error| error.to_string())
    };
    let good = minimal(json!({}));
    assert_eq!(batch(&[], 1), Ok(vec![]));
    assert_eq!(batch(&[good.clone(), good.clone()], 2).unwrap().len(), 2);
    assert_eq!(
        batch(&[good.clone(), good.clone()], 1),
        Err("batch has more than 1 events at line 1 column 113".to_owned())
    );
    assert_eq!(
        batch(&[good.clone(), minimal(json!({ "id": "" }))], 2),
        Err("event 1 of the batch: attribute id is empty".to_owned())
    );
    assert!(parse_batch(b"[] x", 1).is_err());
}

#[test]
fn serde_refuses_what_the_check_refuses() {
    let error = serde_json::from_value::<Event>(minimal(json!({ "type": "" }))).unwrap_err();
    assert_eq!(error.to_string(), "attribute type is empty");
}

proptest! {
    #[test]
    fn events_survive_the_json_format(event in strategy::event()) {
        let text = to_vec(&event);
        prop_assert_eq!(event.json_bytes(), text.len() as u64);
        prop_assert_eq!(&parse(&text).unwrap(), &event);
        prop_assert_eq!(&parse_value(to_json(&event)).unwrap(), &event);
        prop_assert_eq!(&serde_json::from_slice::<Event>(&text).unwrap(), &event);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&text);
        let _ = parse_batch(&text, 3);
    }
}
