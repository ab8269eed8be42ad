//! Why an event did not pass.

use evoke_core::filter::cesql::Expression;
use evoke_core::filter::pattern::Pattern;
use serde_json::{Value, json};

use super::order;

fn of_expression(text: &str) -> Value {
    serde_json::to_value(Expression::parse(text).unwrap().explain(&order())).unwrap()
}

fn of_pattern(pattern: Value) -> Value {
    serde_json::to_value(Pattern::compile(pattern).unwrap().explain(&order())).unwrap()
}

#[test]
fn the_clause_that_decided_is_named_with_the_values_it_saw() {
    let expected = json!({
        "cause": "where", "clause": "priority > 7", "reason": "is false",
        "values": [{ "name": "priority", "value": 5 }],
    });
    assert_eq!(of_expression("id LIKE 'order%' AND (vip AND priority > 7) AND missing"), expected);
    assert_eq!(of_expression("priority > 3"), Value::Null);
}

#[test]
fn of_alternatives_all_are_named() {
    let expected = json!({
        "cause": "where", "clause": "priority > 7 OR id = 'x'", "reason": "is false",
        "values": [{ "name": "id", "value": "order-7" }, { "name": "priority", "value": 5 }],
    });
    assert_eq!(of_expression("vip AND (priority > 7 OR id = 'x')"), expected);
}

#[test]
fn an_error_is_told_with_what_raised_it() {
    let explained = of_expression("vip AND UPPER(missing) = 'A'");
    let expected = json!({
        "cause": "where", "clause": "UPPER(missing) = 'A'", "reason": "missing is not an attribute of the event",
        "values": [{ "name": "missing" }],
    });
    assert_eq!(explained, expected);
    assert_eq!(
        of_expression("type = 5")["reason"],
        "type = 5 needs a value of type Integer, but has \"order.paid\""
    );
    assert_eq!(of_expression("hops")["reason"], "is of type String, which is neither true nor false");
}

#[test]
fn the_field_that_did_not_match_is_named_with_its_value() {
    let pattern = json!({ "type": ["order.paid"], "data": { "total": [{ "numeric": [">", 100] }] } });
    let expected = json!({
        "cause": "pattern", "clause": r#"data.total: [{"numeric":[">",100]}]"#, "reason": "does not match",
        "values": [{ "name": "data.total", "value": 42.5 }],
    });
    assert_eq!(of_pattern(pattern), expected);
    let absent = of_pattern(json!({ "data": { "customer": { "name": ["x"] } } }));
    assert_eq!(absent["values"], json!([{ "name": "data.customer.name" }]));
    let any = of_pattern(json!({ "$or": [{ "type": ["x"] }, { "data": { "currency": ["USD"] } }] }));
    let seen =
        json!([{ "name": "type", "value": "order.paid" }, { "name": "data.currency", "value": "EUR" }]);
    assert_eq!(
        (&any["clause"], &any["values"]),
        (&json!(r#"$or: [{"type":["x"]},{"data":{"currency":["USD"]}}]"#), &seen)
    );
    let items = of_pattern(json!({ "data": { "items": { "sku": ["a1"], "count": [3] } } }));
    assert_eq!(items["values"][0]["name"], "data.items");
}
