//! `[app]` as people write it: the app itself, and the bounds of its chains and versions.

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{Cors, DURATION_PATTERN, NAME_PATTERN, PORTION_PATTERN, SIZE_PATTERN};

/// The app itself.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct App {
    /// The app's name, which is the namespace of its functions, routes and state.
    #[schemars(required, regex(pattern = NAME_PATTERN), extend("examples" = ["shop"]))]
    pub name: Option<At<String>>,
    /// Which pages of other origins may read what the routes answer that do not say so themselves.
    pub cors: Option<Cors>,
    /// Bounds of its chains: functions that call each other, directly or by events.
    pub chain: Option<Chain>,
    /// What becomes of a deployment whose functions, as far as this file tells, can call each other in a circle.
    #[schemars(extend("enum" = ["warn", "deny", "allow"], "default" = "warn"))]
    pub loops: Option<At<String>>,
    /// How much of the node it gets beside other apps while there is not enough for all, 1 to 100.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    pub weight: Option<At<i64>>,
    /// Attempts of all its functions at once, at most. As many as the node has when left out.
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [200]))]
    pub concurrency: Option<At<i64>>,
    /// Sync calls of all its functions that may wait to be let in, 0 to 10000; one more is refused with 429.
    #[schemars(range(min = 0, max = 10_000), extend("examples" = [500]))]
    pub waiting: Option<At<i64>>,
    /// Bytes of the bodies of calls that wait.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["32MiB"]))]
    pub waiting_bytes: Option<At<String>>,
    /// When a new version is taken back by itself. Without it only a canary is, by the defaults.
    pub rollback: Option<Rollback>,
}

/// When a new version is taken back by itself: a canary for as long as it is one, a deployment within a time after it.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Rollback {
    /// Whether it is done at all.
    #[schemars(with = "Option<bool>", extend("default" = true))]
    pub automatic: Option<At<bool>>,
    /// The part of a function's attempts that may fail by its own doing, above 0% and below 100%. Answers below 500 are no errors.
    #[schemars(regex(pattern = PORTION_PATTERN), extend("default" = "5%"))]
    pub errors: Option<At<String>>,
    /// How long a deployment is watched, and how far back attempts count, 10s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub within: Option<At<String>>,
    /// Attempts of a function before anything is concluded of it, 5 to 100000.
    #[schemars(range(min = 5, max = 100_000), extend("default" = 20))]
    pub min: Option<At<i64>>,
}

/// How long a chain of calls and events may become before it is stopped as a loop.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Chain {
    /// Invocations that may lie before one, 1 to 256; 16 unless the server says otherwise.
    #[schemars(range(min = 1, max = 256), extend("examples" = [16]))]
    pub depth: Option<At<i64>>,
    /// How often a chain may come back to the same function, 0 to 256; 8 unless the server says otherwise.
    #[schemars(range(min = 0, max = 256), extend("examples" = [8]))]
    pub reentries: Option<At<i64>>,
    /// Invocations that one request or event from outside may cause in all, 1 to 10000000; 100000 unless the server says
    /// otherwise.
    #[schemars(range(min = 1, max = 10_000_000), extend("examples" = [100_000]))]
    pub invocations: Option<At<i64>>,
    /// Invocations within a minute that may come from outside by the same event type, or by requests, 1 to 10000000; for
    /// loops through services that strip what requests say of where they come from. Not bounded without it.
    #[schemars(range(min = 1, max = 10_000_000), extend("examples" = [600]))]
    pub rate: Option<At<i64>>,
}

impl App {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let app = Self {
            name: table.required_text("name", r#""shop""#),
            chain: table.table("chain", "app: chain", Chain::read),
            loops: table.text("loops", r#""deny""#),
            weight: table.number("weight", "10"),
            concurrency: table.number("concurrency", "200"),
            waiting: table.number("waiting", "500"),
            waiting_bytes: table.text("waiting_bytes", r#""32MiB""#),
            rollback: table.table("rollback", "app: rollback", Rollback::read),
            cors: table.table("cors", "app: cors", Cors::read),
        };
        table.finish(&[]);
        app
    }
}

impl Rollback {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let rollback = Self {
            automatic: table.flag("automatic", "false"),
            errors: table.text("errors", r#""5%""#),
            within: table.text("within", r#""5m""#),
            min: table.number("min", "20"),
        };
        table.finish(&[]);
        rollback
    }
}

impl Chain {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let chain = Self {
            depth: table.number("depth", "16"),
            reentries: table.number("reentries", "8"),
            invocations: table.number("invocations", "100000"),
            rate: table.number("rate", "600"),
        };
        table.finish(&[]);
        chain
    }
}
