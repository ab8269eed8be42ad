//! The gateway as its users hold it: what it is made of, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use evoke_core::decorator::{Rate, Schema};
use evoke_core::id::{AppName, FunctionName};
use evoke_core::upstream::Forward;
use evoke_engine::Engine;
use evoke_engine::deploy::Deployment;
use http::HeaderValue;
use http_body::Body as _;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::TokenHash;
use crate::body::Cap;
use crate::client::Proxies;
use crate::decorate::builtin::{Behind, Cached, Compiled, Limiter, Memory};
use crate::figures::Figures;
use crate::keep::Keep;
use crate::pace::Pace;
use crate::problem::{Refusal, kind};
use crate::report::Rates;
use crate::tls::{Certificates, Renewal};
use crate::turnover::{Stay, Turnover};

/// What a gateway is made of; [`Gateway::serve`](crate::Gateway::serve) runs it.
pub struct Gateway {
    /// What it stands in front of.
    pub engine: Engine,
    /// Sends requests on to the upstreams of routes.
    pub forward: Forward,
    /// Admits to the control API.
    pub token: TokenHash,
    /// Every bound of its own.
    pub bounds: Bounds,
    /// Host names the control listener answers to beside its own address. Without any, a listener on a loopback address
    /// answers to loopback names only, and any other listener to all names.
    pub control_hosts: Vec<String>,
    /// Whether callers on the data listener are told what a function failed with, or only that it did. For development:
    /// messages of errors can hold secrets.
    pub tell_failures: bool,
    /// TLS, and what is in front.
    pub front: Front,
    /// Runtimes of one thread each for the connections of the data listener, and the calls made over them; they have to last until the
    /// engine is drained. Without any, connections are served where all else is done.
    pub threads: Vec<Handle>,
}

/// How clients reach the listeners.
#[derive(Default)]
pub struct Front {
    /// With which the data listener speaks TLS. Without any, it does not.
    pub certificates: Option<Certificates>,
    /// A listener without TLS that sends to the data listener, and answers ACME servers.
    pub redirect: Option<TcpListener>,
    /// Keeps a certificate of an ACME server.
    pub renewal: Option<Renewal>,
    /// Whose word is taken for where requests come from.
    pub proxies: Proxies,
}

/// The bounds of the gateway. Those of bodies, header fields and pages are the engine's
/// ([`evoke_core::limits::Limits`]).
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections of the data listener; a further one takes the place of the one that has been idle for longest, or waits.
    pub data_connections: usize,
    /// Of one client on one listener; a further one is closed.
    pub client_connections: usize,
    /// Connections of the control listener.
    pub control_connections: usize,
    /// Requests of one listener whose answer has not begun; one more is refused.
    pub requests: usize,
    /// HTTP/2 streams of one connection.
    pub streams: u32,
    /// How long a connection may take to send a request's head, and stay idle between two requests.
    pub head_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How slowly a client may send a body, and read an answer.
    pub pace: Pace,
    /// How long a body that has to be whole may take.
    pub body_timeout: Duration,
    /// Bytes of such bodies held at the same time: of asynchronous calls, calls with a key, and publishes; more are refused.
    pub held_bytes: u64,
    /// Bytes of answers that decorators keep, all together; what does not fit is not kept.
    pub cached_bytes: u64,
    /// Large bodies checked by a schema at the same time; further ones wait.
    pub checks: usize,
    /// Bytes that copies of requests for experiments may hold, with the answers that are compared; what is over it is not copied.
    pub copied_bytes: u64,
    /// Requests that wait for the end of a run.
    pub run_waiters: usize,
    /// WebSockets that pass through to upstreams.
    pub tunnels: usize,
    /// Followers of logs.
    pub followers: usize,
    /// Bundles being received and deployed at the same time; further ones wait.
    pub deployments: usize,
    /// How long requests may go on after the gateway was told to stop.
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            data_connections: 4_096,
            client_connections: 2_048,
            control_connections: 256,
            requests: 8_192,
            streams: 128,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            pace: Pace { bytes: 240, grace: Duration::from_secs(10) },
            body_timeout: Duration::from_secs(60),
            held_bytes: 256 << 20,
            cached_bytes: 512 << 20,
            checks: 2,
            copied_bytes: 128 << 20,
            run_waiters: 1_000,
            tunnels: 1_024,
            followers: 64,
            deployments: 2,
            grace: Duration::from_secs(30),
        }
    }
}

