//! The seam to whatever runs guest code.
//!
//! A [`Runtime`] makes instances; an [`Instance`] runs one call at a time, or is one of the lanes of something that runs
//! several. During a call the instance talks back through [`Call::up`], so that one task (the attempt) owns everything the
//! call may change.

mod prepare;
mod reports;

use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::egress::AllowList;
use crate::event::Event;
use crate::hook::Hook;
use crate::id::{AppName, FunctionName, RevisionId, RunId};
use crate::manifest::{Preload, RuntimeKind};
use crate::outcome::Failure;
use crate::record::{Cause, LogStream};
use crate::time::Timestamp;
use crate::usage::Usage;

pub use prepare::{InstallError, PrepareError, Prepared, PreparedBundle, Progress};
pub use reports::{Gone, ReportSender, Reports, reports};

/// Makes instances.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Turns the app's uploaded bundle (a tar of its files) into files a worker can load: translates what has to be
    /// translated, installs the packages it asks for. Idempotent; called at deploy and before the first start after a
    /// restart. May take minutes; ends what it has begun when it is dropped. Instances may be started from what was prepared
    /// while the answer lives.
    async fn prepare(
        &self,
        bundle: &PreparedBundle,
        bytes: Bytes,
        progress: &Progress,
    ) -> Result<Prepared, PrepareError>;

    /// Starts an instance and waits until its handler is loaded. The error says why it could not be.
    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure>;

    /// Whether something is kept from which the next instance comes without loading its function.
    fn is_preloaded(&self, _spec: &InstanceSpec) -> bool {
        false
    }

    /// Removes what was prepared of bundles that are not `wanted`, and installed for nobody. Something goes only when an earlier
    /// call found it so, at least `grace` ago, and it was not prepared in between. What is gone is made anew by
    /// [`Runtime::prepare`].
    async fn discard(&self, _wanted: HashSet<String>, _grace: Duration) {}

    /// Ends what is left and releases the machine's resources. The last call.
    async fn shutdown(&self);
}

/// All that is needed to start an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Its app.
    pub app: AppName,
    /// Its function.
    pub function: FunctionName,
    /// Its revision.
    pub revision: RevisionId,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// The prepared bundle it comes from.
    pub bundle: String,
    /// The source file or folder within the bundle.
    pub source: PathBuf,
    /// The export to call, when the manifest names one.
    pub handler: Option<String>,
    /// Environment variables, sorted.
    pub env: Vec<(String, String)>,
    /// Where it may connect to.
    pub egress: AllowList,
    /// Memory limit in bytes.
    pub memory_bytes: u64,
    /// What its instances have in common before their first call.
    pub preload: Preload,
    /// Calls that one instance runs at once, at most.
    pub instance_concurrency: u32,
    /// Whether an instance of a component serves one call after the other.
    pub keeps_instance: bool,
    /// How long loading may take.
    pub start_timeout: Duration,
    /// Where its events are sent to, for a hook; its secrets are in `env`.
    pub hook: Option<Hook>,
}

/// Something that runs calls of one revision, one at a time. Dropping it ends it.
///
/// Where [`InstanceSpec::instance_concurrency`] is more than one, an instance has as many *lanes*, each an `Instance` by itself: what
/// they share ends when all of them have been dropped, or when one call does not end in time.
#[async_trait]
pub trait Instance: Send {
    /// Runs one call. Returns when the handler is done, its response body (if any) has been handed over completely,
    /// and everything it wrote has been reported. When `call.deadline` passes or `call.cancel` fires, the instance is
    /// ended and cannot be used again; one with lanes only if the handler does not stop when it is told to, and then the
    /// calls in its other lanes fail with `FailureCode::InstanceEnded`.
    async fn call(&mut self, call: Call) -> Ended;

    /// Its lanes besides this one. Called once, before the first call.
    fn lanes(&mut self) -> Vec<Box<dyn Instance>> {
        Vec::new()
    }

    /// What its last call used, as far as it could be measured.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Whether it can take another call.
    fn is_usable(&self) -> bool;

    /// Waits until the instance is gone by itself. Safe to drop and call again.
    async fn gone(&mut self);

    /// Whether it can take another call, once it has noticed what happened while nobody looked: that it is gone, or what it wrote, which
    /// must not be taken for words of its next call. One that notices by itself only has to say.
    fn has_stayed_usable(&mut self) -> bool {
        let is_gone = pin!(self.gone()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        !is_gone && self.is_usable()
    }
}

/// One execution to make.
#[derive(Debug)]
pub struct Call {
    /// Which run.
    pub run: RunId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Who caused it. `span_id` is this attempt's own.
    pub cause: Cause,
    /// When it is ended, monotonic.
    pub deadline: tokio::time::Instant,
    /// The same instant for the guest's eyes.
    pub deadline_at: Timestamp,
    /// The whole time limit, for the message.
    pub timeout: Duration,
    /// What to hand to the handler.
    pub input: Input,
    /// Whether it stands in front of something, so that it may ask for `/v1/next`.
    pub decorates: bool,
    /// `CDN-Loop` (RFC 8586) of the requests it sends by the network, if it may send any: see [`crate::chain::Hop`].
    pub hops: Option<String>,
    /// Where the instance reports, from within the future of [`Instance::call`] and nowhere else: whoever polls that looks for reports
    /// then, and is not woken for them. Bounded; a full channel slows the guest down.
    pub up: ReportSender,
    /// Fires when nobody wants the answer any more.
    pub cancel: CancellationToken,
}

/// What a handler is called with.
#[derive(Debug)]
pub enum Input {
    /// An HTTP request.
    Request(Request),
    /// An event.
    Event(Event),
    /// Several events, delivered in one call.
    Events(Vec<Event>),
}

/// An HTTP request for a function.
#[derive(Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URI.
    pub uri: String,
    /// Header fields.
    pub headers: HeaderMap,
    /// Path parameters of the route that matched.
    pub params: Vec<(String, String)>,
    /// The client's address, when there is one.
    pub client: Option<String>,
    /// Body.
    pub body: Body,
}

/// An HTTP response of a function.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Body,
}

/// What an instance says during a call.
#[derive(Debug)]
pub enum Report {
    /// The handler's answer to a request. At most once a call.
    Response(Response),
    /// It wrote a line.
    Log {
        /// Where.
        stream: LogStream,
        /// The line, cut at the limit, valid UTF-8.
        line: String,
    },
    /// It wants something of the platform API.
    Platform {
        /// What.
        request: PlatformRequest,
        /// Where the answer goes. Dropped when the attempt is over.
        answer: oneshot::Sender<PlatformResponse>,
    },
}

/// A request to the platform API (`docs/reference/platform-api.md`).
#[derive(Debug, Clone)]
pub struct PlatformRequest {
    /// Method.
    pub method: Method,
    /// Path and query, starting with `/`.
    pub path: String,
    /// Header fields.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Bytes,
}

/// An answer of the platform API.
#[derive(Debug, Clone)]
pub struct PlatformResponse {
    /// Status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Bytes,
}

/// How a call ended, as the instance saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// The handler returned.
    Returned {
        /// Events the handler of an event returned, to be published.
        events: Vec<Event>,
    },
    /// The handler of several events returned, and named those it failed with.
    Partly {
        /// Events it returned, to be published.
        events: Vec<Event>,
        /// The `id` of each event that is to be tried again.
        failed: Vec<String>,
    },
    /// It failed; the code says how.
    Failed(Failure),
    /// The deadline passed.
    TimedOut,
    /// `cancel` fired.
    Cancelled,
}
