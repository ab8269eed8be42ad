//! No text makes a parser or an evaluation panic, and what was printed reads as what was parsed.

use evoke_core::filter::cesql::Expression;
use evoke_core::filter::pattern::Pattern;
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

proptest! {
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
