//! When schedules fire.

use std::time::Duration;

use evoke_core::schedule::{Schedule, Timer};
use evoke_core::time::Timestamp;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn cron(expression: &str, zone: &str) -> Timer {
    Timer::cron(expression, zone).unwrap()
}

/// The next times after `from`.
fn times(timer: &Timer, from: &str, count: usize) -> Vec<String> {
    let next = std::iter::successors(timer.next(at(from)), |time| timer.next(*time));
    next.take(count).map(Timestamp::to_rfc3339).collect()
}

fn schedule(timer: Timer, catch_up: Duration) -> Schedule {
    Schedule { timer, event: "due".to_owned(), data: None, catch_up }
}

#[test]
fn expressions_have_five_or_six_fields() {
    let from = "2026-11-20T10:00:00Z";
    assert_eq!(
        times(&cron("*/15 * * * *", "UTC"), from, 2),
        ["2026-11-20T10:15:00Z", "2026-11-20T10:30:00Z"]
    );
    assert_eq!(
        times(&cron("*/20 * * * * *", "UTC"), from, 2),
        ["2026-11-20T10:00:20Z", "2026-11-20T10:00:40Z"]
    );
    let weekdays = cron("0 9 * * MON-FRI", "UTC");
    assert_eq!(times(&weekdays, from, 2), ["2026-11-23T09:00:00Z", "2026-11-24T09:00:00Z"]);
    assert_eq!(times(&cron("@daily", "UTC"), from, 1), ["2026-11-21T00:00:00Z"]);
    assert_eq!(times(&cron("0 0 L * *", "UTC"), from, 1), ["2026-11-30T00:00:00Z"]);
    assert_eq!(times(&cron("0 0 29 2 *", "UTC"), from, 1), ["2028-02-29T00:00:00Z"]);
}

#[test]
fn fields_mean_the_time_of_their_zone() {
    let zurich = cron("0 9 * * *", "europe/zurich");
    assert_eq!(times(&zurich, "2026-01-01T00:00:00Z", 1), ["2026-01-01T08:00:00Z"]);
    assert_eq!(times(&zurich, "2026-07-01T00:00:00Z", 1), ["2026-07-01T07:00:00Z"]);
    assert_eq!(zurich.to_string(), "0 9 * * * Europe/Zurich");
    assert_eq!(
        times(&cron("0 0 * * *", "Asia/Kolkata"), "2026-01-01T00:00:00Z", 1),
        ["2026-01-01T18:30:00Z"]
    );
}

/// 2026-03-29, 02:00 becomes 03:00: there is no 02:30.
#[test]
fn what_falls_into_a_gap_fires_right_after_it_and_intervals_leave_it_out() {
    let nightly = cron("30 2 * * *", "Europe/Zurich");
    let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
    assert_eq!(times(&nightly, "2026-03-27T12:00:00Z", 3), expected);
    let half_hours = cron("*/30 * * * *", "Europe/Zurich");
    let expected = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
    assert_eq!(times(&half_hours, "2026-03-29T00:00:00Z", 3), expected);
}

/// 2026-10-25, 03:00 becomes 02:00: there are two 02:30.
#[test]
fn what_there_is_twice_fires_once_and_intervals_fire_in_both_halves() {
    let nightly = cron("30 2 * * *", "Europe/Zurich");
    let expected = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
    assert_eq!(times(&nightly, "2026-10-23T12:00:00Z", 3), expected);
    let hourly = cron("30 * * * *", "Europe/Zurich");
    let expected = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"];
    assert_eq!(times(&hourly, "2026-10-25T00:00:00Z", 3), expected);
}

#[test]
fn intervals_fire_at_multiples_since_1970() {
    let every = |secs| Timer::Every(Duration::from_secs(secs));
    assert_eq!(
        times(&every(10), "2026-11-20T10:00:03Z", 2),
        ["2026-11-20T10:00:10Z", "2026-11-20T10:00:20Z"]
    );
    assert_eq!(times(&every(3600), "2026-11-20T10:00:00Z", 1), ["2026-11-20T11:00:00Z"]);
    assert_eq!(every(10).latest(at("2026-11-20T10:00:10Z")), Some(at("2026-11-20T10:00:10Z")));
    assert_eq!(every(90).to_string(), "every 1m30s");
}

