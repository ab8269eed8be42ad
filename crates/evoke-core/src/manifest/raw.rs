//! `evoke.toml` as people write it: right types, nothing checked beyond that. The doc comments are the descriptions
//! of the JSON Schema.

mod decorator;
mod experiment;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::table::{At, Located, Table};
pub use decorator::{Decorator, FieldChanges};
pub use experiment::{Compare, Copies, Experiment, Variant};

/// Keys the design knows and this version does not.
const LATER_TOP: &[&str] = &["buckets", "secrets", "state", "quotas"];
const LATER_FUNCTION: &[&str] =
    &["class", "state", "buckets", "schedule", "schedules", "decorators", "queue", "webhook"];
const LATER_ON: &[&str] = &["delay"];

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
    /// How the packages that functions need are installed.
    pub install: Option<Install>,
    /// How long events are kept.
    pub archive: Option<Archive>,
    /// Functions by name. A name starts with a lower-case letter and has at most 63 characters of a-z 0-9 - _.
    #[schemars(with = "Option<BTreeMap<String, Function>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub functions: Vec<(At<String>, Function)>,
    /// Which requests on the data listener start which function.
    #[schemars(with = "Option<Vec<Route>>")]
    pub routes: Vec<Route>,
    /// Decorators by name that need no code. Each has the key of one kind.
    #[schemars(with = "Option<BTreeMap<String, Decorator>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub decorators: Vec<(At<String>, Decorator)>,
    /// Experiments by name: several ways on at one place of a route. Names are as those of functions, and different from those of
    /// functions and decorators.
    #[schemars(with = "Option<BTreeMap<String, Experiment>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub experiments: Vec<(At<String>, Experiment)>,
    /// Queues by name. A message for one is an event of the type queue.NAME.
    #[schemars(with = "Option<BTreeMap<String, Queue>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub queues: Vec<(At<String>, Queue)>,
    /// Paths of the data listener where other services report what happened, each report signed.
    #[schemars(with = "Option<Vec<Webhook>>")]
    pub webhooks: Vec<Webhook>,
    /// Paths of the data listener where pages report what happened, as with navigator.sendBeacon.
    #[schemars(with = "Option<Vec<Beacon>>")]
    pub beacons: Vec<Beacon>,
    /// Hooks by name: endpoints that events are sent to, signed by Standard Webhooks. A hook and a function cannot have the same
    /// name.
    #[schemars(with = "Option<BTreeMap<String, Hook>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub hooks: Vec<(At<String>, Hook)>,
    /// Schedules by name: each publishes an event when it fires. Names are as those of functions.
    #[schemars(with = "Option<BTreeMap<String, Schedule>>", extend("propertyNames" = {"pattern": NAME_PATTERN}))]
    pub schedules: Vec<(At<String>, Schedule)>,
}

const NAME_PATTERN: &str = "^[a-z][a-z0-9_-]{0,62}$";
const DURATION_PATTERN: &str = "^([0-9]+(d|h|m|s|ms|us|ns))+$";
const RATE_PATTERN: &str = "^ *[0-9]+ */ *[smh] *$";
const PORTION_PATTERN: &str = "^[0-9]{1,3}([.][0-9]{1,4})?%$";
const SIZE_PATTERN: &str = "^[0-9]+(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$";

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

/// How the packages of requirements.txt and package.json are installed.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Install {
    /// Whether code of the packages may run while they are installed: install scripts of npm packages, the build of Python
    /// packages that come as source.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub scripts: Option<At<bool>>,
}

/// How long the app's events are kept after they were accepted. What a subscription still needs stays, however old it is.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Archive {
    /// How long, 1m to 3660d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "7d", "examples" = ["7d", "30d"]))]
    pub keep: Option<At<String>>,
    /// Bytes of all of them at most, 1MiB to 1TiB; above it the oldest go. No limit when left out.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["1GiB"]))]
    pub bytes: Option<At<String>>,
    /// What differs for events of some types. Of several rules that match a type the exact one counts, else the longest.
    #[schemars(with = "Option<Vec<ArchiveType>>")]
    pub types: Vec<ArchiveType>,
}

