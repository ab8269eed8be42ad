//! A whole server in the test's process, and a client for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::id::{AppName, RunId};
use evoke_core::limits::Limits;
use evoke_core::origin::Origins;
use evoke_core::record::{RunRecord, RunState};
use evoke_core::runtime::{Ended, Input, Report, Request as GuestRequest, Response as GuestResponse};
use evoke_core::store::{Retention, RunQuery, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::runtime::{Guest, ScriptedRuntime};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::{Clock, Timestamp};
use evoke_core::upstream::Forward;
use evoke_engine::{Engine, Parts, SealingKey};
use evoke_gateway::auth::Token;
use evoke_gateway::{Bounds, Gateway};
use evoke_outbound::{Dial, Trust, Upstreams};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How to build a [`World`].
pub struct Setup {
    pub limits: Limits,
    pub bounds: Bounds,
    pub store: Arc<dyn Store>,
    pub control_hosts: Vec<String>,
    pub tell_failures: bool,
    pub proxies: evoke_gateway::Proxies,
    /// Authorities that upstreams' certificates may come from.
    pub ca_file: Option<std::path::PathBuf>,
    /// Threads of their own for the connections of the data listener.
    pub threads: Threads,
}

/// Threads with a runtime each, until they are dropped.
#[derive(Default)]
pub struct Threads(Vec<(Handle, oneshot::Sender<()>, JoinHandle<()>)>);

impl Threads {
    pub fn start(count: usize) -> Self {
        let start = |number| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel());
            let thread = std::thread::Builder::new().name(format!("calls-{number}"));
            let thread = thread.spawn(move || _ = runtime.block_on(stopped)).unwrap();
            (handle, stop, thread)
        };
        Self((0..count).map(start).collect())
    }

    pub fn handles(&self) -> Vec<Handle> {
        self.0.iter().map(|(handle, ..)| handle.clone()).collect()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for (_, stop, thread) in self.0.drain(..) {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            bounds: Bounds { grace: Duration::from_secs(5), ..Bounds::default() },
            store: Arc::new(MemoryStore::new()),
            control_hosts: Vec::new(),
            tell_failures: false,
            proxies: evoke_gateway::Proxies::default(),
            ca_file: None,
            threads: Threads::default(),
        }
    }
}

/// A clock that panics while it is broken, as a mistake anywhere in a request's path would.
pub struct BreakableClock {
    clock: TokioClock,
    pub broken: AtomicBool,
}

impl BreakableClock {
    fn new() -> Self {
        let clock = TokioClock::starting(Timestamp::from_millis(1_700_000_000_000));
        Self { clock, broken: AtomicBool::new(false) }
    }
}

impl Clock for BreakableClock {
    fn now(&self) -> Timestamp {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock is broken: a secret");
        self.clock.now()
    }
}

/// A running server.
pub struct World {
    pub engine: Engine,
    pub runtime: ScriptedRuntime,
    pub store: Arc<dyn Store>,
    pub clock: Arc<BreakableClock>,
    pub data: SocketAddr,
    pub control: SocketAddr,
    pub token: Token,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    _threads: Threads,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub const APP: &str = "shop";

/// A manifest of app `shop` with these functions (name, settings) and routes (path, method, function).
pub fn manifest(functions: &[(&str, &str)], routes: &[(&str, &str, &str)]) -> String {
    let mut text = "evoke = \"1\"\n[app]\nname = \"shop\"\n".to_owned();
    for (name, settings) in functions {
        text += &format!("[functions.{name}]\nsource = \"{name}.js\"\n{settings}\n");
    }
    for (path, method, to) in routes {
        text += &format!("[[routes]]\npath = {path:?}\nmethods = [{method:?}]\nto = {to:?}\n");
    }
    text
}

/// A tar of these files.
pub fn tar(files: &[(&str, &str)]) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().into()
}

/// A tar of `evoke.toml` and an empty file for every source it names.
pub fn bundle(manifest: &str) -> Bytes {
    let sources = manifest.lines().filter_map(|line| line.strip_prefix("source = "));
    let sources = sources.map(|source| (source.trim_matches('"'), ""));
    tar(&[("evoke.toml", manifest)].into_iter().chain(sources).collect::<Vec<_>>())
}