/// What every request can reach.
pub(crate) struct Shared {
    pub engine: Engine,
    pub forward: Forward,
    /// What this server calls itself to others, in `Via` and `CDN-Loop`.
    pub pseudonym: String,
    /// Where upgraded connections live on.
    pub tracker: TaskTracker,
    /// Where the gateway runs, for what no call is to wait for.
    pub home: Handle,
    pub tunnels: Arc<Semaphore>,
    pub token: TokenHash,
    pub bounds: Bounds,
    pub tell_failures: bool,
    pub certificates: Option<Certificates>,
    pub proxies: Proxies,
    /// Fires when the gateway is told to stop: streams without an end of their own end then.
    pub stop: CancellationToken,
    pub followers: Arc<Semaphore>,
    pub waiters: Semaphore,
    pub deployments: Arc<Semaphore>,
    pub rates: Rates,
    /// The rates of decorators.
    pub limiters: Keep<Rate, Limiter>,
    /// The schemas of decorators.
    pub schemas: Keep<Schema, Compiled>,
    /// The answers that decorators keep.
    pub caches: Keep<Behind, Memory>,
    pub cached: Arc<Cached>,
    /// Large bodies being checked by a schema.
    pub checks: Semaphore,
    pub figures: Figures,
    pub copyists: Keep<u32, Arc<Semaphore>>,
    /// KiB that copies of requests may hold.
    pub copied_kib: Arc<Semaphore>,
    /// How long requests are being answered.
    pub request_turnover: Turnover,
    /// How long those wait that wait for the end of a run.
    pub waiter_turnover: Turnover,
    /// How long WebSockets to upstreams are open.
    pub tunnel_turnover: Turnover,
    /// How long logs are followed.
    pub follower_turnover: Turnover,
    held_kib: Semaphore,
    held_turnover: Turnover,
}

/// Room for a body that is held whole, until it is dropped.
pub(crate) struct Held<'s> {
    _room: SemaphorePermit<'s>,
    _stay: Stay,
}

impl Shared {
    pub fn new(gateway: Gateway, stop: CancellationToken, tracker: TaskTracker) -> Self {
        let Gateway { engine, forward, token, bounds, tell_failures, front, .. } = gateway;
        let kib = |bytes: u64| {
            let kib = usize::try_from(bytes.div_ceil(1 << 10)).unwrap_or(Semaphore::MAX_PERMITS);
            kib.min(Semaphore::MAX_PERMITS)
        };
        Self {
            engine,
            forward,
            pseudonym: token.pseudonym(),
            tracker,
            home: Handle::current(),
            tunnels: Arc::new(Semaphore::new(bounds.tunnels)),
            token,
            tell_failures,
            certificates: front.certificates,
            proxies: front.proxies,
            stop,
            followers: Arc::new(Semaphore::new(bounds.followers)),
            waiters: Semaphore::new(bounds.run_waiters),
            deployments: Arc::new(Semaphore::new(bounds.deployments)),
            rates: Rates::default(),
            limiters: Keep::default(),
            schemas: Keep::default(),
            caches: Keep::default(),
            cached: Arc::new(Cached::new(bounds.cached_bytes)),
            checks: Semaphore::new(bounds.checks),
            figures: Figures::default(),
            copyists: Keep::default(),
            copied_kib: Arc::new(Semaphore::new(kib(bounds.copied_bytes))),
            held_kib: Semaphore::new(kib(bounds.held_bytes)),
            request_turnover: Turnover::default(),
            waiter_turnover: Turnover::default(),
            tunnel_turnover: Turnover::default(),
            follower_turnover: Turnover::default(),
            held_turnover: Turnover::default(),
            bounds,
        }
    }

