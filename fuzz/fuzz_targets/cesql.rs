//! Any text: parsed, printed and read again as the same, evaluated without a panic.
#![no_main]

use evoke_core::event::{Attribute, Event};
use evoke_core::filter::cesql::Expression;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(expression) = Expression::parse(text) else { return };
    let printed = expression.to_string();
    // With its parentheses and spaces it may be longer than an expression may be.
    if let Ok(again) = Expression::parse(&printed) {
        assert_eq!(format!("{again:#}"), format!("{expression:#}"));
    } else {
        assert!(printed.len() > text.len(), "{printed}");
    }
    let event = Event::new("order-7", "/shop", "order.paid").with_extension("a", Attribute::Integer(5));
    assert_eq!(expression.explain(&event).is_none(), expression.passes(&event));
});
