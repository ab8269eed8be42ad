//! Every operator of event patterns.

use evoke_core::event::{Data, Event};
use evoke_core::filter::pattern::{Path, Pattern};
use serde_json::{Value, json};

use super::order;

fn passes(pattern: Value) -> bool {
    Pattern::compile(pattern).unwrap().passes(&order())
}

#[track_caller]
fn all(passing: &[Value], others: &[Value]) {
    for pattern in passing {
        assert!(passes(pattern.clone()), "{pattern} did not match");
    }
    for pattern in others {
        assert!(!passes(pattern.clone()), "{pattern} matched");
    }
}

/// A pattern for one field of the data.
fn data(field: &str, alternatives: Value) -> Value {
    json!({ "data": { field: alternatives } })
}

#[test]
fn a_field_has_one_of_its_values() {
    all(
        &[
            json!({ "type": ["order.paid"] }),
            json!({ "type": ["x", "order.paid"], "subject": ["order-7"] }),
            json!({ "priority": [5], "vip": [true], "specversion": ["1.0"] }),
            data("currency", json!(["USD", "EUR"])),
            data("express", json!([true])),
            data("coupon", json!([null])),
            data("note", json!([""])),
        ],
        &[
            json!({ "type": ["order"] }),
            json!({ "type": ["order.paid"], "subject": ["x"] }),
            json!({ "priority": ["5"] }),
            json!({ "dataschema": [""] }),
            data("coupon", json!([""])),
            data("missing", json!([null])),
            data("note", json!([null])),
            data("currency", json!(["eur"])),
        ],
    );
}

#[test]
fn numbers_are_compared_by_value() {
    all(
        &[
            data("total", json!([42.5])),
            data("total", json!([{ "numeric": ["=", 42.5] }])),
            data("total", json!([{ "numeric": [">", 42] }])),
            data("total", json!([{ "numeric": [">", 0, "<=", 42.5] }])),
            json!({ "priority": [5.0] }),
            json!({ "priority": [{ "numeric": ["<", 6] }] }),
        ],
        &[
            data("total", json!([{ "numeric": [">", 42.5] }])),
            data("total", json!([{ "numeric": [">=", 0, "<", 42.5] }])),
            data("currency", json!([{ "numeric": [">", 0] }])),
            json!({ "hops": [{ "numeric": [">", 0] }] }),
        ],
    );
    let number = |wanted: u64, found: u64| {
        let event = Event::new("1", "/s", "t").with_json(json!({ "n": found }));
        Pattern::compile(data("n", json!([wanted]))).unwrap().passes(&event)
    };
    assert!(number(u64::MAX, u64::MAX) && !number(u64::MAX, u64::MAX - 1));
}

#[test]
fn texts_are_matched_in_parts() {
    all(
        &[
            json!({ "type": [{ "prefix": "order." }] }),
            json!({ "type": [{ "suffix": ".paid" }] }),
            json!({ "type": [{ "prefix": "" }] }),
            json!({ "region": [{ "equals-ignore-case": "EU-central" }] }),
            json!({ "region": [{ "prefix": { "equals-ignore-case": "EU-" } }] }),
            json!({ "region": [{ "suffix": { "equals-ignore-case": "CENTRAL" } }] }),
            json!({ "source": [{ "wildcard": "https://*/orders" }] }),
            json!({ "source": [{ "wildcard": "*shop*" }] }),
            json!({ "id": [{ "wildcard": "order-7" }] }),
        ],
        &[
            json!({ "type": [{ "prefix": "Order" }] }),
            json!({ "type": [{ "suffix": "order" }] }),
            json!({ "priority": [{ "prefix": "5" }] }),
            json!({ "region": [{ "equals-ignore-case": "eu" }] }),
            json!({ "source": [{ "wildcard": "*://shop" }] }),
            json!({ "id": [{ "wildcard": "order-\\*" }] }),
        ],
    );
    let star = Event::new("a*b\\", "/s", "t");
    assert!(Pattern::compile(json!({ "id": [{ "wildcard": r"a\*b\\" }] })).unwrap().passes(&star));
}

