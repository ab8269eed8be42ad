//! `[experiments.NAME]` as people write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{DURATION_PATTERN, NAME_PATTERN, Redirect, SIZE_PATTERN};

/// Several ways on at one place of a route. Its name stands where that of a decorator stands (each variant has decorators), or
/// as what a route leads to (each variant has to, or redirect).
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Experiment {
    /// What a client keeps its variant by: header:NAME, cookie:NAME, or cookie (one that Evoke sets). By chance for each request when
    /// left out.
    #[schemars(regex(pattern = "^(cookie|cookie:.+|header:.+)$"), extend("examples" = ["cookie", "header:X-User"]))]
    pub sticky: Option<At<String>>,
    /// The ways, by name: at most 16.
    #[schemars(required, with = "Option<BTreeMap<String, Variant>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub variants: Vec<(At<String>, Variant)>,
    /// How answers to copies are compared with those of clients.
    pub compare: Option<Compare>,
    /// Bounds of copies; what is over one is left out, and counted.
    pub copies: Option<Copies>,
}

/// One of the ways: which requests it gets (weight, or shadow), and what it is (decorators, to, or redirect).
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Variant {
    /// Its part of the requests: this of the sum of all weights, 0 to 1000000.
    #[schemars(range(min = 0, max = 1_000_000), extend("examples" = [90]))]
    pub weight: Option<At<i64>>,
    /// Instead of a weight: it gets copies of so many percent of the requests, 1 to 100, and its answers are compared and dropped.
    #[schemars(range(min = 1, max = 100), extend("examples" = [100]))]
    pub shadow: Option<At<i64>>,
    /// What requests pass, the outermost first: functions and decorators of the app. None: [].
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["greet"], []], "maxItems" = 8))]
    pub decorators: Option<At<Vec<At<String>>>>,
    /// A function, or an http(s):// URL.
    #[schemars(extend("examples" = ["checkout", "https://new.example.com/api"]))]
    pub to: Option<At<String>>,
    /// Where clients are sent instead.
    pub redirect: Option<Redirect>,
}

/// What of two answers has to be the same.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Compare {
    /// Whether the status has to be.
    #[schemars(extend("default" = true))]
    pub status: Option<At<bool>>,
    /// These header fields.
    #[schemars(with = "Option<Vec<String>>", extend("default" = ["Content-Type"]))]
    pub headers: Option<At<Vec<At<String>>>>,
    /// auto: as JSON values where both are JSON, else byte by byte. bytes: byte by byte. ignore: not at all.
    #[schemars(extend("enum" = ["auto", "bytes", "ignore"], "default" = "auto"))]
    pub body: Option<At<String>>,
    /// Members of JSON bodies that may differ, as JSON pointers in which * is any member.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["/id", "/items/*/created_at"]]))]
    pub ignore: Option<At<Vec<At<String>>>>,
}

/// Bounds of copies.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Copies {
    /// Requests whose copies are under way, 1 to 100.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    pub concurrency: Option<At<i64>>,
    /// Bytes of a body, of requests and of answers, up to 4MiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "256KiB"))]
    pub max_body: Option<At<String>>,
    /// How long the request's body may take to arrive, and then how long the answers may take, 100ms to 1m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "10s"))]
    pub timeout: Option<At<String>>,
}

impl Experiment {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let (compare, copies) = (format!("{}: compare", table.place), format!("{}: copies", table.place));
        table.require("variants", "write variants.NAME = { weight = 50, decorators = [] }");
        let kind = format!("{}: variant", table.place);
        let experiment = Self {
            sticky: table.text("sticky", r#""cookie""#),
            variants: table.named_tables("variants", &kind, Variant::read),
            compare: table.table("compare", &compare, Compare::read),
            copies: table.table("copies", &copies, Copies::read),
        };
        table.finish(&[]);
        experiment
    }
}

impl Variant {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let redirect = format!("{}: redirect", table.place);
        let variant = Self {
            weight: table.number("weight", "10"),
            shadow: table.number("shadow", "100"),
            decorators: table.texts("decorators", r#"["greet"]"#),
            to: table.text("to", r#""checkout""#),
            redirect: table.table("redirect", &redirect, Redirect::read),
        };
        table.finish(&[]);
        variant
    }
}

impl Compare {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let compare = Self {
            status: table.flag("status", "false"),
            headers: table.texts("headers", r#"["Content-Type"]"#),
            body: table.text("body", r#""bytes""#),
            ignore: table.texts("ignore", r#"["/id"]"#),
        };
        table.finish(&[]);
        compare
    }
}

impl Copies {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let copies = Self {
            concurrency: table.number("concurrency", "10"),
            max_body: table.text("max_body", r#""256KiB""#),
            timeout: table.text("timeout", r#""10s""#),
        };
        table.finish(&[]);
        copies
    }
}
