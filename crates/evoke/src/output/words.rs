//! Times, durations, sizes and states in the few characters a person wants to read.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use evoke_core::time::Timestamp;

use super::shown;

/// What is not the point.
pub const FAINT: Style = Style::new().dimmed();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is under way, or needs a look.
pub const BUSY: Style = AnsiColor::Yellow.on_default();
/// A name.
pub const NAME: Style = Style::new().bold();

/// `text` in a style.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// What went well.
pub fn good(text: impl std::fmt::Display) -> String {
    styled(GOOD, text)
}

/// What did not.
pub fn bad(text: impl std::fmt::Display) -> String {
    styled(BAD, text)
}

/// What is not the point.
pub fn faint(text: impl std::fmt::Display) -> String {
    styled(FAINT, text)
}

/// How to show the state of a run, or the outcome of an attempt.
pub fn state_style(word: &str) -> Style {
    match word {
        "completed" => GOOD,
        "queued" | "running" => BUSY,
        _ => BAD,
    }
}

/// `340 µs`, `12.3 ms`, `1.20 s`, `3m 20s`, `2h 05m`, `4d 02h`.
pub fn duration(span: Duration) -> String {
    let (us, s) = (span.as_micros(), span.as_secs());
    match s {
        _ if us < 1_000 => format!("{us} µs"),
        _ if us < 1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        0..60 => format!("{:.2} s", span.as_secs_f64()),
        60..3_600 => format!("{}m {:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// How long ago: `now`, `12s`, `3m`, `2h`, `5d`; `in 12s` for what is to come.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let coarse = |span: Duration| match span.as_secs() {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    };
    if then > now.after(Duration::from_secs(1)) {
        return format!("in {}", coarse(then.since(now)));
    }
    match now.since(then) {
        span if span.as_secs() == 0 => "now".to_owned(),
        span => coarse(span),
    }
}

/// The time of day in UTC: `01:42:00.250`.
pub fn time_of_day(at: Timestamp) -> String {
    let ms = at.as_millis() % 86_400_000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

/// `128 MiB`, `1.5 KiB`, `17 B`.
pub fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// The first line of a text that somebody else wrote, cut at 160 characters.
pub fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(160).collect();
    let more = if cut.len() < text.trim_end().len() { "…" } else { "" };
    format!("{}{more}", shown::line(&cut))
}

/// `1 run`, `3 runs`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_that_matter() {
        let shown = [0, 340, 12_345, 999_999, 1_204_000, 200_000_000, 7_500_000_000, 352_800_000_000]
            .map(|us| duration(Duration::from_micros(us)));
        assert_eq!(shown, ["0 µs", "340 µs", "12.3 ms", "1000.0 ms", "1.20 s", "3m 20s", "2h 05m", "4d 02h"]);
    }

    #[test]
    fn ages_say_how_long_ago_and_how_long_until() {
        let now = Timestamp::from_millis(1_000_000_000);
        let ago = |s: u64| age(now.before(Duration::from_secs(s)), now);
        assert_eq!([ago(0), ago(59), ago(60), ago(7_200), ago(200_000)], ["now", "59s", "1m", "2h", "2d"]);
        assert_eq!(age(now.after(Duration::from_secs(12)), now), "in 12s");
    }

    #[test]
    fn sizes_keep_one_digit_unless_they_are_whole() {
        assert_eq!([size(17), size(1_536), size(128 << 20)], ["17 B", "1.5 KiB", "128 MiB"]);
    }
}
