//! Filters that were made to be expensive are refused, or end within their limits.

use evoke_core::event::Event;
use evoke_core::filter::bounds::WORK_MAX;
use evoke_core::filter::cesql::{ErrorKind, Expression};
use evoke_core::filter::pattern::Pattern;
use evoke_core::filter::{Allowance, Decision};
use evoke_core::manifest::TypePattern;
use evoke_core::wait::Awaited;
use serde_json::{Value, json};

fn refused(text: &str) -> String {
    Expression::parse(text).unwrap_err().message
}

#[test]
fn a_long_expression_is_refused() {
    let long = format!("id = '{}'", "x".repeat(16 << 10));
    assert_eq!(refused(&long), "the expression has 16391 bytes, the limit is 16384");
    assert!(refused(&"(".repeat(100_000)).contains("the limit is 16384"));
}

#[test]
fn a_deep_expression_is_refused() {
    let deep = "the expression is nested deeper than the limit of 64 levels";
    let nested = |open: &str, times: usize, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    assert_eq!(refused(&nested("(", 8_000, "TRUE", ")")), deep);
    assert_eq!(refused(&nested("NOT ", 4_000, "TRUE", "")), deep);
    assert_eq!(refused(&nested("-", 16_000, "a", "")), deep);
    assert_eq!(refused(&nested("ABS(", 3_000, "1", ")")), deep);
    assert_eq!(refused(&nested("1 IN (", 2_000, "1", ")")), deep);
    assert_eq!(refused(&format!("a{}", " LIKE 'b'".repeat(1_000))), deep);
    // Neither alone is too deep.
    let tests = " IN (1)".repeat(40);
    assert_eq!(refused(&format!("((1{tests}){tests})")), deep);
    assert!(Expression::parse(&nested("(", 60, "TRUE", ")")).is_ok());
}

#[test]
fn a_long_chain_is_not_deep() {
    let chain = vec!["TRUE"; 1_600].join(" AND ");
    let expression = Expression::parse(&chain).unwrap();
    assert!(expression.passes(&Event::new("1", "/s", "t")));
    assert_eq!(expression.to_string(), chain);
    assert!(Expression::parse(&vec!["1"; 4_000].join(" - ")).is_ok());
}

#[test]
fn an_evaluation_ends_when_it_costs_too_much() {
    let event = |length: usize| Event::new("a".repeat(length), "/s", "t");
    let kind = |text: &str, event: &Event| {
        let expression = Expression::parse(text).unwrap();
        expression.evaluate(event).error.map(|error| error.kind)
    };
    // Without a wildcard for one character a piece is found in linear time.
    let linear = format!("id LIKE '%{}b%'", "a".repeat(4_000));
    assert_eq!(kind(&linear, &event(1 << 20)), None);
    let quadratic = format!("id LIKE '%{}b%'", "a_".repeat(4_000));
    assert_eq!(kind(&quadratic, &event(1 << 20)), Some(ErrorKind::Generic));
    assert_eq!(kind(&quadratic, &event(100)), None);
    let copies = format!("LENGTH(CONCAT({})) > 0", vec!["id"; 1_000].join(","));
    assert_eq!(kind(&copies, &event(1 << 20)), Some(ErrorKind::Generic));
    let delimiters = format!("LENGTH(CONCAT_WS(id{})) > 0", ",''".repeat(1_000));
    assert_eq!(kind(&delimiters, &event(1 << 20)), Some(ErrorKind::Generic));
    let comparisons = vec!["id = id"; 1_000].join(" AND ");
    assert_eq!(kind(&comparisons, &event(1 << 20)), Some(ErrorKind::Generic));
    assert_eq!(kind(&comparisons, &event(100)), None);
}

#[test]
fn a_large_or_deep_pattern_is_refused() {
    let refused = |value: Value| Pattern::compile(value).unwrap_err().message;
    let large = json!({ "data": { "a": vec!["x".repeat(100); 200] } });
    assert_eq!(refused(large), "the pattern has 20616 bytes as JSON, the limit is 16384");
    let deep = (0..100).fold(json!(["x"]), |inner, _| json!({ "a": inner }));
    assert!(refused(json!({ "data": deep })).contains("nested deeper than the limit of 64 levels"));
    let stars = json!({ "type": [{ "wildcard": "a*".repeat(17) }] });
    assert!(refused(stars).ends_with("has 17 *, the limit is 16"));
}

#[test]
fn a_match_that_costs_too_much_is_none_and_says_so() {
    let alternatives: Vec<_> = (0..1_000).collect();
    let pattern = Pattern::compile(json!({ "data": { "n": alternatives } })).unwrap();
    let data = json!({ "n": vec![-1; 100_000] });
    let event = Event::new("1", "/s", "t").with_json(data);
    assert!(!pattern.passes(&event));
    assert_eq!(pattern.explain(&event).unwrap().reason, "takes more work than a filter may");
}

#[test]
fn dear_filters_share_what_there_is_and_leave_cheap_ones_theirs() {
    let event = Event::new("a".repeat(1 << 16), "/s", "t");
    let dear = Expression::parse(&format!("id LIKE '%{}b%'", "a_".repeat(2_000))).unwrap();
    let cheap = Expression::parse("source = '/s' AND type LIKE 't%'").unwrap();
    let (mut shared, mut open) = (Allowance::new(WORK_MAX), 0);
    for _ in 0..1_000 {
        open += usize::from(dear.decide(&event, &mut shared) == Decision::Open);
        assert_eq!(cheap.decide(&event, &mut shared), Decision::Takes);
    }
    assert_eq!(open, 999, "the first used up all of it");
    // With all that one evaluation may have, it is an error of that filter, and so no.
    assert_eq!(dear.decide(&event, &mut Allowance::unlimited()), Decision::Leaves);
}

#[test]
fn what_one_filter_leaves_open_another_can_settle() {
    let dear = Expression::parse(&vec!["id = id"; 600].join(" AND ")).unwrap();
    let may_take = |id: &str| {
        let pattern = Pattern::compile(json!({ "id": [id] })).unwrap();
        let awaited = Awaited {
            event: TypePattern("t".to_owned()),
            filter: Some(dear.clone()),
            pattern: Some(pattern),
        };
        awaited.may_take(&Event::new("1", "/s", "t"), &mut Allowance::new(0))
    };
    assert!(may_take("1") && !may_take("2"));
}
