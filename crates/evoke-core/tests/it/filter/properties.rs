//! No text makes a parser or an evaluation panic, and what was printed reads as what was parsed.

use evoke_core::event::Event;
use evoke_core::filter::cesql::Expression;
use evoke_core::filter::pattern::{Exact, Pattern};
use evoke_core::filter::{Allowance, Decision};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::order;

/// Texts of expressions with every construct.
fn expression() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        "(TRUE|false|[+-]?[0-9]{1,10}|'[a-z%_ ]{0,4}'|\"[a-z']{0,4}\")",
        "(id|type|hops|vip|priority|flag|missing|EXISTS subject|EXISTS missing)",
        Just(r"'it\'s \\ \x'".to_owned()),
    ];
    atom.prop_recursive(5, 48, 4, |inner| {
        let operator = "(AND|OR|XOR|=|!=|<>|<|<=|>|>=|\\+|-|\\*|/|%)";
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            2 => inner.clone().prop_map(|a| format!("({a})")),
            1 => inner.clone().prop_map(|a| format!("NOT {a}")),
            1 => inner.clone().prop_map(|a| format!("-{a}")),
            1 => (inner.clone(), "(NOT )?", "[a%_]{0,5}").prop_map(|(a, not, p)| format!("{a} {not}LIKE '{p}'")),
            1 => (inner.clone(), "(NOT )?", prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(a, not, set)| format!("{a} {not}IN ({})", set.join(", "))),
            1 => ("(LENGTH|CONCAT|concat_ws|LEFT|SUBSTRING|ABS|INT|FOO)", prop::collection::vec(inner, 0..4))
                .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(","))),
        ]
    })
}

/// Patterns, most of them right.
fn pattern() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec!["", "order", "EUR", "gift", "*", "or*7", "\\*", "10.0.0.0/8", "é"]);
    let operand = prop_oneof![
        text.clone().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!([">", 1, "<", 50])),
        Just(json!(null)),
        prop::collection::vec(text.prop_map(Value::from), 0..3).prop_map(Value::from),
    ];
    let operator = prop::sample::select(vec![
        "prefix",
        "suffix",
        "anything-but",
        "numeric",
        "exists",
        "equals-ignore-case",
        "wildcard",
        "cidr",
        "x",
    ]);
    let alternative = prop_oneof![
        operand.clone(),
        (operator, operand).prop_map(|(operator, operand)| json!({ operator: operand })),
    ];
    let leaf = prop::collection::vec(alternative, 0..3).prop_map(Value::from);
    let field =
        prop::sample::select(vec!["data", "type", "subject", "total", "tags", "items", "sku", "vip", "$or"]);
    leaf.prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::hash_map(field.clone().prop_map(str::to_owned), inner.clone(), 1..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            prop::collection::vec(inner, 1..3).prop_map(Value::from),
        ]
    })
}

/// An alternative, and what it says of a value that is in no array.
fn simple() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["", "a", "ab", "b", "ba"]);
    prop_oneof![
        text().prop_map(Value::from),
        (-2..3).prop_map(Value::from),
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        text().prop_map(|text| json!({ "prefix": text })),
        text().prop_map(|text| json!({ "suffix": text })),
        prop::collection::vec(text(), 1..3).prop_map(|texts| json!({ "anything-but": texts })),
        (prop::sample::select(vec!["<", "<=", "=", ">=", ">"]), -2..3)
            .prop_map(|(operator, number)| json!({ "numeric": [operator, number] })),
        any::<bool>().prop_map(|exists| json!({ "exists": exists })),
    ]
}

fn found() -> impl Strategy<Value = Option<Value>> {
    let scalar = || {
        prop_oneof![
            prop::sample::select(vec!["", "a", "ab", "b", "bab"]).prop_map(Value::from),
            (-2..3).prop_map(Value::from),
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
        ]
    };
    prop::option::of(prop_oneof![scalar(), prop::collection::vec(scalar(), 0..3).prop_map(Value::from)])
}

/// What the description of the operators says, word for word.
fn should_match(alternatives: &[Value], found: Option<&Value>) -> bool {
    let values: Vec<&Value> = match found {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    };
    let of_value = |alternative: &Value, value: &Value| match alternative.as_object() {
        None => alternative == value,
        Some(operator) => {
            let (name, operand) = operator.iter().next().unwrap();
            match name.as_str() {
                "prefix" => value.as_str().is_some_and(|text| text.starts_with(operand.as_str().unwrap())),
                "suffix" => value.as_str().is_some_and(|text| text.ends_with(operand.as_str().unwrap())),
                "anything-but" => !operand.as_array().unwrap().contains(value),
                "numeric" => value.as_i64().is_some_and(|number| {
                    let limit = operand[1].as_i64().unwrap();
                    match operand[0].as_str().unwrap() {
                        "<" => number < limit,
                        "<=" => number <= limit,
                        "=" => number == limit,
                        ">=" => number >= limit,
                        _ => number > limit,
                    }
                }),
                _ => false,
            }
        }
    };
    alternatives.iter().any(|alternative| match alternative.get("exists").and_then(Value::as_bool) {
        Some(exists) => exists == found.is_some(),
        None => values.iter().any(|value| of_value(alternative, value)),
    })
}

