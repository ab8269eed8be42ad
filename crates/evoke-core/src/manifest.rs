//! The app as its `evoke.toml` describes it, resolved: every name checked, every default filled in, every unit applied.
//!
//! The rest of Evoke sees only these types. [`raw`] is the file as people write it; [`resolve`] turns one into the other.

pub mod raw;
pub mod resolve;
pub mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AppName, FunctionName};
use crate::retry::RetryPolicy;

/// A whole app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name.
    pub app: AppName,
    /// Its functions by name.
    pub functions: BTreeMap<FunctionName, Function>,
    /// Its routes, in file order.
    pub routes: Vec<Route>,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// File or folder, relative to the manifest, within the app's folder.
    pub source: PathBuf,
    /// What runs it; follows from the source.
    pub runtime: RuntimeKind,
    /// The export to call, when the usual one is not meant.
    #[serde(default)]
    pub handler: Option<String>,
    /// Limit of one attempt.
    pub timeout: Duration,
    /// Limit of one instance, bytes.
    pub memory_bytes: u64,
    /// Instances, and so attempts at once, at most.
    pub concurrency: u32,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Event types it may publish: exact, or a prefix ending in `*`.
    pub emits: Vec<TypePattern>,
    /// Its subscriptions.
    pub on: Vec<Subscription>,
    /// Retry policy of asynchronous calls.
    pub retry: RetryPolicy,
}

/// What runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// Node.js, `.js .mjs .ts` or a folder with a `package.json`.
    Node,
    /// CPython, `.py` or a folder with a `main.py`.
    Python,
}

impl RuntimeKind {
    /// As in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
        }
    }
}

/// Which events start the function, and how delivery is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Event types that match.
    pub event: TypePattern,
    /// How often and when to try again.
    pub retry: RetryPolicy,
    /// Limit of one attempt, where it differs from the function's.
    #[serde(default)]
    pub timeout: Option<Duration>,
}

/// An event type, or a prefix of types ending in `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypePattern(pub String);

impl TypePattern {
    /// Whether `ty` is meant.
    pub fn matches(&self, ty: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => ty.starts_with(prefix),
            None => ty == self.0,
        }
    }
}

/// Where requests on the data listener go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `/orders/{id}`; a last `{*rest}` takes all further segments.
    pub path: String,
    /// Methods; empty means all.
    pub methods: Vec<String>,
    /// The function.
    pub to: FunctionName,
}