/// How long events of some types are kept.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ArchiveType {
    /// An event type, or a prefix of types ending in *.
    #[schemars(rename = "type", required, extend("examples" = ["com.shop.page.*"]))]
    pub ty: Option<At<String>>,
    /// How long, 1m to 3660d. As the app says when left out.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["1h"]))]
    pub keep: Option<At<String>>,
    /// Bytes of all events of these types at most, 1MiB to 1TiB; above it the oldest go.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["100MiB"]))]
    pub bytes: Option<At<String>>,
    /// Whether they go also while a subscription needs them: what was not delivered by then never is, and its run says so.
    #[schemars(extend("default" = false))]
    pub even_if_needed: Option<At<bool>>,
}

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

/// A queue: what is sent to it is taken by one function.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Queue {
    /// The function that takes its messages.
    #[schemars(required, regex(pattern = NAME_PATTERN), extend("examples" = ["mailer"]))]
    pub to: Option<At<String>>,
    /// How long a message is the function's once it got it; if it has not returned by then, or failed, the message becomes
    /// visible again.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "30s"))]
    pub visibility: Option<At<String>>,
    /// How often a message is received before it is a dead letter.
    #[schemars(range(min = 1, max = 100), extend("default" = 5))]
    pub max_receives: Option<At<i64>>,
    /// Messages being worked on at once at most, where that is less than the function's concurrency.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: Option<At<i64>>,
    /// Takes several messages in one call.
    pub batch: Option<Batch>,
}

/// When something fires, and the event it publishes then.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Schedule {
    /// A cron expression of 5 or 6 fields, `[second] minute hour day month weekday`. Either this or `every`.
    #[schemars(extend("examples" = ["0 3 * * *", "*/10 * * * * *", "0 9 * * MON-FRI"]))]
    pub cron: Option<At<String>>,
    /// The time zone that the fields of `cron` mean, by its IANA name.
    #[schemars(extend("default" = "UTC", "examples" = ["Europe/Zurich"]))]
    pub timezone: Option<At<String>>,
    /// An interval, 1s to 366d. It fires at multiples of it since 1970, UTC.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["10s", "1h"]))]
    pub every: Option<At<String>>,
    /// Type of the event. schedule.NAME when left out.
    #[schemars(extend("examples" = ["report_due"]))]
    pub event: Option<At<String>>,
    /// Data of the event.
    #[schemars(with = "Option<serde_json::Value>", extend("examples" = [{"kind": "full"}]))]
    pub data: Option<Located>,
    /// How long after its time the last run that was missed is still made up, 0s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "1d"))]
    pub catch_up: Option<At<String>>,
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

/// A path, and the function its requests go to.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["to"]}, {"required": ["redirect"]}]))]
pub struct Route {
    /// What it is called in `evoke routes`; its methods and path when left out.
    #[schemars(regex(pattern = NAME_PATTERN), extend("examples" = ["hello"]))]
    pub name: Option<At<String>>,
    /// The path. {id} takes one segment, a last {*rest} all further ones.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/orders/{id}", "/files/{*path}"]))]
    pub path: Option<At<String>>,
    /// Methods. All when left out.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["GET", "POST"]], "minItems" = 1))]
    pub methods: Option<At<Vec<At<String>>>>,
    /// The function, or an http(s):// URL: the server that requests are passed on to, or an experiment. This or redirect.
    #[schemars(extend("examples" = ["checkout", "https://legacy.example.com/api"]))]
    pub to: Option<At<String>>,
    /// Where clients are sent instead. This or to.
    pub redirect: Option<Redirect>,
    /// What is taken off the path before it is put behind that of the URL.
    #[schemars(regex(pattern = "^/"), extend("examples" = ["/legacy"]))]
    pub strip_prefix: Option<At<String>>,
    /// For a URL: which Host the server is sent, its own (upstream) or the one the client asked for (client).
    #[schemars(extend("enum" = ["upstream", "client"], "default" = "upstream"))]
    pub host: Option<At<String>>,
    /// For a URL: how long connecting may take, 1ms to 10s.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5s"))]
    pub connect_timeout: Option<At<String>>,
    /// For a URL: how long the server may take to begin its answer, 1ms to 15m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "30s"))]
    pub timeout: Option<At<String>>,
    /// For a URL: how long an answer that has begun, or a WebSocket, may be silent, 1s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub idle_timeout: Option<At<String>>,
    /// For a URL: how long all of it may take, 1ms to 1d. No limit when left out.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["1h"]))]
    pub total_timeout: Option<At<String>>,
    /// For a URL: how often a request is tried again when that is safe, 0 to 5.
    #[schemars(range(min = 0, max = 5), extend("default" = 1))]
    pub retries: Option<At<i64>>,
    /// For a URL: requests at once, 1 to 1000; one more is refused.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 100))]
    pub concurrency: Option<At<i64>>,
    /// Which pages of other origins may read the answers; those of the app when left out.
    pub cors: Option<Cors>,
    /// What a request passes on its way there, and the answer on its way back, the outermost first: functions,
    /// decorators and experiments of the app.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["defaults", "validate"]], "maxItems" = 8))]
    pub decorators: Option<At<Vec<At<String>>>>,
}

