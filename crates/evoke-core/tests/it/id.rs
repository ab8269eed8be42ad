//! Names and ids.

use evoke_core::id::{AppName, FunctionName, IdSource};
use evoke_core::time::Timestamp;
use proptest::prelude::*;

#[test]
fn names_are_lower_case_and_start_with_a_letter() {
    for name in ["a", "send-mail", "send_mail", "a1", &"x".repeat(63)] {
        assert_eq!(FunctionName::new(name).unwrap().as_str(), name);
    }
    let refused = |name: &str| AppName::new(name).unwrap_err().to_string();
    assert_eq!(refused(""), "app name \"\" is empty");
    assert_eq!(refused("Shop"), "app name \"Shop\" must start with a lower-case letter");
    assert_eq!(refused("1a"), "app name \"1a\" must start with a lower-case letter");
    assert_eq!(refused("a/b"), "app name \"a/b\" may only have lower-case letters, digits, - and _");
    assert_eq!(refused("aé"), "app name \"aé\" may only have lower-case letters, digits, - and _");
    assert!(refused(&"x".repeat(64)).ends_with("is longer than 63 characters"));
    assert!(refused(&"x".repeat(1_000_000)).len() < 200, "a long name is shortened in the message");
}

#[test]
fn names_are_checked_when_they_are_read() {
    assert!(serde_json::from_str::<AppName>("\"shop\"").is_ok());
    assert!(serde_json::from_str::<AppName>("\"../etc\"").is_err());
}

#[test]
fn same_seed_gives_same_ids() {
    let ids = |seed| {
        let mut ids = IdSource::seeded(seed);
        let now = Timestamp::from_millis(1_700_000_000_000);
        (ids.run(now), ids.event(now), ids.trace(), ids.span())
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
    let (run, event, trace, span) = ids(1);
    assert!(run.as_str().starts_with("run_") && run.as_str().len() == 30);
    assert!(event.starts_with("evt_"));
    assert_eq!((trace.len(), span.len()), (32, 16));
}

proptest! {
    #[test]
    fn later_ids_sort_after_earlier_ones(seed: u64, early in 0..1_u64 << 47, later in 1..1_u64 << 40) {
        let mut ids = IdSource::seeded(seed);
        let first = ids.run(Timestamp::from_millis(early));
        let second = ids.run(Timestamp::from_millis(early + later));
        prop_assert!(first < second);
    }
}
