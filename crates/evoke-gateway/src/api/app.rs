//! Apps, functions, revisions and deployments.

use std::collections::BTreeMap;
use std::path::PathBuf;

use evoke_core::id::{AppName, FunctionName, RevisionId};
use evoke_core::manifest::{self, RouteTarget, RuntimeKind};
use evoke_core::retry::{Backoff, RetryPolicy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Spent, Time};

/// `GET /v1/apps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppList {
    /// All apps, by name.
    pub apps: Vec<AppSummary>,
}

/// An app in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppSummary {
    /// Its name.
    #[schema(value_type = String)]
    pub name: AppName,
    /// 1 for its first deployment, then 2, …
    pub version: u64,
    /// When it was deployed last.
    pub deployed_at: Time,
    /// How many functions it has.
    pub functions: usize,
}

/// `GET /v1/apps/{app}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct App {
    /// Its name.
    #[schema(value_type = String)]
    pub name: AppName,
    /// 1 for its first deployment, then 2, …
    pub version: u64,
    /// When it was deployed last.
    pub deployed_at: Time,
    /// SHA-256 of its files' tar, lower-case hex.
    pub bundle: String,
    /// Its functions, by name.
    pub functions: Vec<Function>,
    /// Its routes, in the order of the manifest.
    pub routes: Vec<Route>,
}

/// Where requests on the data listener go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// What it is called: its name, or else its methods and path.
    #[serde(default)]
    pub id: String,
    /// `/orders/{id}`; a last `{*rest}` takes all further segments.
    pub path: String,
    /// Methods; empty means all.
    pub methods: Vec<String>,
    /// What answers there.
    #[serde(default)]
    pub kind: RouteKind,
    /// The function's name, the URL, or the experiment's name.
    pub to: String,
    /// What a request passes before, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decorators: Vec<String>,
}

/// What answers at a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// A function.
    #[default]
    Function,
    /// Another server.
    Upstream,
    /// Nobody: the client is sent elsewhere.
    Redirect,
    /// One of the variants of an experiment.
    Experiment,
}

impl From<&manifest::Route> for Route {
    fn from(route: &manifest::Route) -> Self {
        let kind = match &route.to {
            RouteTarget::Function(_) => RouteKind::Function,
            RouteTarget::Upstream(_) => RouteKind::Upstream,
            RouteTarget::Redirect(_) => RouteKind::Redirect,
            RouteTarget::Experiment { .. } => RouteKind::Experiment,
        };
        let decorators = route.decorators.iter().map(ToString::to_string).collect();
        let (id, path, methods) = (route.id(), route.path.clone(), route.methods.clone());
        Self { id, path, methods, kind, to: route.to.shown(), decorators }
    }
}

/// `GET /v1/apps/{app}/functions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionList {
    /// All functions of the app, by name.
    pub functions: Vec<Function>,
}

/// A function as it is deployed now, with what it does at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Function {
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Its name.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// Its current revision.
    #[schema(value_type = String)]
    pub revision: RevisionId,
    /// What runs it.
    #[schema(value_type = String, example = "node")]
    pub runtime: RuntimeKind,
    /// File or folder, relative to the manifest.
    #[schema(value_type = String)]
    pub source: PathBuf,
    /// The export that is called, when the usual one is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// Limit of one attempt.
    pub timeout_ms: u64,
    /// Limit of one instance.
    pub memory_bytes: u64,
    /// Attempts at once, at most.
    pub concurrency: u32,
    /// Attempts at once in one instance, at most.
    pub instance_concurrency: u32,
    /// Instances that are kept also when there is nothing to do.
    pub min_instances: u32,
    /// Whether an instance serves more than one attempt.
    pub reuse: bool,
    /// Names of its environment variables; values are not shown.
    pub env: Vec<String>,
    /// Event types it may publish.
    pub emits: Vec<String>,
    /// Its subscriptions, in the order of the manifest.
    pub on: Vec<Subscription>,
    /// Retry policy of asynchronous calls.
    pub retry: Retry,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Its instances at this moment.
    pub instances: Instances,
    /// What its attempts used since the server started.
    #[serde(default)]
    pub spent: Spent,
}

