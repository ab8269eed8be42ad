//! Durations and sizes as text with units: `"1m30s"`, `"128MiB"`.

use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} {reason}")]
pub struct UnitError {
    /// The text as given, at most 40 characters of it.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
    /// What would be right.
    pub help: &'static str,
}

/// Units of time from the largest, in nanoseconds.
const TIME: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
const TIME_HELP: &str = r#"write it with the units d, h, m, s, ms: "250ms", "10s", "1m30s""#;

/// Units of size in bytes, in the order in which [`format_bytes`] tries them.
const SIZE: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];
const SIZE_HELP: &str = r#"write it with the units B, KiB, MiB, GiB (1024) or KB, MB, GB (1000): "128MiB""#;

/// Reads one or more whole numbers with units, the largest unit first and each at most once: `"10s"`, `"1m30s"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong =
        |reason: String| UnitError { value: text.chars().take(40).collect(), reason, help: TIME_HELP };
    let mut total = Duration::ZERO;
    let mut units = TIME.iter();
    let mut rest = text;
    loop {
        let (number, unit, after) = number_and_unit(rest).map_err(wrong)?;
        let Some((_, nanos)) = units.find(|(name, _)| *name == unit) else {
            return Err(wrong(match TIME.iter().any(|(name, _)| *name == unit) {
                true => format!("has the unit {unit} twice or after a smaller one"),
                false => unknown_unit(unit, &TIME),
            }));
        };
        total = number
            .checked_mul(*nanos)
            .and_then(|nanos| total.checked_add(Duration::from_nanos(nanos)))
            .ok_or_else(|| wrong("is longer than 584 years".to_owned()))?;
        if after.is_empty() {
            return Ok(total);
        }
        rest = after;
    }
}

/// Writes what [`parse_duration`] reads back to the same value.
pub fn format_duration(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in TIME {
        let count = nanos / u128::from(unit);
        nanos %= u128::from(unit);
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(name);
        }
    }
    text
}

/// Reads a whole number with a unit as a count of bytes: `"128MiB"`, `"64MB"`.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let wrong =
        |reason: String| UnitError { value: text.chars().take(40).collect(), reason, help: SIZE_HELP };
    let (number, unit, after) = number_and_unit(text).map_err(wrong)?;
    if !after.is_empty() {
        return Err(wrong("is more than one number with a unit".to_owned()));
    }
    let Some((_, bytes)) = SIZE.iter().find(|(name, _)| *name == unit) else {
        return Err(wrong(unknown_unit(unit, &SIZE)));
    };
    number.checked_mul(*bytes).ok_or_else(|| wrong("is larger than 16 EiB".to_owned()))
}

/// Writes what [`parse_bytes`] reads back to the same value, in the largest unit of which it is a whole number.
pub fn format_bytes(bytes: u64) -> String {
    let fits = |unit: u64| bytes >= unit && bytes.is_multiple_of(unit);
    let (name, unit) = SIZE.into_iter().find(|(_, unit)| fits(*unit)).unwrap_or(("B", 1));
    format!("{}{name}", bytes / unit)
}

/// Splits `12ms30us` into 12, `ms` and `30us`.
fn number_and_unit(text: &str) -> Result<(u64, &str, &str), String> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (unit, after) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if rest.starts_with('.') {
        return Err("is no whole number with a unit".to_owned());
    }
    if digits.is_empty() {
        return Err("must start with a whole number".to_owned());
    }
    if unit.is_empty() {
        return Err("has no unit".to_owned());
    }
    let number = digits.parse().map_err(|_| "has too large a number".to_owned())?;
    Ok((number, unit, after))
}

fn unknown_unit(unit: &str, known: &[(&'static str, u64)]) -> String {
    match known.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())) {
        Some((name, _)) => format!("has the unit {unit:?}; did you mean {name:?}?"),
        None => format!("has the unit {unit:?}, which is not known"),
    }
}

/// For `#[serde(with = …)]`: a [`Duration`] as text with units.
pub mod duration_text {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `"1m30s"`.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::format_duration(*duration))
    }

    /// Reads `"1m30s"`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        super::parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = …)]`: an optional [`Duration`] as text with units.
pub mod optional_duration_text {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `"1m30s"` or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration_text::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    /// Reads `"1m30s"` or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| super::parse_duration(&text)).transpose().map_err(D::Error::custom)
    }
}
