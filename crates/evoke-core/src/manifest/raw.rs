//! `evoke.toml` as people write it: right types, nothing checked beyond that. The doc comments are the descriptions
//! of the JSON Schema.

mod app;
mod archive;
mod decorator;
mod experiment;
mod function;
mod hook;
mod report;
mod route;
mod subscription;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::table::{At, Located, Table};
pub use app::{App, Chain, Rollback};
pub use archive::{Archive, ArchiveType};
pub use decorator::{Decorator, FieldChanges};
pub use experiment::{Compare, Copies, Experiment, Variant};
pub use function::Function;
pub use hook::Hook;
pub use report::{Beacon, Webhook};
pub use route::{Cors, Redirect, Route};
pub use subscription::{Batch, Destination, Retry, Subscription};

/// Keys the design knows and this version does not.
const LATER_TOP: &[&str] = &["buckets", "secrets", "state", "quotas"];

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

/// How the packages of requirements.txt and package.json are installed.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Install {
    /// Whether code of the packages may run while they are installed: install scripts of npm packages, the build of Python
    /// packages that come as source.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub scripts: Option<At<bool>>,
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

impl Install {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let install = Self { scripts: table.flag("scripts", "true") };
        table.finish(&[]);
        install
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
