//! The app as its `evoke.toml` describes it, resolved: every name checked, every default filled in, every unit applied.
//!
//! The rest of Evoke sees only these types. [`raw`] is the file as people write it; [`parse`] turns one into the other,
//! or says everything that is wrong with it. [`schema`] is for editors.

mod admission;
pub mod bounds;
mod chains;
mod destination;
mod literal;
mod problem;
pub mod raw;
mod resolve;
mod route;
mod schema;
mod start;
mod table;
pub mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::archive::Archive;
use crate::cors;
use crate::decorator::BuiltIn;
use crate::egress::AllowList;
use crate::event::{Data, Event};
use crate::experiment::Experiment;
use crate::filter::cesql::Expression;
use crate::filter::pattern::Pattern;
use crate::filter::{self, Allowance, Decision, Filtered};
use crate::hook::Hook;
use crate::id::{AppName, FunctionName, RevisionId, ScheduleName, SubscriptionName};
use crate::lifecycle;
use crate::retry::RetryPolicy;
use crate::rollout::Rollback;
use crate::schedule::Schedule;
use crate::secret::SecretName;
use crate::webhook::{Mapping, Scheme};

pub use admission::{Admission, OnDisconnect, Rate, Share};
pub use chains::{ChainBounds, Chains, Loops};
pub use destination::{Destination, Destinations, Fate};
pub(crate) use problem::did_you_mean;
pub use problem::{ManifestErrors, Problem, Span};
pub use resolve::parse;
pub use route::{Route, RouteTarget, UnclearRoute};
pub use schema::schema;
pub use start::Start;
pub use table::{At, Located, Place};

/// What lies at a path of the app's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// A whole app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name.
    pub app: AppName,
    /// The bounds of its chains, and what becomes of circles that can be seen in it.
    #[serde(default, skip_serializing_if = "Chains::is_default")]
    pub chains: Chains,
    /// Its part of the node.
    #[serde(default, skip_serializing_if = "Share::is_default")]
    pub share: Share,
    /// When a new version of it is taken back by itself.
    #[serde(default, skip_serializing_if = "Rollback::is_usual")]
    pub rollback: Rollback,
    /// How the packages that its functions need are installed.
    #[serde(default, skip_serializing_if = "Install::is_default")]
    pub install: Install,
    /// How long its events are kept.
    #[serde(default, skip_serializing_if = "Archive::is_empty")]
    pub archive: Archive,
    /// Its functions by name, and its hooks, which are functions that Evoke brings along: they have [`Function::hook`].
    pub functions: BTreeMap<FunctionName, Function>,
    /// Its decorators that need no code, by name. No function has the name of one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decorators: BTreeMap<FunctionName, BuiltIn>,
    /// Its experiments by name. No function and no decorator has the name of one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub experiments: BTreeMap<FunctionName, Experiment>,
    /// Its routes, in file order.
    pub routes: Vec<Route>,
    /// Its webhooks, in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
    /// Its beacons, in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beacons: Vec<Beacon>,
    /// Its schedules by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<ScheduleName, Schedule>,
}

impl Manifest {
    /// Who is subscribed to the type of this event: the function, which of its `on` entries it is (from 0), and that entry.
    /// [`Subscription::takes`] says whether it gets the event.
    pub fn subscribed<'m, 'e>(
        &'m self,
        event: &'e Event,
    ) -> impl Iterator<Item = (&'m FunctionName, u32, &'m Subscription)> + use<'m, 'e> {
        self.functions.iter().flat_map(move |(name, function)| {
            let numbered = (0_u32..).zip(&function.on);
            let named = numbered.filter(|(_, on)| on.event.matches(event.ty()));
            named.map(move |(index, on)| (name, index, on))
        })
    }

    /// Who gets this event.
    pub fn subscribers<'m, 'e>(
        &'m self,
        event: &'e Event,
    ) -> impl Iterator<Item = (&'m FunctionName, u32, &'m Subscription)> + use<'m, 'e> {
        self.subscribed(event).filter(|(_, _, on)| on.takes(event))
    }