#[test]
fn anything_but_needs_a_value_and_excludes_some() {
    all(
        &[
            data("currency", json!([{ "anything-but": "USD" }])),
            data("currency", json!([{ "anything-but": ["USD", "GBP"] }])),
            data("total", json!([{ "anything-but": 5 }])),
            data("total", json!([{ "anything-but": "5" }])),
            data("currency", json!([{ "anything-but": { "prefix": "U" } }])),
            data("currency", json!([{ "anything-but": { "prefix": ["U", "G"] } }])),
            data("currency", json!([{ "anything-but": { "suffix": "X" } }])),
            data("currency", json!([{ "anything-but": { "equals-ignore-case": ["usd", "gbp"] } }])),
            data("currency", json!([{ "anything-but": { "wildcard": "*S*" } }])),
            data("tags", json!([{ "anything-but": "gift" }])),
        ],
        &[
            data("missing", json!([{ "anything-but": "USD" }])),
            data("currency", json!([{ "anything-but": "EUR" }])),
            data("currency", json!([{ "anything-but": ["USD", "EUR"] }])),
            data("total", json!([{ "anything-but": [42.5] }])),
            data("currency", json!([{ "anything-but": { "prefix": "E" } }])),
            data("currency", json!([{ "anything-but": { "suffix": ["X", "R"] } }])),
            data("currency", json!([{ "anything-but": { "equals-ignore-case": "eur" } }])),
            data("currency", json!([{ "anything-but": { "wildcard": "E*R" } }])),
            data("tags", json!([{ "anything-but": ["gift", "new"] }])),
        ],
    );
}

#[test]
fn exists_is_about_the_member() {
    all(
        &[
            json!({ "subject": [{ "exists": true }], "dataschema": [{ "exists": false }] }),
            data("coupon", json!([{ "exists": true }])),
            data("items", json!([{ "exists": true }])),
            data("missing", json!([{ "exists": false }])),
            json!({ "data": { "a": { "b": [{ "exists": false }] } } }),
            data("missing", json!(["x", { "exists": false }])),
            json!({ "missing": [{ "exists": false }] }),
        ],
        &[
            data("missing", json!([{ "exists": true }])),
            data("coupon", json!([{ "exists": false }])),
            json!({ "subject": [{ "exists": false }] }),
        ],
    );
}

#[test]
fn addresses_are_in_a_range() {
    all(
        &[data("ip", json!([{ "cidr": "10.0.0.0/8" }])), data("ip", json!([{ "cidr": "10.1.2.3/32" }]))],
        &[
            data("ip", json!([{ "cidr": "192.168.0.0/16" }])),
            data("ip", json!([{ "cidr": "fd00::/8" }])),
            data("currency", json!([{ "cidr": "0.0.0.0/0" }])),
        ],
    );
}

#[test]
fn one_element_of_an_array_is_enough_and_matches_as_a_whole() {
    all(
        &[
            data("tags", json!(["new"])),
            data("tags", json!([{ "prefix": "gi" }])),
            json!({ "data": { "items": { "sku": ["b2"] } } }),
            json!({ "data": { "items": { "sku": ["b2"], "count": [{ "numeric": [">", 1] }] } } }),
            json!({ "data": { "empty": { "x": [{ "exists": false }] } } }),
        ],
        &[
            data("tags", json!(["old"])),
            data("empty", json!([{ "anything-but": "x" }])),
            json!({ "data": { "items": { "sku": ["a1"], "count": [3] } } }),
            json!({ "data": { "tags": { "sku": ["a1"] } } }),
        ],
    );
}

#[test]
fn or_has_alternatives_beside_what_must_match() {
    let either = |ty: &str, amount: i32| {
        json!({
            "type": [ty],
            "$or": [{ "subject": ["x"] }, { "data": { "total": [{ "numeric": [">", amount] }] } }],
        })
    };
    let within = json!({ "data": { "$or": [{ "currency": ["USD"] }, { "express": [true] }] } });
    all(&[either("order.paid", 40), within], &[either("order.paid", 50), either("x", 40)]);
}

