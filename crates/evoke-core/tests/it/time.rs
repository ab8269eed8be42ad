//! Timestamps.

use std::time::Duration;

use evoke_core::time::Timestamp;
use proptest::prelude::*;

#[test]
fn rfc_3339_has_as_many_digits_as_needed() {
    assert_eq!(Timestamp(1_795_225_320_250_000).to_rfc3339(), "2026-11-21T01:42:00.25Z");
    assert_eq!(Timestamp(0).to_rfc3339(), "1970-01-01T00:00:00Z");
}

#[test]
fn rfc_3339_is_read_with_any_offset() {
    assert_eq!(
        Timestamp::parse_rfc3339("2026-11-21T02:42:00.25+01:00"),
        Some(Timestamp(1_795_225_320_250_000))
    );
    assert_eq!(Timestamp::parse_rfc3339("1969-12-31T23:59:59Z"), None, "before the epoch");
    assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
}

#[test]
fn arithmetic_saturates() {
    let end = Timestamp(u64::MAX);
    assert_eq!(end.after(Duration::MAX), end);
    assert_eq!(Timestamp(5).before(Duration::from_secs(1)), Timestamp(0));
    assert_eq!(Timestamp(5).since(end), Duration::ZERO);
    assert_eq!(Timestamp::from_millis(u64::MAX), end);
    assert!(!end.to_rfc3339().is_empty());
}

proptest! {
    #[test]
    fn timestamps_survive_rfc_3339(micros in 0..200_000_000_000_000_000_u64) {
        let at = Timestamp(micros);
        prop_assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Some(at));
    }
}
