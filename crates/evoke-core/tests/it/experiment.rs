//! Whether two answers are the same.

use bytes::Bytes;
use evoke_core::experiment::compare::{Answer, Bodies, Compare, Compared, DIFFERENCES_MAX, compare};
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

fn answer(status: u16, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(media_type));
    Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Some(body.into()) }
}

fn json_answer(value: &Value) -> Answer {
    answer(200, "application/json", value.to_string())
}

fn told(compared: &Compared) -> Vec<String> {
    let text = |d: &evoke_core::experiment::compare::Difference| {
        format!("{}: {} / {}", d.what, d.answered, d.shadow)
    };
    compared.differences.iter().map(text).collect()
}

fn differences(rule: &Compare, one: &Value, other: &Value) -> Vec<String> {
    told(&compare(rule, &json_answer(one), &json_answer(other)))
}

#[test]
fn json_is_compared_by_its_values() {
    let rule = Compare::default();
    let one = answer(200, "application/json", r#"{"a":1,"b":[1,2.0]}"#);
    let other = answer(200, "application/json", "{ \"b\": [1, 2], \"a\": 1 }\n");
    assert_eq!(told(&compare(&rule, &one, &other)), Vec::<String>::new());
    let bytes = Compare { body: Bodies::Bytes, ..Compare::default() };
    assert_eq!(compare(&bytes, &one, &other).differences[0].what, "body");
    let one = json!({ "id": 1, "items": [{ "price": 5, "at": 1 }], "gone": null });
    let other = json!({ "id": 2, "items": [{ "price": 6, "at": 2 }], "more/": true });
    assert_eq!(
        differences(&rule, &one, &other),
        [
            "body /gone: null / absent",
            "body /id: 1 / 2",
            "body /items/0/at: 1 / 2",
            "body /items/0/price: 5 / 6",
            "body /more~1: null / true"
        ]
    );
    let ignore = ["/id", "/items/*/at", "/gone", "/more~1"].map(str::to_owned).to_vec();
    let rule = Compare { ignore, ..rule };
    assert_eq!(differences(&rule, &one, &other), ["body /items/0/price: 5 / 6"]);
}

#[test]
fn status_and_fields_are_compared_where_they_are_asked_for() {
    let mut rule =
        Compare { headers: vec!["content-type".to_owned(), "x-a".to_owned()], ..Compare::default() };
    let (one, mut other) = (answer(200, "text/plain", "hi"), answer(201, "text/html", "ho"));
    other.headers.append("x-a", HeaderValue::from_static("1"));
    other.headers.append("x-a", HeaderValue::from_static("2"));
    assert_eq!(
        told(&compare(&rule, &one, &other)),
        [
            "status: 200 / 201",
            "header content-type: text/plain / text/html",
            "header x-a:  / 1, 2",
            "body: hi / ho"
        ]
    );
    (rule.status, rule.headers, rule.body) = (false, Vec::new(), Bodies::Ignore);
    assert_eq!(told(&compare(&rule, &one, &other)), Vec::<String>::new());
}

#[test]
fn what_is_told_is_bounded_and_a_body_that_is_too_long_is_not_compared() {
    let rule = Compare::default();
    let (one, other) = (answer(200, "text/plain", "ü".repeat(1_000)), answer(200, "text/plain", "x"));
    let found = compare(&rule, &one, &other);
    assert_eq!(found.differences[0].answered.chars().count(), 121);
    let (many, none): (Value, Value) = ((0..100).collect(), (1..101).collect());
    assert_eq!(differences(&rule, &many, &none).len(), DIFFERENCES_MAX);
    let long = Answer { body: None, ..one.clone() };
    assert_eq!(compare(&rule, &long, &one), Compared { differences: Vec::new(), is_cut: true });
    let mut deep = (json!(1), json!(2));
    (0..100).for_each(|_| deep = (json!([deep.0]), json!([deep.1])));
    assert_eq!(differences(&rule, &deep.0, &deep.1).len(), 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z/~]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z/~]{1,2}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_difference_is_found_exactly_where_values_differ(one in any_json(), other in any_json()) {
        let rule = Compare::default();
        prop_assert_eq!(differences(&rule, &one, &one), Vec::<String>::new());
        prop_assert_eq!(differences(&rule, &one, &other).is_empty(), one == other);
        prop_assert_eq!(differences(&rule, &one, &other).len(), differences(&rule, &other, &one).len());
    }
}