/// Where clients are sent.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Redirect {
    /// An http(s):// URL or a path, with the parameters of the route's path.
    #[schemars(required, regex(pattern = "^(https?://|/)"), extend("examples" = ["https://www.example.com/orders/{id}"]))]
    pub to: Option<At<String>>,
    /// 301 or 308 for ever, 302 or 307 for now, 303 to be fetched with GET. 307 and 308 keep the method.
    #[schemars(extend("enum" = [301, 302, 303, 307, 308], "default" = 307))]
    pub status: Option<At<i64>>,
}

/// Which pages of other origins may read what a route answers.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cors {
    /// Origins whose pages may; * for all. Empty for none, where the app has some.
    #[schemars(required, with = "Option<Vec<String>>", extend("examples" = [["https://www.example.com"]]))]
    pub origins: Option<At<Vec<At<String>>>>,
    /// Methods that pages may use; those of the route when left out.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["GET", "POST"]]))]
    pub methods: Option<At<Vec<At<String>>>>,
    /// Header fields that pages may send; * for any.
    #[schemars(with = "Option<Vec<String>>", extend("default" = ["content-type"]))]
    pub headers: Option<At<Vec<At<String>>>>,
    /// Header fields of the answer that pages may read.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["x-total"]]))]
    pub expose: Option<At<Vec<At<String>>>>,
    /// Whether cookies and Authorization go along; never with origins = ["*"].
    #[schemars(extend("default" = false))]
    pub credentials: Option<At<bool>>,
    /// How long a browser may remember what it was told, 0s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "10m"))]
    pub max_age: Option<At<String>>,
}

