//! The official Rust SDK reads what Evoke writes, and Evoke what it writes.

use cloudevents::{AttributesReader, EventBuilder, EventBuilderV10};
use evoke_core::event::json::{parse, to_json, to_vec};
use evoke_core::event::{Attribute, Data, Event};
use proptest::prelude::*;
use serde_json::json;

use super::strategy;

#[test]
fn sdk_events_are_read() {
    let theirs = EventBuilderV10::new()
        .id("1")
        .source("https://example.com/a?b#c")
        .ty("t")
        .subject("sub")
        .extension("number", 7_i64)
        .extension("flag", true)
        .data("application/json", json!({ "a": [1, 2] }))
        .build()
        .unwrap();
    let ours = parse(&serde_json::to_vec(&theirs).unwrap()).unwrap();
    let expected = Event::new("1", "https://example.com/a?b#c", "t")
        .with_subject("sub")
        .with_extension("number", Attribute::Integer(7))
        .with_extension("flag", Attribute::Boolean(true))
        .with_json(json!({ "a": [1, 2] }));
    assert_eq!(ours, expected);

    let bytes = EventBuilderV10::new()
        .id("1")
        .source("/a")
        .ty("t")
        .data("image/png", vec![0_u8, 255])
        .build()
        .unwrap();
    let ours = parse(&serde_json::to_vec(&bytes).unwrap()).unwrap();
    assert_eq!(ours.data(), Some(&Data::Bytes(vec![0, 255].into())));
}

proptest! {
    #[test]
    fn sdk_reads_and_writes_back_the_same_event(event in strategy::event()) {
        // To the SDK, a +json type with parameters is not JSON.
        prop_assume!(event.data_content_type().is_none_or(|ty| !ty.contains("+json;")));
        // It takes bytes that happen to be JSON for JSON.
        let is_json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
        prop_assume!(!matches!(event.data(), Some(Data::Bytes(bytes)) if is_json(bytes)));
        let theirs: cloudevents::Event = serde_json::from_slice(&to_vec(&event)).unwrap();
        prop_assert_eq!(theirs.id(), event.id());
        prop_assert_eq!(theirs.source().as_str(), event.source());
        prop_assert_eq!(theirs.ty(), event.ty());
        let (mut back, mut ours) = (serde_json::to_value(&theirs).unwrap(), to_json(&event));
        // It parses time and URI and writes them in its own way.
        for (name, value) in [("time", &mut back), ("time", &mut ours)] {
            value.as_object_mut().unwrap().remove(name);
        }
        prop_assert_eq!(back, ours);
    }
}
