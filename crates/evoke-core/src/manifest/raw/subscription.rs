//! What starts a function or a hook as people write it: `on` entries, and what else says how a delivery goes and who is told of its end.

use schemars::JsonSchema;

use super::super::table::{At, Located, Table};
use super::{DURATION_PATTERN, NAME_PATTERN};

/// Keys the design knows and this version does not.
const LATER_ON: &[&str] = &["delay"];

/// Events that start the function, and how their delivery is tried.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Subscription {
    /// An event type, or a prefix of types ending in *.
    #[schemars(required, extend("examples" = ["purchase_complete", "user.*"]))]
    pub event: Option<At<String>>,
    /// Only those for which this is TRUE: a CESQL expression over their attributes.
    #[schemars(rename = "where", extend("examples" = ["subject LIKE 'order-%'"]))]
    pub filter: Option<At<String>>,
    /// Only those that match this: an EventBridge event pattern over attributes and data, as a table, or as JSON in a string.
    #[schemars(
        with = "Option<serde_json::Value>",
        extend("type" = ["object", "string"], "examples" = [{"data": {"total": [{"numeric": [">", 0]}]}}])
    )]
    pub pattern: Option<Located>,
    /// How often and when to try again. What is left out is as in the function's `retry`.
    pub retry: Option<Retry>,
    /// Limit of one attempt, where it differs from the function's.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["1m"]))]
    pub timeout: Option<At<String>>,
    /// What it is called, for pausing it and in lists. Its event when left out.
    #[schemars(extend("examples" = ["mail"]))]
    pub name: Option<At<String>>,
    /// Attempts at once at most, where that is less than the function's concurrency.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: Option<At<i64>>,
    /// Events with the same value here are delivered one after the other, in the order they were accepted: an attribute such
    /// as subject, or members of the data as in data.order.id.
    #[schemars(extend("examples" = ["subject", "data.order.id"]))]
    pub order: Option<At<String>>,
    /// Delivers several events in one call.
    pub batch: Option<Batch>,
    /// The first event it gets when it is deployed for the first time: now, beginning, a time by RFC 3339, or how long ago. Those of
    /// before are delivered first.
    #[schemars(extend("default" = "now", "examples" = ["beginning", "7d", "2026-11-21T00:00:00Z"]))]
    pub from: Option<At<String>>,
    /// Who is told of deliveries that were completed. Those of the function are for its asynchronous calls.
    pub on_success: Option<Destination>,
    /// Who is told of deliveries that were given up or cancelled.
    pub on_failure: Option<Destination>,
}

/// How many events make a call, and how long it waits for them.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Batch {
    /// Events of one call at most.
    #[schemars(required, range(min = 1, max = 1000), extend("examples" = [100]))]
    pub size: Option<At<i64>>,
    /// How long the first may wait for the others, 1ms to 5m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "1s"))]
    pub window: Option<At<String>>,
}

/// Who is told how asynchronous work ended: one of these.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["event"]}, {"required": ["function"]}, {"required": ["hook"]}]))]
pub struct Destination {
    /// Whoever is subscribed to events of this type. It need not be in emits.
    #[schemars(extend("examples" = ["report.ready"]))]
    pub event: Option<At<String>>,
    /// This function of the app, as an event.
    #[schemars(regex(pattern = NAME_PATTERN), extend("examples" = ["apologise"]))]
    pub function: Option<At<String>>,
    /// The endpoint of this hook of the app.
    #[schemars(regex(pattern = NAME_PATTERN), extend("examples" = ["partner"]))]
    pub hook: Option<At<String>>,
}

/// How often and when to try again. After the last attempt comes the dead letter.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 100), extend("default" = 5))]
    pub attempts: Option<At<i64>>,
    /// How the pauses grow: exponential doubles them and takes a random part of that (full jitter), fixed keeps them,
    /// standard_webhooks is the schedule of Standard Webhooks, from 5 s to 24 h.
    #[schemars(extend("enum" = ["exponential", "fixed", "standard_webhooks"], "default" = "exponential"))]
    pub backoff: Option<At<String>>,
    /// The first pause, 1ms to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "1s"))]
    pub initial: Option<At<String>>,
    /// The longest pause, 1ms to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub max: Option<At<String>>,
}

impl Subscription {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let batch = format!("{}: batch", table.place);
        let retry = format!("{}: retry", table.place);
        let subscription = Self {
            event: table.required_text("event", r#""purchase_complete""#),
            filter: table.text("where", r#""subject LIKE 'order-%'""#),
            pattern: table.json("pattern"),
            retry: table.table("retry", &retry, Retry::read),
            timeout: table.text("timeout", r#""10s""#),
            name: table.text("name", r#""mail""#),
            concurrency: table.number("concurrency", "1"),
            order: table.text("order", r#""subject""#),
            batch: table.table("batch", &batch, Batch::read),
            from: table.text("from", r#""beginning""#),
            on_success: Destination::of(&mut table, "on_success"),
            on_failure: Destination::of(&mut table, "on_failure"),
        };
        table.finish(LATER_ON);
        subscription
    }
}

impl Batch {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let batch =
            Self { size: table.required_number("size", "100"), window: table.text("window", r#""1s""#) };
        table.finish(&[]);
        batch
    }
}

impl Destination {
    pub(super) fn of(table: &mut Table<'_, '_, '_>, key: &'static str) -> Option<Self> {
        let place = format!("{}: {key}", table.place);
        table.table(key, &place, Self::read)
    }

    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let destination = Self {
            event: table.text("event", r#""report.ready""#),
            function: table.text("function", r#""apologise""#),
            hook: table.text("hook", r#""partner""#),
        };
        let given = [&destination.event, &destination.function, &destination.hook];
        // A misspelt key is one problem, not two.
        if given.iter().all(|one| one.is_none()) && table.is_read() {
            table.require("event", r#"write { event = "…" }, { function = "…" } or { hook = "…" }"#);
        }
        table.finish(&[]);
        destination
    }
}

impl Retry {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let retry = Self {
            attempts: table.number("attempts", "5"),
            backoff: table.text("backoff", r#""exponential""#),
            initial: table.text("initial", r#""1s""#),
            max: table.text("max", r#""5m""#),
        };
        table.finish(&[]);
        retry
    }
}