#[test]
fn data_is_matched_where_it_is_json() {
    let wanted = |pattern: Value, event: &Event| Pattern::compile(pattern).unwrap().passes(event);
    let event = Event::new("1", "/s", "t");
    let scalar = event.clone().with_json(json!("x"));
    assert!(wanted(json!({ "data": ["x"] }), &scalar));
    let vendor =
        event.clone().with_data(Data::Json(json!({ "a": 1 })), Some("application/vnd.x+json".into()));
    assert!(wanted(data("a", json!([1])), &vendor));
    let text = event.clone().with_data(Data::Text("{\"a\":1}".into()), Some("text/plain".into()));
    assert!(!wanted(data("a", json!([1])), &text) && !wanted(json!({ "data": [{ "exists": true }] }), &text));
    assert!(!wanted(data("a", json!([1])), &event));
}

#[test]
fn what_is_no_pattern_says_where_and_why() {
    let wrong = [
        (json!([]), "a pattern must be an object, not an array"),
        (json!({}), "an object of a pattern must have a field"),
        (json!({ "type": "x" }), "type: must be an array of alternatives"),
        (json!({ "type": [] }), "type: an array without alternatives matches nothing"),
        (json!({ "type": [["x"]] }), "type[0]: an alternative cannot be an array"),
        (json!({ "type": ["x", { "prefx": "y" }] }), "type[1]: operator \"prefx\" is not known here"),
        (json!({ "type": [{ "prefix": 5 }] }), "type[0].prefix: prefix must be a string, not a number"),
        (
            json!({ "type": [{ "prefix": "a", "suffix": "b" }] }),
            "type[0]: an alternative must have one operator, this has 2",
        ),
        (
            json!({ "type": [{ "exists": "yes" }] }),
            "type[0].exists: exists must be true or false, not a string",
        ),
        (
            json!({ "type": { "a": ["x"] } }),
            "type: attribute type has no parts, its pattern must be an array",
        ),
        (json!({ "detail-type": ["x"] }), "detail-type: \"detail-type\" is neither an attribute nor data"),
        (
            json!({ "$or": [{ "detail": { "a": [1] } }] }),
            "$or[0].detail: attribute detail has no parts, its pattern must be an array",
        ),
        (json!({ "$or": [] }), "$or: $or must be an array of objects"),
        (json!({ "$or": ["x"] }), "$or[0]: $or must be an array of objects"),
        (
            data("a", json!([{ "numeric": [] }])),
            "data.a[0].numeric: numeric has 0 comparisons, it may have one or two",
        ),
        (
            data("a", json!([{ "numeric": [">"] }])),
            "data.a[0].numeric: numeric must have a comparison and a number, once or twice",
        ),
        (
            data("a", json!([{ "numeric": ["~", 1] }])),
            "data.a[0].numeric: numeric: \"~\" is none of < <= = >= >",
        ),
        (
            data("a", json!([{ "numeric": ["<", 1, ">", 0] }])),
            "data.a[0].numeric: numeric must have its lower bound first, then its upper",
        ),
        (
            data("a", json!([{ "numeric": [">", 5, "<", 5] }])),
            "data.a[0].numeric: numeric: no number is between 5 and 5",
        ),
        (
            data("a", json!([{ "wildcard": "a**" }])),
            "data.a[0].wildcard: wildcard \"a**\" has two * beside each other",
        ),
        (
            data("a", json!([{ "wildcard": "\\a" }])),
            "data.a[0].wildcard: wildcard \"\\\\a\" has a \\ before neither * nor \\",
        ),
        (
            data("a", json!([{ "anything-but": [] }])),
            "data.a[0].anything-but: an empty array excludes nothing",
        ),
        (
            data("a", json!([{ "anything-but": { "numeric": 1 } }])),
            "data.a[0].anything-but: operator \"numeric\" is not known here",
        ),
    ];
    for (pattern, message) in wrong {
        assert_eq!(Pattern::compile(pattern.clone()).unwrap_err().to_string(), message, "{pattern}");
    }
    let error = Pattern::compile(data("ip", json!(["x", { "cidr": "10.0.0.0/99" }]))).unwrap_err();
    assert_eq!(Path(&error.path).to_string(), "data.ip[1].cidr");
}