#[test]
fn what_is_no_timer_says_why() {
    let wrong = |expression: &str, zone: &str| Timer::cron(expression, zone).unwrap_err().to_string();
    assert!(wrong("0 25 * * *", "UTC").starts_with("cron \"0 25 * * *\" is no cron expression: "));
    assert!(wrong("* * * *", "UTC").starts_with("cron \"* * * *\" is no cron expression: "));
    assert!(
        wrong("0 0 0 1 1 * 2030", "UTC").starts_with("cron \"0 0 0 1 1 * 2030\" is no cron expression: ")
    );
    assert_eq!(wrong("0 0 30 2 *", "UTC"), "cron \"0 0 30 2 *\" never fires: there is no such day");
    assert_eq!(wrong("0 0 * * *", "Europe/Zürich"), "timezone \"Europe/Zürich\" is not known");
}

#[test]
fn of_several_missed_runs_the_latest_is_due_within_its_time() {
    let hourly = |catch_up| schedule(cron("0 * * * *", "UTC"), Duration::from_secs(catch_up));
    let last = at("2026-11-20T08:00:00Z");
    let due = |catch_up, now| hourly(catch_up).due(last, at(now)).map(Timestamp::to_rfc3339);
    assert_eq!(due(3600, "2026-11-20T08:59:59Z"), None);
    assert_eq!(due(3600, "2026-11-20T12:20:00Z").as_deref(), Some("2026-11-20T12:00:00Z"));
    assert_eq!(due(600, "2026-11-20T12:20:00Z"), None);
    assert_eq!(due(600, "2026-11-20T12:05:00Z").as_deref(), Some("2026-11-20T12:00:00Z"));
    // A few seconds late is not missed.
    assert_eq!(due(0, "2026-11-20T09:00:04Z").as_deref(), Some("2026-11-20T09:00:00Z"));
    assert_eq!(due(0, "2026-11-20T09:00:14Z"), None);
}

#[test]
fn a_place_far_ahead_is_a_clock_that_was_wrong() {
    let now = at("2026-11-20T08:00:00Z");
    let (soon, far) = (at("2026-11-20T20:00:00Z"), at("2027-11-20T08:00:00Z"));
    assert_eq!(Schedule::resume(soon, now), soon);
    assert_eq!(Schedule::resume(far, now), now);
}

#[test]
fn json_is_read_back() {
    for timer in [cron("0 3 * * *", "Europe/Zurich"), Timer::Every(Duration::from_secs(10))] {
        let before = schedule(timer, Duration::from_secs(3600));
        let json = serde_json::to_value(&before).unwrap();
        assert_eq!(serde_json::from_value::<Schedule>(json).unwrap(), before);
    }
    let json = serde_json::to_value(schedule(cron("0 3 * * *", "UTC"), Duration::ZERO)).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "cron": "0 3 * * *", "timezone": "UTC", "event": "due", "catch_up": "0s" })
    );
}

const EXPRESSIONS: [&str; 8] = [
    "30 2 * * *",
    "*/7 * * * *",
    "*/30 * * * * *",
    "0 0 1 * *",
    "15 1-3 * * SUN",
    "0 2 * * *",
    "59 1 * * *",
    "0 3 25 10 *",
];

proptest! {
    /// Around both changes of clock: the times are in order, and looked for backwards they are the same.
    #[test]
    fn backwards_finds_what_forwards_found(
        expression in prop::sample::select(&EXPRESSIONS[..]),
        day in prop::sample::select(vec!["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-06-01T00:00:00Z"]),
        offset_us in 0..172_800_000_000_u64,
    ) {
        let timer = cron(expression, "Europe/Zurich");
        let now = Timestamp(at(day).0 + offset_us);
        let next = timer.next(now).unwrap();
        prop_assert!(next > now);
        prop_assert_eq!(timer.latest(next), Some(next));
        let latest = timer.latest(now).unwrap();
        prop_assert!(latest <= now);
        prop_assert_eq!(timer.next(latest), Some(next), "{} after {}", next, latest);
    }

    #[test]
    fn arbitrary_expressions_do_not_panic(text in "([0-9*/,LW#?+-]{1,4} ){3,6}[A-Z0-9*#]{1,5}") {
        if let Ok(timer) = Timer::cron(&text, "America/New_York") {
            prop_assert!(timer.next(Timestamp(0)).is_some());
        }
    }
}