    /// The revision of a function whose source is in the bundle with this digest, or `None` when there is no such function.
    pub fn revision_of(&self, function: &FunctionName, bundle_digest: &str) -> Option<RevisionId> {
        self.functions.get(function).map(|function| function.revision(bundle_digest))
    }
}

impl Manifest {
    /// Its hooks by name.
    pub fn hooks(&self) -> impl Iterator<Item = (&FunctionName, &Function, &Hook)> {
        self.functions.iter().filter_map(|(name, settings)| Some((name, settings, settings.hook.as_ref()?)))
    }
}

/// How packages are installed, those of a `requirements.txt` and those of a `package.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Install {
    /// Whether code of the packages may run while they are installed: install scripts of npm packages, the build of Python
    /// packages that come as source.
    #[serde(default)]
    pub scripts: bool,
}

impl Install {
    /// What was deployed before there was a choice stays as it was.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// File or folder, relative to the manifest, within the app's folder. Empty for a hook.
    pub source: PathBuf,
    /// What runs it; follows from the source.
    pub runtime: RuntimeKind,
    /// The export to call, when the usual one is not meant.
    #[serde(default)]
    pub handler: Option<String>,
    /// Limit of one attempt. Text with units in JSON, as in the manifest.
    #[serde(with = "units::duration_text")]
    pub timeout: Duration,
    /// Limit of one instance, bytes.
    pub memory_bytes: u64,
    /// Attempts at once, at most.
    pub concurrency: u32,
    /// Attempts at once in one instance; more than one only for handlers that can.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub instance_concurrency: u32,
    /// Instances that are there also when there is nothing to do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_instances: u32,
    /// How long an instance is kept with nothing to do, where it differs from the node's. Left out of JSON when it does not.
    #[serde(default, with = "units::optional_duration_text", skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// Whether an instance is used for more than one attempt.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reuse: bool,
    /// Whether an instance of a component serves one attempt after the other. What `reuse` is for processes has a cost to it here:
    /// the state that is left behind. So it is only where the manifest asks for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_instance: bool,
    /// What its instances have in common before their first call.
    #[serde(default, skip_serializing_if = "Preload::is_default")]
    pub preload: Preload,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Secrets that join its variables under their own names. Left out of JSON when empty, as `egress` is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// Event types it may publish: exact, or a prefix ending in `*`.
    pub emits: Vec<TypePattern>,
    /// The functions of the app it may call; all when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<FunctionName>>,
    /// Bounds of chains that hold for it instead of the app's.
    #[serde(default, skip_serializing_if = "ChainBounds::is_default")]
    pub chain: ChainBounds,
    /// Who may enter and when.
    #[serde(default, skip_serializing_if = "Admission::is_default")]
    pub admission: Admission,
    /// Where it may connect to. Left out of JSON when empty, so that a function without it keeps its revision.
    #[serde(default, skip_serializing_if = "AllowList::is_empty")]
    pub egress: AllowList,
    /// Its subscriptions.
    pub on: Vec<Subscription>,
    /// Retry policy of asynchronous calls.
    pub retry: RetryPolicy,
    /// Who is told how its asynchronous calls ended.
    #[serde(default, skip_serializing_if = "Destinations::is_none")]
    pub destinations: Destinations,
    /// Where its events are sent to, for a hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
}

// Settings at their default are left out of JSON: those from before they existed, and their revisions, stay as they were.

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_yes(flag: &bool) -> bool {
    *flag
}

impl Function {
    /// Instances at most: as many as its attempts at once need.
    pub const fn instances_max(&self) -> u32 {
        self.concurrency.div_ceil(self.instance_concurrency)
    }

    /// Whether `emits` names this event type.
    pub fn may_emit(&self, ty: &str) -> bool {
        self.emits.iter().any(|pattern| pattern.matches(ty))
    }