proptest! {
    #[test]
    fn a_field_matches_as_the_operators_are_described(
        alternatives in prop::collection::vec(simple(), 1..4),
        found in found(),
    ) {
        let pattern = Pattern::compile(json!({ "data": { "field": alternatives } })).unwrap();
        let data = found.clone().map_or_else(|| json!({}), |value| json!({ "field": value }));
        let event = Event::new("1", "/s", "t").with_json(data);
        let expected = should_match(&alternatives, found.as_ref());
        prop_assert_eq!(pattern.passes(&event), expected, "{:?} and {:?}", alternatives, found);
    }

    /// What is looked up by its anchor would be missed otherwise.
    #[test]
    fn what_passes_has_what_the_anchor_names(alternatives in prop::collection::vec(simple(), 1..4), found in found()) {
        let pattern = Pattern::compile(json!({ "data": { "field": alternatives } })).unwrap();
        let data = found.map_or_else(|| json!({}), |value| json!({ "field": value }));
        let event = Event::new("1", "/s", "t").with_json(data);
        if let Some(anchor) = pattern.anchor().filter(|_| pattern.passes(&event)) {
            let there = Exact::values_at(&event, &anchor.path);
            prop_assert!(there.iter().any(|value| anchor.values.contains(value)), "{:?}", anchor);
        }
    }

    #[test]
    fn what_is_decided_is_what_would_have_come_out(text in expression(), value in pattern(), units in 0_u32..3_000) {
        let (event, mut allowance) = (order(), Allowance::new(units));
        if let Ok(expression) = Expression::parse(&text) {
            let decided = expression.decide(&event, &mut allowance);
            prop_assert_eq!(decided, if expression.passes(&event) { Decision::Takes } else { Decision::Leaves });
        }
        if let Ok(pattern) = Pattern::compile(value) {
            let decided = pattern.decide(&event, &mut allowance);
            prop_assert_eq!(decided, if pattern.passes(&event) { Decision::Takes } else { Decision::Leaves });
        }
    }

    #[test]
    fn printed_expressions_read_the_same(text in expression()) {
        let Ok(parsed) = Expression::parse(&text) else { return Ok(()) };
        let printed = parsed.to_string();
        let again = Expression::parse(&printed).map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
        prop_assert_eq!(again.to_string(), printed.clone());
        prop_assert_eq!(format!("{again:#}"), format!("{parsed:#}"), "{} and {}", text, printed);
        let full = Expression::parse(&format!("{parsed:#}")).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let event = order();
        let (a, b, c) = (parsed.evaluate(&event), again.evaluate(&event), full.evaluate(&event));
        prop_assert_eq!(&a.value, &b.value);
        prop_assert_eq!(&a.value, &c.value);
        let kind = |e: &evoke_core::filter::cesql::Evaluation<'_>| e.error.as_ref().map(|error| error.kind);
        prop_assert_eq!(kind(&a), kind(&b));
        prop_assert_eq!(kind(&a), kind(&c));
        if let Some(ty) = parsed.ty() {
            prop_assert_eq!(a.value.ty(), ty);
        }
        prop_assert_eq!(parsed.explain(&event).is_none(), parsed.passes(&event));
    }

    #[test]
    fn arbitrary_texts_do_not_panic(text in any::<String>()) {
        if let Ok(expression) = Expression::parse(&text) {
            expression.evaluate(&order());
        }
    }

    #[test]
    fn arbitrary_tokens_do_not_panic(text in "((a|1|'x'|\"|'|\\\\|\\(|\\)|,|NOT|AND|IN|LIKE|EXISTS|=|<|-|\\+|é|ABS\\(|f_) ?){0,24}") {
        match Expression::parse(&text) {
            Ok(expression) => { expression.explain(&order()); }
            Err(error) => {
                prop_assert!(text.get(error.span.range()).is_some(), "{error:?}");
                error.position(&text);
            }
        }
    }

    #[test]
    fn patterns_match_or_say_why(value in pattern()) {
        match Pattern::compile(value.clone()) {
            Ok(pattern) => {
                let event = order();
                prop_assert_eq!(pattern.explain(&event).is_none(), pattern.passes(&event));
                prop_assert_eq!(pattern.source(), &value);
            }
            Err(error) => prop_assert!(!error.message.is_empty()),
        }
    }
}
