//! Arbitrary events that pass [`Event::check`].

use evoke_core::event::{Attribute, Data, Event};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

/// Any text an attribute may hold.
pub fn text() -> impl Strategy<Value = String> {
    let allowed = |c: &char| {
        !c.is_control() && !matches!(u32::from(*c), 0xfdd0..=0xfdef) && u32::from(*c) & 0xfffe != 0xfffe
    };
    prop_oneof![
        "[ -~]{1,20}",
        vec(any::<char>().prop_filter("allowed", allowed), 1..12)
            .prop_map(|chars| chars.into_iter().collect()),
        Just("\"quoted\" 100% \\ ü".to_owned()),
    ]
}

fn uri_reference() -> impl Strategy<Value = String> {
    prop_oneof![
        "/[a-zA-Z0-9._~!$&'()*+,;=:@/-]{0,20}".prop_filter("no authority", |path| !path.starts_with("//")),
        "[a-z][a-z0-9+.-]{0,5}:[a-z0-9:/?@-]{0,20}".prop_filter("no authority", |uri| !uri.contains("://")),
        "https://[a-z0-9.-]{1,10}(:[0-9]{1,5})?(/[a-z0-9%20]{0,0}[a-z0-9]{0,8}){0,3}(\\?[a-z=&/?]{0,8})?(#[a-z]{0,5})?",
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn data() -> impl Strategy<Value = (Option<Data>, Option<String>)> {
    let some = |ty: &'static str| Just(Some(ty.to_owned()));
    let bytes = || vec(any::<u8>(), 0..40).prop_map(|bytes| Some(Data::Bytes(bytes.into())));
    prop_oneof![
        (Just(None), prop_oneof![Just(None), some("application/json"), some("text/plain")]),
        (
            json().prop_map(|v| Some(Data::Json(v))),
            prop_oneof![Just(None), some("application/json"), some("text/x+json; a=b")]
        ),
        (
            any::<String>().prop_map(|t| Some(Data::Text(t))),
            prop_oneof![some("text/plain"), some("Application/XML; charset=UTF-8")]
        ),
        (bytes(), prop_oneof![Just(None), some("image/png"), some("text/plain; charset=latin1")]),
    ]
}

fn extensions() -> impl Strategy<Value = Vec<(String, Attribute)>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Attribute::Boolean),
        any::<i32>().prop_map(Attribute::Integer),
        text().prop_map(Attribute::String),
        Just(Attribute::String(String::new())),
    ];
    vec(("x[a-z0-9]{0,30}", value), 0..4)
}

/// Any event.
pub fn event() -> impl Strategy<Value = Event> {
    let time = (1970_u32..2100, 1_u32..=12, 1_u32..=28, 0_u32..24, "(\\.[0-9]{1,9})?", "(Z|[+-]0[0-9]:30)")
        .prop_map(|(y, m, d, h, fraction, zone)| format!("{y}-{m:02}-{d:02}T{h:02}:05:09{fraction}{zone}"));
    let optional = (
        proptest::option::of(text()),
        proptest::option::of(time),
        proptest::option::of("https://[a-z]{1,9}/[a-z]{0,9}"),
    );
    (text(), uri_reference(), text(), optional, extensions(), data()).prop_map(
        |(id, source, ty, (subject, time, schema), extensions, (data, content_type))| {
            let mut event = Event::new(id, source, ty);
            if let Some(subject) = subject {
                event = event.with_subject(subject);
            }
            if let Some(time) = time {
                event = event.with_time(time);
            }
            if let Some(schema) = schema {
                event = event.with_data_schema(schema);
            }
            for (name, value) in extensions {
                event = event.with_extension(name, value);
            }
            match data {
                Some(data) => event.with_data(data, content_type),
                None => event.with_content_type(content_type),
            }
        },
    )
}

proptest! {
    #[test]
    fn generated_events_pass_the_check(event in event()) {
        prop_assert_eq!(event.check(), Ok(()));
    }
}