    /// A limit of bodies.
    pub fn cap(&self, name: &'static str, bytes: u64) -> Cap {
        Cap { name, bytes, within: self.bounds.body_timeout }
    }

    /// Room for a body that will be held whole: as much as it declares, or else as much as it may have.
    pub fn hold(&self, body: &HttpBody, limit_bytes: u64) -> Result<Held<'_>, Refusal> {
        let bytes = body.size_hint().upper().unwrap_or(limit_bytes).min(limit_bytes);
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let room = self.held_kib.try_acquire_many(kib).map_err(|_| {
            let limit = self.bounds.held_bytes;
            let detail = format!("bodies that have to be whole already fill the {limit} bytes they may");
            Refusal::new(kind::OVERLOADED, detail).limit("held_bytes", limit).retry_after(self.again(
                &self.held_turnover,
                u64::from(kib) << 10,
                limit,
            ))
        })?;
        Ok(Held { _room: room, _stay: self.held_turnover.stay() })
    }

    /// When whoever is refused `wanted` of `limit` may come again.
    pub fn again(&self, turnover: &Turnover, wanted: u64, limit: u64) -> Duration {
        self.engine.spread(turnover.again(wanted, limit))
    }

    /// The app, or a problem that names what it could have been.
    pub fn app(&self, name: &AppName) -> Result<Arc<Deployment>, Refusal> {
        self.engine.app(name).ok_or_else(|| {
            let apps = self.engine.apps();
            let names = apps.iter().map(|app| app.manifest.app.as_str());
            let hint = hint(name.as_str(), names, "no app is deployed yet");
            Refusal::new(kind::UNKNOWN_APP, format!("app {name} is not deployed; {hint}"))
        })
    }

    /// A version of the app that does work: by its number, as `current`, or as `canary`.
    pub fn version(&self, app: &AppName, text: &HeaderValue) -> Result<u64, Refusal> {
        let current = self.app(app)?.version;
        match text.to_str().unwrap_or_default() {
            "current" => Ok(current),
            "canary" => {
                let canary = self.engine.canary(app);
                let none = || Refusal::new(kind::NO_CANARY, format!("app {app} has no canary"));
                Ok(canary.ok_or_else(none)?.version)
            }
            text => text.parse().map_err(|_| {
                let detail = format!("version {text:?} is no number, and neither current nor canary");
                Refusal::new(kind::INVALID_REQUEST, detail)
            }),
        }
    }

    /// The app, if it has the function, or a problem that names what it could have been.
    pub fn function(&self, app: &AppName, function: &FunctionName) -> Result<Arc<Deployment>, Refusal> {
        let deployment = self.app(app)?;
        if deployment.manifest.functions.contains_key(function) {
            return Ok(deployment);
        }
        let names = deployment.manifest.functions.keys().map(FunctionName::as_str);
        let hint = hint(function.as_str(), names, "it has no functions");
        Err(Refusal::new(kind::UNKNOWN_FUNCTION, format!("app {app} has no function {function}; {hint}")))
    }
}

/// Names listed in a hint.
const HINTS: usize = 10;

fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str>, none: &str) -> String {
    let mut names: Vec<(f64, &str)> = names.map(|name| (strsim::jaro_winkler(wanted, name), name)).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    match names.first() {
        None => none.to_owned(),
        Some((likeness, name)) if *likeness > 0.8 => format!("did you mean {name}?"),
        Some(_) => {
            let more = names.len().saturating_sub(HINTS);
            let mut listed: Vec<&str> = names.iter().take(HINTS).map(|(_, name)| *name).collect();
            listed.sort_unstable();
            let listed = listed.join(", ");
            if more > 0 { format!("known: {listed} and {more} more") } else { format!("known: {listed}") }
        }
    }
}