    /// Names source and settings together: the first 16 hex digits of SHA-256 over the bundle's digest, a newline, and
    /// the settings as JSON (members in the order of this struct, maps sorted).
    pub fn revision(&self, bundle_digest: &str) -> RevisionId {
        let settings = serde_json::to_vec(self).expect("settings have only string keys");
        let digest =
            Sha256::new().chain_update(bundle_digest).chain_update("\n").chain_update(settings).finalize();
        RevisionId::from_text(digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// What runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// Node.js, `.js .mjs .ts` or a folder with a `package.json`.
    Node,
    /// CPython, `.py` or a folder with a `main.py`.
    Python,
    /// An executable named `bootstrap`, or a folder with one, that speaks the AWS Lambda runtime API.
    Provided,
    /// A WebAssembly component, `.wasm`.
    Wasm,
    /// Nothing of the app's: events are sent to where a hook says.
    Hook,
}

impl RuntimeKind {
    /// As in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Provided => "provided",
            Self::Wasm => "wasm",
            Self::Hook => "hook",
        }
    }
}

/// What the instances of a function have in common before their first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preload {
    /// The function is loaded once, and instances are forked from that process, where that can be done.
    #[default]
    Module,
    /// Nothing: each instance loads the function itself.
    None,
}

impl Preload {
    /// Settings from before there was a choice, and their revisions, stay as they were.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which events start the function, and how delivery is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Event types that match.
    pub event: TypePattern,
    /// Only those for which this is true. Left out of JSON where there is none, as is the pattern, so that a function
    /// without them keeps its revision.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Expression>,
    /// Only those that match this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// How often and when to try again.
    pub retry: RetryPolicy,
    /// Limit of one attempt, where it differs from the function's.
    #[serde(default, with = "units::optional_duration_text")]
    pub timeout: Option<Duration>,
    /// What it is called where that is not its event: see [`Subscription::name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<SubscriptionName>,
    /// Attempts at once at most, where that is less than the function's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// What deliveries are kept in order by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderKey>,
    /// Several events in one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// The first event it gets, when it is new.
    #[serde(default, skip_serializing_if = "Start::is_now")]
    pub from: Start,
    /// Who is told how deliveries ended.
    #[serde(default, skip_serializing_if = "Destinations::is_none")]
    pub destinations: Destinations,
}

/// How many events make a call, and how long the first of them may wait for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Events at most.
    pub size: u32,
    /// Counted from when the first was accepted.
    #[serde(with = "units::duration_text")]
    pub window: Duration,
}

/// Where an event has what it is kept in order by: an attribute, or members of its data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderKey(pub String);

impl OrderKey {
    /// The key of `event`; `None` when it has none, and is kept in no order.
    pub fn of(&self, event: &Event) -> Option<String> {
        let Some(path) = self.0.strip_prefix("data.") else { return self.attribute(event) };
        let Some(Data::Json(data)) = event.data() else { return None };
        match path.split('.').try_fold(data, |at, name| at.get(name))? {
            serde_json::Value::Null => None,
            // With its quotes, so that "1" and 1 are two keys.
            value => Some(value.to_string()),
        }
    }

    fn attribute(&self, event: &Event) -> Option<String> {
        match self.0.as_str() {
            "id" => Some(event.id().to_owned()),
            "source" => Some(event.source().to_owned()),
            "type" => Some(event.ty().to_owned()),
            "subject" => event.subject().map(str::to_owned),
            name => event.extensions().get(name).map(ToString::to_string),
        }
    }
}

impl Subscription {
    /// What tells it from the other subscriptions of its function, across deployments.
    pub fn name(&self) -> SubscriptionName {
        self.named.clone().unwrap_or_else(|| SubscriptionName::from_text(self.event.0.as_str()))
    }