impl World {
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let runtime = ScriptedRuntime::new();
        let clock = Arc::new(BreakableClock::new());
        let parts = Parts {
            store: setup.store.clone(),
            runtime: Arc::new(runtime.clone()),
            clock: clock.clone(),
            limits: setup.limits,
            retention: Retention::default(),
            seed: 1,
            secrets_key: SealingKey::new([7; 32]),
            name: "evoke-test".to_owned(),
            origins: Origins::default(),
        };
        let engine = Engine::start(parts).await.unwrap();
        let token = Token::generate().unwrap();
        let gateway = Gateway {
            engine: engine.clone(),
            forward: forward(setup.ca_file.as_deref()),
            token: token.hash(),
            bounds: setup.bounds,
            control_hosts: setup.control_hosts,
            tell_failures: setup.tell_failures,
            front: evoke_gateway::Front { proxies: setup.proxies, ..evoke_gateway::Front::default() },
            threads: setup.threads.handles(),
        };
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (data, control) = (bind().await, bind().await);
        let (data_address, control_address) = (data.local_addr().unwrap(), control.local_addr().unwrap());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let serving = gateway.serve(data, control, stop.clone());
        tasks.spawn(async move { serving.await.unwrap() });
        tasks.close();
        let store = setup.store;
        Self {
            engine,
            runtime,
            store,
            clock,
            data: data_address,
            control: control_address,
            token,
            stop,
            tasks,
            _threads: setup.threads,
        }
    }

    /// Deploys app `shop`.
    pub async fn deploy(&self, functions: &[(&str, &str)], routes: &[(&str, &str, &str)]) {
        let app = AppName::new(APP).unwrap();
        self.engine.deploy(&app, bundle(&manifest(functions, routes))).await.unwrap();
    }

    /// Deploys app `shop` with function `echo` and these further lines.
    pub async fn deploy_routes(&self, lines: &str) {
        let app = AppName::new(APP).unwrap();
        let text = manifest(&[("echo", "")], &[]) + lines;
        self.engine.deploy(&app, bundle(&text)).await.unwrap();
        self.runtime.script("echo", echo);
    }

    /// With function `echo`, which answers with what it was called with, on `/echo` for POST.
    pub async fn with_echo(setup: Setup) -> Self {
        let world = Self::with(setup).await;
        world.deploy(&[("echo", "")], &[("/echo", "POST", "echo")]).await;
        world.runtime.script("echo", echo);
        world
    }

    pub fn to_data(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header("host", self.data.to_string())
    }

    /// With the token.
    pub fn to_control(&self, method: Method, path: &str) -> http::request::Builder {
        let bearer = format!("Bearer {}", self.token.as_str());
        let request = Request::builder().method(method).uri(path).header("host", self.control.to_string());
        request.header("authorization", bearer)
    }

    pub async fn data(&self, method: Method, path: &str, body: &'static str) -> Reply {
        send(self.data, self.to_data(method, path).body(Full::<Bytes>::from(body)).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        send(self.control, self.to_control(Method::GET, path).body(Full::<Bytes>::default()).unwrap()).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Reply {
        let request = self.to_control(Method::POST, path).header("content-type", content_type);
        send(self.control, request.body(Full::new(body.into())).unwrap()).await
    }

    /// A JSON event to app `shop`.
    pub async fn publish(&self, id: &str, ty: &str) -> Value {
        let event = serde_json::json!({
            "specversion": "1.0", "id": id, "source": "/test", "type": ty, "data": { "id": id },
        });
        let reply =
            self.post("/v1/apps/shop/events", "application/cloudevents+json", event.to_string()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        reply.json()["events"][0].clone()
    }

    /// The run's record once it is in a final state.
    pub async fn ended(&self, run: &str) -> RunRecord {
        let query = RunQuery { id: Some(RunId::from_text(run)), limit: 1, ..RunQuery::default() };
        loop {
            if let Some(found) = self.store.runs(&query).await.unwrap().pop()
                && !matches!(found.state, RunState::Queued | RunState::Running)
            {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The real client of upstreams, which may connect to everything.
fn forward(ca_file: Option<&std::path::Path>) -> Forward {
    let dial: Dial = Arc::new(|to, _| {
        Box::pin(async move {
            let host = to.host.to_string();
            TcpStream::connect((host.as_str(), to.port)).await.map_err(|error| error.to_string())
        })
    });
    let upstreams = Upstreams::new(dial, &Trust::load(ca_file).unwrap());
    Arc::new(move |upstream, request| {
        let upstreams = upstreams.clone();
        Box::pin(async move { upstreams.forward(&upstream, request).await })
    })
}

/// Sends a request over a connection of its own and reads the head of the answer.
pub async fn open<B>(to: SocketAddr, request: Request<B>) -> http::Response<Incoming>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    // It ends with the test's runtime.
    TaskTracker::new().spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// Sends a request and reads the whole answer.
pub async fn send<B>(to: SocketAddr, request: Request<B>) -> Reply
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    let (parts, body) = open(to, request).await.into_parts();
    Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// What the function was called with.
pub fn request_of(guest: &mut Guest) -> &mut GuestRequest {
    match &mut guest.call.input {
        Input::Request(request) => request,
        other => panic!("called with {other:?}"),
    }
}

/// Answers with these headers and this body.
pub async fn respond(guest: &Guest, status: u16, fields: &[(&'static str, &str)], body: Body) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    let response = GuestResponse { status: StatusCode::from_u16(status).unwrap(), headers, body };
    // Nobody listens when the attempt is over.
    let _ = guest.call.up.send(Report::Response(response)).await;
}

/// Returned without events.
pub fn done() -> Ended {
    Ended::Returned { events: Vec::new() }
}

/// Answers with what it was called with, as JSON.
pub async fn echo(mut guest: Guest) -> Ended {
    let request = request_of(&mut guest);
    let body = std::mem::take(&mut request.body).collect(u64::MAX).await;
    let headers = request.headers.iter();
    let headers: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let seen = serde_json::json!({
        "method": request.method.as_str(),
        "uri": request.uri,
        "headers": headers,
        "params": request.params,
        "client": request.client,
        "body": body.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_else(|error| error.to_string()),
    });
    respond(&guest, 200, &[("content-type", "application/json")], Body::Full(seen.to_string().into())).await;
    done()
}

/// A problem with what differs from run to run replaced.
pub fn redacted(mut problem: Value) -> Value {
    if let Some(run) = problem["run"].as_str().map(str::to_owned) {
        problem["detail"] = problem["detail"].as_str().unwrap().replace(&run, "[run]").into();
        problem["run"] = "[run]".into();
    }
    if problem.get("after_ms").is_some() {
        problem["after_ms"] = "[after]".into();
    }
    problem
}
