//! Units, and that no text makes the reader panic.

use std::time::Duration;

use evoke_core::manifest::units::{format_bytes, format_duration, parse_bytes, parse_duration};
use proptest::prelude::*;

use super::read;

#[test]
fn durations_are_read_with_units() {
    let ms = |text: &str| {
        parse_duration(text).map(|duration| duration.as_millis()).map_err(|error| error.to_string())
    };
    assert_eq!(ms("250ms"), Ok(250));
    assert_eq!(ms("10s"), Ok(10_000));
    assert_eq!(ms("1m30s"), Ok(90_000));
    assert_eq!(ms("1d2h3m4s5ms"), Ok(93_784_005));
    assert_eq!(ms("0s"), Ok(0));
    let wrong = [
        ("", "is empty"),
        ("10", "has no unit"),
        ("s", "must start with a whole number"),
        ("-1s", "must start with a whole number"),
        ("1.5s", "is no whole number with a unit"),
        ("10 s", "has the unit \" s\"; did you mean \"s\"?"),
        ("10S", "has the unit \"S\"; did you mean \"s\"?"),
        ("10sec", "has the unit \"sec\", which is not known"),
        ("30s1m", "has the unit m twice or after a smaller one"),
        ("1s1s", "has the unit s twice or after a smaller one"),
        ("99999999999999999999s", "has too large a number"),
        ("18446744073709551615d", "is longer than 584 years"),
    ];
    for (text, reason) in wrong {
        assert_eq!(ms(text), Err(format!("{text:?} {reason}")));
    }
}

#[test]
fn sizes_are_read_with_units() {
    let bytes = |text: &str| parse_bytes(text).map_err(|error| error.to_string());
    assert_eq!(bytes("128MiB"), Ok(128 << 20));
    assert_eq!(bytes("64MB"), Ok(64_000_000));
    assert_eq!(bytes("1GiB"), Ok(1 << 30));
    assert_eq!(bytes("7B"), Ok(7));
    let wrong = [
        ("128", "has no unit"),
        ("128M", "has the unit \"M\", which is not known"),
        ("128mb", "has the unit \"mb\"; did you mean \"MB\"?"),
        ("128mib", "has the unit \"mib\"; did you mean \"MiB\"?"),
        ("1GiB512MiB", "is more than one number with a unit"),
        ("18446744073709551615KB", "is larger than 16 EiB"),
    ];
    for (text, reason) in wrong {
        assert_eq!(bytes(text), Err(format!("{text:?} {reason}")));
    }
}

proptest! {
    #[test]
    fn durations_survive(secs in 0..=5_000_000_000_u64, nanos in prop_oneof![Just(0), 0..1_000_000_000_u32]) {
        let duration = Duration::new(secs, nanos);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn sizes_survive(number in any::<u64>(), shift in 0..64_u32) {
        let bytes = number >> shift << (shift / 2);
        prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
    }

    #[test]
    fn arbitrary_units_do_not_panic(text in "([0-9]{0,21}(ms|s|m|MiB|é|\\.| )?){0,4}") {
        let _ = parse_duration(&text);
        let _ = parse_bytes(&text);
    }

    #[test]
    fn arbitrary_files_do_not_panic(text in any::<String>()) {
        let _ = read(&text).map_err(|errors| super::rendered(&errors));
    }

    /// Lines that look like a manifest, in any order.
    #[test]
    fn arbitrary_lines_do_not_panic(lines in prop::collection::vec(prop_oneof![
        Just("evoke = \"1\"".to_owned()),
        "\\[(app|functions\\.[a-zé]{0,3}|functions\\.a\\.(on|retry|env))\\]",
        "\\[\\[(routes|functions\\.a\\.on)\\]\\]",
        "(name|source|timeout|memory|event|path|to|handler|runtime|[a-z]{1,5}) = (\"[ -!#-\\[\\]-~é]{0,12}\"|[0-9]{1,3}|true|\\[\\]|\\{ a = \"b\" \\})",
        "(methods|emits) = \\[(\"[A-Za-z.*]{0,4}\"(, 1)?)?\\]",
    ], 0..12)) {
        let _ = read(&lines.join("\n")).map_err(|errors| super::rendered(&errors));
    }
}