    /// Whether the event, whose type it names, passes both filters.
    pub fn takes(&self, event: &Event) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.passes(event))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.passes(event))
    }

    /// The same with what is left of `allowance`.
    pub fn decide(&self, event: &Event, allowance: &mut Allowance) -> Decision {
        filter::decide(self.filter.as_ref(), self.pattern.as_ref(), event, allowance)
    }

    /// Why it does not take the event, whose type it names, or `None` when it does.
    pub fn explain(&self, event: &Event) -> Option<Filtered> {
        let filtered = self.filter.as_ref().and_then(|filter| filter.explain(event));
        filtered.or_else(|| self.pattern.as_ref()?.explain(event))
    }
}

/// An event type, or a prefix of types ending in `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypePattern(pub String);

impl TypePattern {
    /// The one type that is meant, unless it is a prefix of several.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.ends_with('*')).then_some(self.0.as_str())
    }

    /// Whether `ty` is meant. The platform's own types are meant only where they are named: a catch-all is for the app's.
    pub fn matches(&self, ty: &str) -> bool {
        if lifecycle::is_own(ty) && !lifecycle::is_own(&self.0) {
            return false;
        }
        match self.0.strip_suffix('*') {
            Some(prefix) => ty.starts_with(prefix),
            None => ty == self.0,
        }
    }

    /// Checks what somebody wrote.
    pub fn parse(text: &str) -> Result<Self, TypePatternError> {
        let wrong = |reason, help| Err(TypePatternError { text: text.to_owned(), reason, help });
        if text.is_empty() {
            wrong("is empty", "write an event type, or * for all")
        } else if text.chars().count() > bounds::PATTERN_CHARS_MAX {
            wrong("is longer than 256 characters", "a prefix ending in * is enough")
        } else if text.strip_suffix('*').unwrap_or(text).contains('*') {
            wrong("has a * that is not its last character", "write an event type, or a prefix and a last *")
        } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            wrong("has white space or control characters", "write an event type such as purchase_complete")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Why a text is no type and no prefix of types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct TypePatternError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
    /// What would be right.
    pub help: &'static str,
}

/// Where another service reports what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The path, literal.
    pub path: String,
    /// How reports are signed.
    pub scheme: Scheme,
    /// The secrets any of which may have signed, the newest first.
    pub secrets: Vec<SecretName>,
    /// What the event is made of.
    pub mapping: Mapping,
    /// Bytes of a report at most.
    pub body_bytes: u64,
    /// Who may send after the handshake of the CloudEvents webhook specification; `*` is everybody.
    #[serde(default)]
    pub origins: Vec<String>,
}

impl Webhook {
    /// Whether `origin` may send.
    pub fn allows(&self, origin: &str) -> bool {
        cors::allows(&self.origins, origin)
    }
}

/// Where pages report what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The path, literal.
    pub path: String,
    /// Type of the events.
    pub event: String,
    /// Source of the events.
    pub source: String,
    /// Origins whose pages may send; `*` is everybody.
    pub origins: Vec<String>,
    /// Reports a minute from one address at most.
    pub rate: u32,
    /// Reports a minute at most.
    pub rate_total: u32,
    /// Bytes of a report at most.
    pub body_bytes: u64,
}

impl Beacon {
    /// Whether pages of `origin` may send; `None` is a request that names none, which only `*` lets in.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        cors::allows(&self.origins, origin.unwrap_or_default())
    }
}

/// Types of messages for queues begin with this; the queue's name follows.
pub const QUEUE_PREFIX: &str = "queue.";

impl Subscription {
    /// The name of the queue that it takes the messages of, if it is one for a queue.
    pub fn queue(&self) -> Option<&str> {
        self.event.0.strip_prefix(QUEUE_PREFIX)
    }
}

impl Manifest {
    /// Whether `ty` is the type of messages for a queue that the app does not have.
    pub fn is_unknown_queue(&self, ty: &str) -> bool {
        let declared =
            || self.functions.values().flat_map(|function| &function.on).any(|on| on.event.0 == ty);
        ty.starts_with(QUEUE_PREFIX) && !declared()
    }
}
