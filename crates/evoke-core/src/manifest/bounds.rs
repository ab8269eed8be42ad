//! What a manifest may ask for at most.

use std::time::Duration;

use super::Function;

/// Bytes of an `evoke.toml`.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The largest depth of chains, and number of re-entries, that may be asked for: a chain is kept with each of its runs.
pub const CHAIN_DEPTH_MAX: u32 = 256;
/// The most invocations that one start may be allowed to cause.
pub const CHAIN_INVOCATIONS_MAX: u32 = 10_000_000;
/// The shortest time a deployment may be watched for.
pub const ROLLBACK_WITHIN_MIN: Duration = Duration::from_secs(10);
/// The longest time a deployment may be watched for.
pub const ROLLBACK_WITHIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The fewest attempts that anything may be concluded of.
pub const ROLLBACK_MIN_MIN: i64 = 5;
/// The most attempts that may be waited for before anything is concluded.
pub const ROLLBACK_MIN_MAX: i64 = 100_000;
/// Functions of an app.
pub const FUNCTIONS_MAX: usize = 1_000;
/// Schedules of an app.
pub const SCHEDULES_MAX: usize = 100;
/// The shortest time events may be kept.
pub const KEEP_MIN: Duration = Duration::from_secs(60);
/// The longest time events may be kept.
pub const KEEP_MAX: Duration = Duration::from_secs(3_660 * 24 * 60 * 60);
/// The least bytes of events that an archive may be bound to.
pub const ARCHIVE_BYTES_MIN: u64 = 1 << 20;
/// The most bytes of events that an archive may be bound to.
pub const ARCHIVE_BYTES_MAX: u64 = 1 << 40;
/// Types an archive may have rules for.
pub const ARCHIVE_TYPES_MAX: usize = 100;
/// Bytes of the data of a schedule, as JSON.
pub const SCHEDULE_DATA_BYTES_MAX: usize = 64 << 10;
/// Routes of an app.
pub const ROUTES_MAX: usize = 1_000;
/// Decorators of a route. Each that is a function is one invocation more in the chain of what it leads to.
pub const DECORATORS_MAX: usize = 8;
/// Decorators of an app that need no code.
pub const BUILT_INS_MAX: usize = 100;
/// Experiments of an app.
pub const EXPERIMENTS_MAX: usize = 100;
/// Requests of an experiment whose copies may be under way.
pub const COPIES_MAX: u32 = 100;
/// The most bytes of a body that may be copied, or compared.
pub const COPIED_BODY_MAX: u64 = 4 << 20;
/// The shortest time for a copy, and the longest.
pub const COPY_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// See [`COPY_TIMEOUT_MIN`].
pub const COPY_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Header fields that are compared, and members of bodies that are not.
pub const COMPARED_MAX: usize = 50;
/// Header fields that a decorator changes.
pub const FIELD_CHANGES_MAX: usize = 64;
/// Passwords, tokens or keys of a decorator.
pub const CREDENTIALS_MAX: usize = 100;
/// The most bytes that a decorator may bound bodies to.
pub const DECORATED_BODY_MAX: u64 = 1 << 30;
/// Bytes of a JSON Schema. What it may cost to check a value by it is the engine's to bound.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Bytes of all JSON Schemas of an app together.
pub const SCHEMAS_BYTES_MAX: usize = 512 << 10;
/// The least memory of a cache.
pub const CACHE_BYTES_MIN: u64 = 64 << 10;
/// The most memory of a cache.
pub const CACHE_BYTES_MAX: u64 = 256 << 20;
/// The most requests of a rate.
pub const RATE_MAX: u32 = 1_000_000;
/// The shortest time of a rate.
pub const RATE_PER_MIN: Duration = Duration::from_secs(1);
/// The longest time of a rate.
pub const RATE_PER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of the URL of an upstream or a redirect.
pub const ROUTE_URL_BYTES_MAX: usize = 2_048;
/// The longest time that connecting to an upstream may take.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// How often a request to an upstream may be tried again.
pub const RETRIES_MAX: i64 = 5;
/// Methods or header fields that rules for other origins may name.
pub const CORS_NAMES_MAX: usize = 100;
/// How long a browser may remember what a preflight was answered.
pub const CORS_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Webhooks of an app.
pub const WEBHOOKS_MAX: usize = 100;
/// Secrets a function or a webhook may name.
pub const SECRETS_MAX: usize = 50;
/// The shortest tolerance of a webhook's time.
pub const TOLERANCE_MIN: Duration = Duration::from_secs(1);
/// The longest tolerance of a webhook's time.
pub const TOLERANCE_MAX: Duration = Duration::from_secs(60 * 60);
/// The largest body of a webhook that may be asked for.
pub const WEBHOOK_BYTES_MAX: u64 = 6 << 20;
/// Beacons of an app.
pub const BEACONS_MAX: usize = 100;
/// The largest body of a beacon that may be asked for.
pub const BEACON_BYTES_MAX: u64 = 64 << 10;
/// The most reports a minute a beacon may take.
pub const BEACON_RATE_MAX: u32 = 100_000;
/// Origins a webhook or a beacon may name.
pub const ORIGINS_MAX: usize = 100;
/// Methods of a route.
pub const METHODS_MAX: usize = 32;
/// `on` entries of a function, and patterns of its `emits`.
pub const PATTERNS_MAX: usize = 100;
/// Entries of a function's `egress`.
pub const EGRESS_MAX: usize = 100;
/// Different ports among them; each is a socket per instance.
pub const EGRESS_PORTS_MAX: usize = 32;
/// Variables of a function.
pub const ENV_MAX: usize = 200;
/// Bytes of all variables of a function, names and values.
pub const ENV_BYTES_MAX: usize = 64 << 10;
/// Characters of an event type or prefix.
pub const PATTERN_CHARS_MAX: usize = 256;
/// Bytes of a route's path.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Bytes of the path of a source.
pub const SOURCE_BYTES_MAX: usize = 1_024;
/// Bytes of the handler of a function of the runtime provided.
pub const HANDLER_BYTES_MAX: usize = 128;
/// Queues of an app.
pub const QUEUES_MAX: usize = 1_000;
/// Events of one call of a subscription with batches.
pub const BATCH_MAX: u32 = 1_000;
/// The shortest time a batch waits for more events.
pub const WINDOW_MIN: Duration = Duration::from_millis(1);
/// The longest time a batch waits for more events.
pub const WINDOW_MAX: Duration = Duration::from_secs(5 * 60);
/// Characters of a subscription's name.
pub const SUBSCRIPTION_CHARS_MAX: usize = 256;
/// The shortest limit of an attempt.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The longest limit of an attempt.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
/// The smallest memory of an instance.
pub const MEMORY_MIN: u64 = 16 << 20;
/// The largest memory of an instance.
pub const MEMORY_MAX: u64 = 4 << 30;
/// The highest concurrency of a function.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// The largest weight of an app.
pub const WEIGHT_MAX: u32 = 100;
/// The most attempts of an app at once that may be asked for.
pub const APP_CONCURRENCY_MAX: u32 = 100_000;
/// The most calls of a function or an app that may wait.
pub const WAITING_MAX: u32 = 10_000;
/// The most bytes of bodies of an app's calls that may wait.
pub const WAITING_BYTES_MAX: u64 = 1 << 40;
/// The shortest time a call may be allowed to wait, and the longest.
pub const MAX_WAIT_MIN: Duration = Duration::from_millis(1);
/// See [`MAX_WAIT_MIN`].
pub const MAX_WAIT_MAX: Duration = Duration::from_secs(60);
/// The most attempts at once in one instance.
pub const INSTANCE_CONCURRENCY_MAX: u32 = 100;
/// The shortest time an instance may be kept idle.
pub const IDLE_MIN: Duration = Duration::from_secs(1);
/// The longest time an instance may be kept idle.
pub const IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The most attempts a retry policy may ask for.
pub const ATTEMPTS_MAX: u32 = 100;
/// The shortest pause between attempts.
pub const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest pause between attempts.
pub const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Hooks of an app.
pub const HOOKS_MAX: usize = 100;
/// Header fields of a hook's requests.
pub const HOOK_HEADERS_MAX: usize = 32;
/// Bytes of the value of one of them.
pub const HOOK_HEADER_BYTES_MAX: usize = 4 << 10;
/// Secrets of a hook that sign.
pub const HOOK_SECRETS_MAX: usize = 5;
/// The longest time for an answer of a hook's endpoint, and the shortest.
pub const HOOK_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// See [`HOOK_TIMEOUT_MAX`].
pub const HOOK_TIMEOUT_MIN: Duration = Duration::from_secs(1);

impl Function {
    /// [`Function::timeout`] where the manifest gives none.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
    /// [`Function::memory_bytes`] where the manifest gives none.
    pub const MEMORY_DEFAULT: u64 = 128 << 20;
    /// [`Function::concurrency`] where the manifest gives none.
    pub const CONCURRENCY_DEFAULT: u32 = 10;
}
