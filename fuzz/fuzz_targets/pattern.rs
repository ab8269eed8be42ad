//! Any JSON: compiled or refused, matched without a panic.
#![no_main]

use evoke_core::event::Event;
use evoke_core::filter::pattern::Pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let event = Event::new("1", "/shop", "order.paid").with_json(value.clone());
    if let Ok(pattern) = Pattern::compile(value) {
        assert_eq!(pattern.explain(&event).is_none(), pattern.passes(&event));
    }
});
