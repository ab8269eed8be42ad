//! `[functions.NAME]` as people write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{Chain, DURATION_PATTERN, Destination, RATE_PATTERN, Retry, SIZE_PATTERN, Subscription};

/// Keys the design knows and this version does not.
const LATER_FUNCTION: &[&str] =
    &["class", "state", "buckets", "schedule", "schedules", "decorators", "queue", "webhook"];

/// A function: a source, and how it is run.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Function {
    /// File or folder within the app's folder, relative to this file.
    #[schemars(required, extend("examples" = ["checkout.ts", "notify.py", "reports"]))]
    pub source: Option<At<String>>,
    /// What runs it. Follows from the source: `.js .mjs .cjs .ts .mts` or a folder with a package.json is node; `.py` or
    /// a folder with a requirements.txt or main.py is python; an executable named bootstrap, or a folder with one, is
    /// provided.
    #[schemars(extend("enum" = ["node", "python", "provided", "wasm"]))]
    pub runtime: Option<At<String>>,
    /// The export to call, when the usual one is not meant. For provided, what the bootstrap finds in `_HANDLER`.
    #[schemars(regex(pattern = r"^\S{1,128}$"), extend("examples" = ["on_event"]))]
    pub handler: Option<At<String>>,
    /// Limit of one attempt, 1ms to 15m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "10s", "examples" = ["250ms", "10s", "1m30s"]))]
    pub timeout: Option<At<String>>,
    /// Limit of one instance's memory, 16MiB to 4GiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "128MiB", "examples" = ["128MiB", "1GiB"]))]
    pub memory: Option<At<String>>,
    /// Attempts at once, at most.
    #[schemars(range(min = 1, max = 1000), extend("default" = 10))]
    pub concurrency: Option<At<i64>>,
    /// How often it may be started: so many times a second, minute or hour. Sync calls above it are refused with 429, events
    /// and asynchronous calls wait.
    #[schemars(regex(pattern = RATE_PATTERN), extend("examples" = ["100/s", "600/m", "1000/h"]))]
    pub rate: Option<At<String>>,
    /// How often at once after a quiet time; as often as in a second when left out. With rate only.
    #[schemars(range(min = 1, max = 1_000_000), extend("examples" = [20]))]
    pub burst: Option<At<i64>>,
    /// Sync calls that may wait to be let in, 0 to 10000; 1000 unless the server says otherwise. One more is refused with 429.
    #[schemars(range(min = 0, max = 10_000), extend("examples" = [100]))]
    pub waiting: Option<At<i64>>,
    /// How long each of them may, 1ms to 1m; 10s unless the server says otherwise.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["500ms", "10s"]))]
    pub max_wait: Option<At<String>>,
    /// What becomes of a sync call whose caller goes away: it is ended with everything it called, or finishes.
    #[schemars(extend("enum" = ["cancel", "finish"], "default" = "cancel"))]
    pub on_disconnect: Option<At<String>>,
    /// Attempts at once in one instance, at most. More than one needs a handler that can wait for several things: async in
    /// Python, any in Node.js.
    #[schemars(range(min = 1, max = 100), extend("default" = 1))]
    pub instance_concurrency: Option<At<i64>>,
    /// Instances that are kept also when there is nothing to do.
    #[schemars(range(min = 0, max = 1000), extend("default" = 0))]
    pub min_instances: Option<At<i64>>,
    /// How long an instance is kept with nothing to do, 1s to 1d; 1m unless the server says otherwise.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["10s", "15m"]))]
    pub idle: Option<At<String>>,
    /// Whether an instance is used again after an attempt. With false each attempt gets a fresh one.
    #[schemars(extend("default" = true))]
    pub reuse: Option<At<bool>>,
    /// What instances have in common before their first call: module loads the function once and forks instances from that
    /// process; with none each loads it itself.
    #[schemars(extend("enum" = ["module", "none"], "default" = "module"))]
    pub preload: Option<At<String>>,
    /// Environment variables. Names that start with EVOKE_ or AWS_ are Evoke's own.
    #[schemars(
        with = "Option<BTreeMap<String, String>>",
        extend("propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}, "examples" = [{"CURRENCY": "EUR"}])
    )]
    pub env: Vec<(At<String>, At<String>)>,
    /// Secrets of the app that it gets as environment variables of the same names; `evoke secrets set` sets them.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["SMTP_PASSWORD"]]))]
    pub secrets: Option<At<Vec<At<String>>>>,
    /// Event types it may publish: exact, or a prefix ending in *.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["purchase_complete"]]))]
    pub emits: Option<At<Vec<At<String>>>>,
    /// The functions of the app it may call; all when left out.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["price"]]))]
    pub calls: Option<At<Vec<At<String>>>>,
    /// Bounds of chains that hold for it instead of the app's.
    pub chain: Option<Chain>,
    /// Where it may connect to: host:port, with *.example.org for all names below one, or a range of addresses.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["smtp.example.com:25", "*.example.org:443"]]))]
    pub egress: Option<At<Vec<At<String>>>>,
    /// The events that start it.
    #[schemars(with = "Option<Vec<Subscription>>")]
    pub on: Vec<Subscription>,
    /// How asynchronous calls are tried again, and events too where their `on` entry does not say otherwise.
    pub retry: Option<Retry>,
    /// Who is told of asynchronous calls that were completed.
    pub on_success: Option<Destination>,
    /// Who is told of asynchronous calls that were given up or cancelled.
    pub on_failure: Option<Destination>,
}

impl Function {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let header = table.place.replacen("function ", "functions.", 1) + ".on";
        let retry = format!("{}: retry", table.place);
        let chain = format!("{}: chain", table.place);
        let function = Self {
            source: table.required_text("source", r#""checkout.ts""#),
            runtime: table.text("runtime", r#""node""#),
            handler: table.text("handler", r#""handler""#),
            timeout: table.text("timeout", r#""10s""#),
            memory: table.text("memory", r#""128MiB""#),
            concurrency: table.number("concurrency", "10"),
            rate: table.text("rate", r#""100/s""#),
            burst: table.number("burst", "20"),
            waiting: table.number("waiting", "100"),
            max_wait: table.text("max_wait", r#""500ms""#),
            on_disconnect: table.text("on_disconnect", r#""finish""#),
            instance_concurrency: table.number("instance_concurrency", "10"),
            min_instances: table.number("min_instances", "1"),
            idle: table.text("idle", r#""10m""#),
            reuse: table.flag("reuse", "false"),
            preload: table.text("preload", r#""none""#),
            env: table.text_map("env", r#"{ CURRENCY = "EUR" }"#),
            secrets: table.texts("secrets", r#"["SMTP_PASSWORD"]"#),
            emits: table.texts("emits", r#"["purchase_complete"]"#),
            calls: table.texts("calls", r#"["price"]"#),
            chain: table.table("chain", &chain, Chain::read),
            egress: table.texts("egress", r#"["api.example.com:443"]"#),
            on: table.tables(
                "on",
                &header,
                |function, nth| format!("{function}: on {nth}"),
                Subscription::read,
            ),
            retry: table.table("retry", &retry, Retry::read),
            on_success: Destination::of(&mut table, "on_success"),
            on_failure: Destination::of(&mut table, "on_failure"),
        };
        table.finish(LATER_FUNCTION);
        function
    }
}