/// A path where another service reports what happened; a report that is signed becomes an event.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Webhook {
    /// The path, without parameters.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/hooks/github"]))]
    pub path: Option<At<String>>,
    /// How reports are signed: github (X-Hub-Signature-256), standard (Standard Webhooks), stripe, hmac (HMAC-SHA256 of the
    /// body in a header field), or cloudevents (a bearer token; the body is a CloudEvent).
    #[schemars(required, extend("enum" = ["github", "standard", "stripe", "hmac", "cloudevents"]))]
    pub provider: Option<At<String>>,
    /// The secret's name, or several names while one replaces another; `evoke secrets set` sets them.
    #[schemars(required, with = "Option<OneOrMore>", extend("examples" = ["GITHUB_WEBHOOK", ["NEW", "OLD"]]))]
    pub secret: Option<At<Vec<At<String>>>>,
    /// Type of the events. {type} is what the service calls it.
    #[schemars(extend("examples" = ["github.{type}", "build_requested"]))]
    pub event: Option<At<String>>,
    /// Source of the events. /webhooks and the path when left out.
    pub source: Option<At<String>>,
    /// Where a report says its type: header:NAME, or members of the JSON body such as action or event.kind.
    #[schemars(rename = "type", extend("examples" = ["header:X-Event", "event.kind"]))]
    pub ty: Option<At<String>>,
    /// Where a report has its id: the same twice is one event.
    #[schemars(extend("examples" = ["header:X-Delivery", "id"]))]
    pub id: Option<At<String>>,
    /// Where the subject of the event is.
    #[schemars(extend("examples" = ["repository.full_name"]))]
    pub subject: Option<At<String>>,
    /// For hmac: the header field with the signature.
    #[schemars(extend("examples" = ["X-Signature"]))]
    pub header: Option<At<String>>,
    /// For hmac: how the signature is written.
    #[schemars(extend("enum" = ["hex", "base64"], "default" = "hex"))]
    pub encoding: Option<At<String>>,
    /// For hmac: what stands before the signature.
    #[schemars(extend("examples" = ["sha256="]))]
    pub prefix: Option<At<String>>,
    /// For standard and stripe: how far the time of a report may be from this server's clock, 1s to 1h.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub tolerance: Option<At<String>>,
    /// Bytes of a report at most, 1B to 6MiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "1MiB"))]
    pub max_body: Option<At<String>>,
    /// Origins that may send after the handshake of the CloudEvents webhook specification; * for all.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["eventemitter.example.com"]]))]
    pub origins: Option<At<Vec<At<String>>>>,
}

/// A path where pages of a web site report what happened; what they send becomes an event.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Beacon {
    /// The path, without parameters.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/beacons/clicks"]))]
    pub path: Option<At<String>>,
    /// Type of the events, always this one.
    #[schemars(required, extend("examples" = ["page_click"]))]
    pub event: Option<At<String>>,
    /// Source of the events. /beacons and the path when left out.
    pub source: Option<At<String>>,
    /// Origins whose pages may send; * for all, also for requests that name none.
    #[schemars(required, with = "Option<Vec<String>>", extend("examples" = [["https://www.example.com"]]))]
    pub origins: Option<At<Vec<At<String>>>>,
    /// Reports a minute from one address at most, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 60))]
    pub rate: Option<At<i64>>,
    /// Reports a minute from all addresses together at most, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 6_000))]
    pub rate_total: Option<At<i64>>,
    /// Bytes of a report at most, 1B to 64KiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "8KiB"))]
    pub max_body: Option<At<String>>,
}

/// An endpoint that events are sent to.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Hook {
    /// Where: https. http only leads to addresses that the operator opened with --egress-allow.
    #[schemars(required, regex(pattern = "^https?://"), extend("examples" = ["https://partner.example.com/hooks/shop"]))]
    pub url: Option<At<String>>,
    /// The name of the secret that signs, whsec_ and 24 to 64 bytes in base64, or several names while one replaces another: the
    /// newest first, one signature each. `evoke secrets set` sets them.
    #[schemars(required, with = "Option<OneOrMore>", extend("examples" = ["PARTNER_HOOK", ["NEW", "OLD"]]))]
    pub secret: Option<At<Vec<At<String>>>>,
    /// Header fields that go with each request.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("examples" = [{"X-Shop": "eu"}]))]
    pub headers: Vec<(At<String>, At<String>)>,
    /// Header fields whose values are secrets: the names of those.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("examples" = [{"Authorization": "PARTNER_TOKEN"}]))]
    pub secret_headers: Vec<(At<String>, At<String>)>,
    /// How an event travels: structured is one JSON object, binary the data as the body and the attributes as ce- header
    /// fields, which are not signed.
    #[schemars(extend("enum" = ["structured", "binary"], "default" = "structured"))]
    pub mode: Option<At<String>>,
    /// How long an answer may take, 1s to 1m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "20s"))]
    pub timeout: Option<At<String>>,
    /// Requests at once, at most.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    pub concurrency: Option<At<i64>>,
    /// How deliveries are tried again. By itself 10 attempts with the pauses of Standard Webhooks, over three days.
    pub retry: Option<Retry>,
    /// The events that are sent. At least one, unless the hook is a destination.
    #[schemars(with = "Option<Vec<Subscription>>")]
    pub on: Vec<Subscription>,
}

