//! `evoke.toml` as people write it: right types, nothing checked beyond that. The doc comments are the descriptions
//! of the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::table::{At, Located, Table};

/// Keys the design knows and this version does not.
const LATER_TOP: &[&str] =
    &["schedules", "webhooks", "buckets", "queues", "secrets", "state", "decorators", "quotas"];
const LATER_FUNCTION: &[&str] = &[
    "class",
    "secrets",
    "state",
    "buckets",
    "schedule",
    "schedules",
    "decorators",
    "queue",
    "calls",
    "webhook",
];
const LATER_ON: &[&str] = &["order", "delay", "batch"];
const LATER_ROUTE: &[&str] = &["decorators", "variants", "shadow"];

/// The whole app: its functions, and the routes that lead to them.
#[derive(Debug, JsonSchema)]
#[schemars(title = "evoke.toml", deny_unknown_fields)]
pub struct File {
    /// Edition of this file.
    #[schemars(required, extend("const" = "1"))]
    pub evoke: Option<At<String>>,
    /// The app itself.
    #[schemars(required)]
    pub app: Option<App>,
    /// Functions by name. A name starts with a lower-case letter and has at most 63 characters of a-z 0-9 - _.
    #[schemars(with = "Option<BTreeMap<String, Function>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub functions: Vec<(At<String>, Function)>,
    /// Which requests on the data listener start which function.
    #[schemars(with = "Option<Vec<Route>>")]
    pub routes: Vec<Route>,
}

const NAME_PATTERN: &str = "^[a-z][a-z0-9_-]{0,62}$";
const DURATION_PATTERN: &str = "^([0-9]+(d|h|m|s|ms|us|ns))+$";
const SIZE_PATTERN: &str = "^[0-9]+(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$";

/// The app itself.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct App {
    /// The app's name, which is the namespace of its functions, routes and state.
    #[schemars(required, regex(pattern = NAME_PATTERN), extend("examples" = ["shop"]))]
    pub name: Option<At<String>>,
}

/// A function: a source, and how it is run.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Function {
    /// File or folder within the app's folder, relative to this file.
    #[schemars(required, extend("examples" = ["checkout.ts", "notify.py", "reports"]))]
    pub source: Option<At<String>>,
    /// What runs it. Follows from the source: `.js .mjs .cjs .ts .mts` or a folder with a package.json is node; `.py` or
    /// a folder with a requirements.txt or main.py is python.
    #[schemars(extend("enum" = ["node", "python"]))]
    pub runtime: Option<At<String>>,
    /// The export to call, when the usual one is not meant.
    #[schemars(regex(pattern = "^[A-Za-z_$][A-Za-z0-9_$]*$"), extend("examples" = ["on_event"]))]
    pub handler: Option<At<String>>,
    /// Limit of one attempt, 1ms to 15m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "10s", "examples" = ["250ms", "10s", "1m30s"]))]
    pub timeout: Option<At<String>>,
    /// Limit of one instance's memory, 16MiB to 4GiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "128MiB", "examples" = ["128MiB", "1GiB"]))]
    pub memory: Option<At<String>>,
    /// Instances, and so attempts at once, at most.
    #[schemars(range(min = 1, max = 1000), extend("default" = 10))]
    pub concurrency: Option<At<i64>>,
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
    /// Event types it may publish: exact, or a prefix ending in *.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["purchase_complete"]]))]
    pub emits: Option<At<Vec<At<String>>>>,
    /// Where it may connect to: host:port, with *.example.org for all names below one, or a range of addresses.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["smtp.example.com:25", "*.example.org:443"]]))]
    pub egress: Option<At<Vec<At<String>>>>,
    /// The events that start it.
    #[schemars(with = "Option<Vec<Subscription>>")]
    pub on: Vec<Subscription>,
    /// How asynchronous calls are tried again, and events too where their `on` entry does not say otherwise.
    pub retry: Option<Retry>,
}

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
}

/// How often and when to try again. After the last attempt comes the dead letter.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 100), extend("default" = 5))]
    pub attempts: Option<At<i64>>,
    /// How the pauses grow: exponential doubles them and takes a random part of that (full jitter), fixed keeps them.
    #[schemars(extend("enum" = ["exponential", "fixed"], "default" = "exponential"))]
    pub backoff: Option<At<String>>,
    /// The first pause, 1ms to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "1s"))]
    pub initial: Option<At<String>>,
    /// The longest pause, 1ms to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub max: Option<At<String>>,
}

/// A path, and the function its requests go to.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// The path. {id} takes one segment, a last {*rest} all further ones.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/orders/{id}", "/files/{*path}"]))]
    pub path: Option<At<String>>,
    /// Methods. All when left out.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["GET", "POST"]], "minItems" = 1))]
    pub methods: Option<At<Vec<At<String>>>>,
    /// The function.
    #[schemars(required, regex(pattern = NAME_PATTERN), extend("examples" = ["checkout"]))]
    pub to: Option<At<String>>,
}

impl File {
    /// Reads the whole file.
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let file = Self {
            evoke: table.required_text("evoke", r#""1""#),
            app: table.required_table("app", App::read),
            functions: table.named_tables("functions", "function", Function::read),
            routes: table.tables("routes", "routes", |_, nth| format!("route {nth}"), Route::read),
        };
        table.finish(LATER_TOP);
        file
    }
}

impl App {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let app = Self { name: table.required_text("name", r#""shop""#) };
        table.finish(&[]);
        app
    }
}

impl Function {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let header = table.place.replacen("function ", "functions.", 1) + ".on";
        let retry = format!("{}: retry", table.place);
        let function = Self {
            source: table.required_text("source", r#""checkout.ts""#),
            runtime: table.text("runtime", r#""node""#),
            handler: table.text("handler", r#""handler""#),
            timeout: table.text("timeout", r#""10s""#),
            memory: table.text("memory", r#""128MiB""#),
            concurrency: table.number("concurrency", "10"),
            preload: table.text("preload", r#""none""#),
            env: table.text_map("env", r#"{ CURRENCY = "EUR" }"#),
            emits: table.texts("emits", r#"["purchase_complete"]"#),
            egress: table.texts("egress", r#"["api.example.com:443"]"#),
            on: table.tables(
                "on",
                &header,
                |function, nth| format!("{function}: on {nth}"),
                Subscription::read,
            ),
            retry: table.table("retry", &retry, Retry::read),
        };
        table.finish(LATER_FUNCTION);
        function
    }
}

impl Subscription {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let retry = format!("{}: retry", table.place);
        let subscription = Self {
            event: table.required_text("event", r#""purchase_complete""#),
            filter: table.text("where", r#""subject LIKE 'order-%'""#),
            pattern: table.json("pattern"),
            retry: table.table("retry", &retry, Retry::read),
            timeout: table.text("timeout", r#""10s""#),
        };
        table.finish(LATER_ON);
        subscription
    }
}

impl Retry {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
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

impl Route {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let route = Self {
            path: table.required_text("path", r#""/orders/{id}""#),
            methods: table.texts("methods", r#"["POST"]"#),
            to: table.required_text("to", r#""checkout""#),
        };
        table.finish(LATER_ROUTE);
        route
    }
}