/// Which events start a function, and how delivery is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// An event type, or a prefix of types ending in `*`.
    pub event: String,
    /// Only those for which this CESQL expression is true.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only those that match this EventBridge event pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub pattern: Option<serde_json::Value>,
    /// How often and when it is tried again.
    pub retry: Retry,
    /// Limit of one attempt, where it differs from the function's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl From<&manifest::Subscription> for Subscription {
    fn from(on: &manifest::Subscription) -> Self {
        Self {
            event: on.event.0.clone(),
            filter: on.filter.as_ref().map(|filter| filter.source().to_owned()),
            pattern: on.pattern.as_ref().map(|pattern| pattern.source().clone()),
            retry: (&on.retry).into(),
            timeout_ms: on.timeout.map(whole_ms),
        }
    }
}

/// A retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// `exponential` (with full jitter) or `fixed`.
    #[schema(value_type = String, example = "exponential")]
    pub backoff: Backoff,
    /// The first pause.
    pub initial_ms: u64,
    /// The longest pause.
    pub max_ms: u64,
}

impl From<&RetryPolicy> for Retry {
    fn from(policy: &RetryPolicy) -> Self {
        Self {
            attempts: policy.attempts,
            backoff: policy.backoff,
            initial_ms: whole_ms(policy.initial),
            max_ms: whole_ms(policy.max),
        }
    }
}

/// A function's instances at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Instances {
    /// A process has loaded the function, from which the next instance is forked.
    pub preloaded: bool,
    /// On their way: they wait for a place, are forked, or load the function.
    pub starting: usize,
    /// Kept for the next attempt.
    pub idle: usize,
    /// Running an attempt, or several.
    pub busy: usize,
    /// Ending with the attempts they still have, those of replaced revisions among them.
    pub draining: usize,
    /// Starts failed several times in a row, and the next is not made at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// Why a function is not started at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failing {
    /// Starts that failed in a row.
    pub times: u32,
    /// When it is tried again at the earliest, from now.
    pub again_in_ms: u64,
    /// Why the last one failed.
    pub message: String,
}

impl From<&evoke_engine::Instances> for Instances {
    fn from(instances: &evoke_engine::Instances) -> Self {
        let evoke_engine::Instances { preloaded, starting, idle, busy, draining, failing } = instances;
        let failing = failing.as_ref().map(|failing| Failing {
            times: failing.times,
            again_in_ms: whole_ms(failing.again_in),
            message: failing.message.clone(),
        });
        Self {
            preloaded: *preloaded,
            starting: *starting,
            idle: *idle,
            busy: *busy,
            draining: *draining,
            failing,
        }
    }
}

/// `GET /v1/apps/{app}/functions/{function}/revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionList {
    /// Newest first.
    pub revisions: Vec<Revision>,
}

/// An immutable source with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    /// Its id: the first 16 hex digits of a SHA-256.
    #[schema(value_type = String)]
    pub id: RevisionId,
    /// Whether it is what runs now.
    pub current: bool,
    /// When it was first deployed.
    pub created_at: Time,
    /// SHA-256 of the tar it came in.
    pub bundle: String,
    /// What runs it.
    #[schema(value_type = String, example = "node")]
    pub runtime: RuntimeKind,
    /// File or folder within the bundle.
    #[schema(value_type = String)]
    pub source: PathBuf,
}

/// The answer to `POST /v1/apps/{app}/deployments`: the app as it is now, and what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// 1 for its first deployment, then 2, …
    pub version: u64,
    /// When.
    pub deployed_at: Time,
    /// SHA-256 of the tar.
    pub bundle: String,
    /// Current revision of each function.
    #[schema(value_type = BTreeMap<String, String>)]
    pub revisions: BTreeMap<FunctionName, RevisionId>,
    /// Functions that are new or have a new revision.
    #[schema(value_type = Vec<String>)]
    pub changed: Vec<FunctionName>,
    /// Functions that are gone.
    #[schema(value_type = Vec<String>)]
    pub removed: Vec<FunctionName>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// The part of the work that it has, as a canary: `5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// The version that it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u64>,
    /// Until when it is taken back by itself if it fails too often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_until: Option<Time>,
    /// What is allowed, and may not be what was meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One event of a deploy that is followed while it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeployStep {
    /// What it does now.
    Progress {
        /// One line, for people.
        message: String,
    },
    /// The last: it is done.
    Deployed {
        /// The app as it is now.
        deployment: Deployment,
    },
    /// The last: nothing was changed.
    Refused {
        /// Why.
        problem: Problem,
    },
}

pub(crate) fn whole_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