/// A text, or a list of texts.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl File {
    /// Reads the whole file.
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let file = Self {
            evoke: table.required_text("evoke", r#""1""#),
            app: table.required_table("app", App::read),
            install: table.table("install", "install", Install::read),
            archive: table.table("archive", "archive", Archive::read),
            functions: table.named_tables("functions", "function", Function::read),
            routes: table.tables("routes", "routes", |_, nth| format!("route {nth}"), Route::read),
            decorators: table.named_tables("decorators", "decorator", Decorator::read),
            experiments: table.named_tables("experiments", "experiment", Experiment::read),
            queues: table.named_tables("queues", "queue", Queue::read),
            webhooks: table.tables("webhooks", "webhooks", |_, nth| format!("webhook {nth}"), Webhook::read),
            beacons: table.tables("beacons", "beacons", |_, nth| format!("beacon {nth}"), Beacon::read),
            hooks: table.named_tables("hooks", "hook", Hook::read),
            schedules: table.named_tables("schedules", "schedule", Schedule::read),
        };
        table.finish(LATER_TOP);
        file
    }
}

impl App {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
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
    fn read(mut table: Table<'_, '_, '_>) -> Self {
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
    fn read(mut table: Table<'_, '_, '_>) -> Self {
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

impl Install {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let install = Self { scripts: table.flag("scripts", "true") };
        table.finish(&[]);
        install
    }
}

impl Archive {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let archive = Self {
            keep: table.text("keep", r#""7d""#),
            bytes: table.text("bytes", r#""1GiB""#),
            types: table.tables(
                "types",
                "archive.types",
                |_, nth| format!("archive: type {nth}"),
                ArchiveType::read,
            ),
        };
        table.finish(&[]);
        archive
    }
}

impl ArchiveType {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let rule = Self {
            ty: table.required_text("type", r#""com.shop.page.*""#),
            keep: table.text("keep", r#""1h""#),
            bytes: table.text("bytes", r#""100MiB""#),
            even_if_needed: table.flag("even_if_needed", "true"),
        };
        table.finish(&[]);
        rule
    }
}

impl Function {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
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

impl Subscription {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
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

impl Destination {
    fn of(table: &mut Table<'_, '_, '_>, key: &'static str) -> Option<Self> {
        let place = format!("{}: {key}", table.place);
        table.table(key, &place, Self::read)
    }

    fn read(mut table: Table<'_, '_, '_>) -> Self {
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

impl Schedule {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let schedule = Self {
            cron: table.text("cron", r#""0 3 * * *""#),
            timezone: table.text("timezone", r#""Europe/Zurich""#),
            every: table.text("every", r#""10s""#),
            event: table.text("event", r#""report_due""#),
            data: table.json("data"),
            catch_up: table.text("catch_up", r#""1h""#),
        };
        table.finish(&[]);
        schedule
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
        let redirect = format!("{}: redirect", table.place);
        let cors = format!("{}: cors", table.place);
        let route = Self {
            name: table.text("name", r#""hello""#),
            path: table.required_text("path", r#""/orders/{id}""#),
            methods: table.texts("methods", r#"["POST"]"#),
            to: table.text("to", r#""checkout""#),
            redirect: table.table("redirect", &redirect, Redirect::read),
            strip_prefix: table.text("strip_prefix", r#""/legacy""#),
            host: table.text("host", r#""client""#),
            connect_timeout: table.text("connect_timeout", r#""5s""#),
            timeout: table.text("timeout", r#""30s""#),
            idle_timeout: table.text("idle_timeout", r#""5m""#),
            total_timeout: table.text("total_timeout", r#""1h""#),
            retries: table.number("retries", "1"),
            concurrency: table.number("concurrency", "100"),
            cors: table.table("cors", &cors, Cors::read),
            decorators: table.texts("decorators", r#"["defaults", "validate"]"#),
        };
        if route.to.is_none() && route.redirect.is_none() {
            table.require(
                "to",
                r#"write to = "checkout", to = "https://…" or redirect = { to = "https://…" }"#,
            );
        }
        table.finish(&[]);
        route
    }
}

impl Route {
    /// The same without what is for upstreams.
    pub(super) fn bare(&self) -> Self {
        Self {
            strip_prefix: None,
            host: None,
            connect_timeout: None,
            timeout: None,
            idle_timeout: None,
            total_timeout: None,
            retries: None,
            concurrency: None,
            ..self.clone()
        }
    }
}

impl Redirect {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let redirect = Self {
            to: table.required_text("to", r#""https://www.example.com/orders/{id}""#),
            status: table.number("status", "308"),
        };
        table.finish(&[]);
        redirect
    }
}

impl Cors {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let cors = Self {
            origins: table.required_texts("origins", r#"["https://www.example.com"]"#),
            methods: table.texts("methods", r#"["GET", "POST"]"#),
            headers: table.texts("headers", r#"["content-type", "authorization"]"#),
            expose: table.texts("expose", r#"["x-total"]"#),
            credentials: table.flag("credentials", "true"),
            max_age: table.text("max_age", r#""10m""#),
        };
        table.finish(&[]);
        cors
    }
}

impl Webhook {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let webhook = Self {
            path: table.required_text("path", r#""/hooks/github""#),
            provider: table.required_text("provider", r#""github""#),
            secret: table.required_text_or_texts("secret", r#""GITHUB_WEBHOOK""#),
            event: table.text("event", r#""github.{type}""#),
            source: table.text("source", r#""/github""#),
            ty: table.text("type", r#""header:X-Event""#),
            id: table.text("id", r#""header:X-Delivery""#),
            subject: table.text("subject", r#""repository.full_name""#),
            header: table.text("header", r#""X-Signature""#),
            encoding: table.text("encoding", r#""hex""#),
            prefix: table.text("prefix", r#""sha256=""#),
            tolerance: table.text("tolerance", r#""5m""#),
            max_body: table.text("max_body", r#""1MiB""#),
            origins: table.texts("origins", r#"["eventemitter.example.com"]"#),
        };
        table.finish(&[]);
        webhook
    }
}

impl Hook {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let header = table.place.replacen("hook ", "hooks.", 1) + ".on";
        let retry = format!("{}: retry", table.place);
        let hook = Self {
            url: table.required_text("url", r#""https://partner.example.com/hooks/shop""#),
            secret: table.required_text_or_texts("secret", r#""PARTNER_HOOK""#),
            headers: table.text_map("headers", r#"{ X-Shop = "eu" }"#),
            secret_headers: table.text_map("secret_headers", r#"{ Authorization = "PARTNER_TOKEN" }"#),
            mode: table.text("mode", r#""binary""#),
            timeout: table.text("timeout", r#""20s""#),
            concurrency: table.number("concurrency", "10"),
            retry: table.table("retry", &retry, Retry::read),
            on: table.tables("on", &header, |hook, nth| format!("{hook}: on {nth}"), Subscription::read),
        };
        table.finish(&[]);
        hook
    }
}

impl Beacon {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let beacon = Self {
            path: table.required_text("path", r#""/beacons/clicks""#),
            event: table.required_text("event", r#""page_click""#),
            source: table.text("source", r#""/www""#),
            origins: table.required_texts("origins", r#"["https://www.example.com"]"#),
            rate: table.number("rate", "60"),
            rate_total: table.number("rate_total", "6000"),
            max_body: table.text("max_body", r#""8KiB""#),
        };
        table.finish(&[]);
        beacon
    }
}

impl Batch {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let batch =
            Self { size: table.required_number("size", "100"), window: table.text("window", r#""1s""#) };
        table.finish(&[]);
        batch
    }
}

impl Queue {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let batch = format!("{}: batch", table.place);
        let queue = Self {
            to: table.required_text("to", r#""mailer""#),
            visibility: table.text("visibility", r#""30s""#),
            max_receives: table.number("max_receives", "5"),
            concurrency: table.number("concurrency", "1"),
            batch: table.table("batch", &batch, Batch::read),
        };
        table.finish(&[]);
        queue
    }
}
