//! A runtime whose functions are Rust closures, under the same rules as a real one: one call at a time per instance or lane,
//! ended at the deadline and on cancel. An instance without lanes is unusable after either; one with lanes only if its
//! function is scripted not to stop when it is told to.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::event::Event;
use crate::id::FunctionName;
use crate::outcome::{Failure, FailureCode};
use crate::record::LogStream;
use crate::runtime::{
    Call, Ended, Input, InstallError, Instance, InstanceSpec, PlatformRequest, PlatformResponse,
    PrepareError, Prepared, PreparedBundle, Progress, Report, Response, Runtime,
};
use crate::usage::Usage;

/// What a scripted function does with a call.
pub type Script = Arc<dyn Fn(Guest) -> Pin<Box<dyn Future<Output = Ended> + Send>> + Send + Sync>;

/// Runs scripts. Clones are the same runtime.
#[derive(Clone, Default)]
pub struct ScriptedRuntime(Arc<Inner>);

#[derive(Default)]
struct Inner {
    scripts: Mutex<HashMap<FunctionName, Script>>,
    broken: Mutex<HashMap<FunctionName, Failure>>,
    stubborn: Mutex<HashSet<FunctionName>>,
    /// Bodies that were started, and what ends them.
    bodies: Mutex<Vec<(FunctionName, CancellationToken)>>,
    start_takes: Mutex<Duration>,
    usage: Mutex<Usage>,
    unprepared: Mutex<Option<PrepareError>>,
    prepare_takes: Mutex<Duration>,
    preparing: AtomicUsize,
    wanted: Mutex<HashSet<String>>,
    starts: AtomicU64,
    alive: AtomicUsize,
    most_alive: AtomicUsize,
    bytes: AtomicU64,
    most_bytes: AtomicU64,
}

impl ScriptedRuntime {
    /// Nothing scripted yet: functions answer 200 and take every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `function` does this.
    pub fn script<F, R>(&self, function: &str, script: F)
    where
        F: Fn(Guest) -> R + Send + Sync + 'static,
        R: Future<Output = Ended> + Send + 'static,
    {
        let name = FunctionName::new(function).expect("tests use valid function names");
        self.0.broken.lock().remove(&name);
        self.0.scripts.lock().insert(name, Arc::new(move |guest| Box::pin(script(guest))));
    }

    /// The bundles that were wanted when files that nobody wants were last looked for.
    pub fn wanted(&self) -> HashSet<String> {
        self.0.wanted.lock().clone()
    }

    /// From now on each call uses this.
    pub fn calls_use(&self, usage: Usage) {
        *self.0.usage.lock() = usage;
    }

    /// From now on `function` cannot be started.
    pub fn break_start(&self, function: &str, message: &str) {
        let name = FunctionName::new(function).expect("tests use valid function names");
        self.0.broken.lock().insert(name, Failure::new(FailureCode::InitError, message));
    }

    /// From now on it can be started again.
    pub fn mend(&self, function: &str) {
        let name = FunctionName::new(function).expect("tests use valid function names");
        self.0.broken.lock().remove(&name);
    }

    /// From now on calls of `function` do not stop when they are told to.
    pub fn never_stops(&self, function: &str) {
        let name = FunctionName::new(function).expect("tests use valid function names");
        self.0.stubborn.lock().insert(name);
    }

    /// All instances of `function` that live end by themselves.
    pub fn end_all(&self, function: &str) {
        self.0.bodies.lock().retain(|(of, end)| {
            let of = of.as_str() == function;
            if of {
                end.cancel();
            }
            !of && !end.is_cancelled()
        });
    }

    /// From now on no bundle can be prepared, or every one again.
    pub fn break_prepare(&self, message: Option<&str>) {
        let error = |message: &str| {
            PrepareError::Install(InstallError {
                file: "requirements.txt".to_owned(),
                line: None,
                message: message.to_owned(),
                output: Vec::new(),
                help: None,
            })
        };
        *self.0.unprepared.lock() = message.map(error);
    }

    /// How long preparing takes, on tokio's clock.
    pub fn prepare_takes(&self, time: Duration) {
        *self.0.prepare_takes.lock() = time;
    }

    /// How many bundles are being prepared.
    pub fn preparing(&self) -> usize {
        self.0.preparing.load(Ordering::SeqCst)
    }

    /// How long a start takes, on tokio's clock.
    pub fn start_takes(&self, time: Duration) {
        *self.0.start_takes.lock() = time;
    }

    /// How many starts were asked for.
    pub fn starts(&self) -> u64 {
        self.0.starts.load(Ordering::SeqCst)
    }

    /// How many instances are alive.
    pub fn alive(&self) -> usize {
        self.0.alive.load(Ordering::SeqCst)
    }

    /// The most memory that those alive and those being started might have used at once.
    pub fn most_bytes(&self) -> u64 {
        self.0.most_bytes.load(Ordering::SeqCst)
    }

    /// The most that were alive at once.
    pub fn most_alive(&self) -> usize {
        self.0.most_alive.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Runtime for ScriptedRuntime {
    async fn prepare(
        &self,
        _: &PreparedBundle,
        _: Bytes,
        progress: &Progress,
    ) -> Result<Prepared, PrepareError> {
        let takes = *self.0.prepare_takes.lock();
        let _counted = Counted::new(&self.0.preparing);
        if !takes.is_zero() {
            progress.tell(format!("preparing takes {} s", takes.as_secs()));
            tokio::time::sleep(takes).await;
        }
        self.0.unprepared.lock().clone().map_or_else(|| Ok(Prepared::default()), Err)
    }

    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        self.0.starts.fetch_add(1, Ordering::SeqCst);
        let weight = Weight::new(self.0.clone(), spec.memory_bytes);
        let takes = *self.0.start_takes.lock();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        if let Some(failure) = self.0.broken.lock().get(&spec.function) {
            return Err(failure.clone());
        }
        let alive = self.0.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_alive.fetch_max(alive, Ordering::SeqCst);
        let body = Arc::new(Process {
            runtime: self.0.clone(),
            spec,
            end: CancellationToken::new(),
            _weight: weight,
        });
        self.0.bodies.lock().push((body.spec.function.clone(), body.end.clone()));
        Ok(Box::new(ScriptedInstance { body, usable: true }))
    }

    async fn discard(&self, wanted: HashSet<String>, _grace: Duration) {
        *self.0.wanted.lock() = wanted;
    }

    async fn shutdown(&self) {}
}

/// One more, as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the lanes of an instance have in common.
struct Process {
    runtime: Arc<Inner>,
    spec: Arc<InstanceSpec>,
    end: CancellationToken,
    _weight: Weight,
}

/// The memory of an instance, from the begin of its start.
struct Weight(Arc<Inner>, u64);

impl Weight {
    fn new(runtime: Arc<Inner>, bytes: u64) -> Self {
        let all = runtime.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        runtime.most_bytes.fetch_max(all, Ordering::SeqCst);
        Self(runtime, bytes)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.0.bytes.fetch_sub(self.1, Ordering::SeqCst);
    }
}

struct ScriptedInstance {
    body: Arc<Process>,
    usable: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end.cancel();
        self.runtime.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ScriptedInstance {
    /// What becomes of the instance when a call is told to stop.
    fn stopped(&mut self, ended: Ended) -> Ended {
        if self.body.spec.instance_concurrency == 1 {
            self.usable = false;
        } else if self.body.runtime.stubborn.lock().contains(&self.body.spec.function) {
            self.body.end.cancel();
        }
        ended
    }
}

#[async_trait]
impl Instance for ScriptedInstance {
    async fn call(&mut self, call: Call) -> Ended {
        let body = self.body.clone();
        let script = body.runtime.scripts.lock().get(&body.spec.function).cloned();
        let (deadline, cancel) = (call.deadline, call.cancel.clone());
        let guest = Guest { call, spec: body.spec.clone() };
        let work = async {
            match script {
                Some(script) => script(guest).await,
                None => guest.agree().await,
            }
        };
        tokio::select! {
            biased;
            ended = work => {
                self.usable = !matches!(&ended, Ended::Failed(failure) if failure.code == FailureCode::Crashed);
                ended
            }
            () = tokio::time::sleep_until(deadline) => self.stopped(Ended::TimedOut),
            () = cancel.cancelled() => self.stopped(Ended::Cancelled),
            () = body.end.cancelled() => {
                let code = if body.spec.instance_concurrency == 1 { FailureCode::Crashed } else { FailureCode::InstanceEnded };
                Ended::Failed(Failure::new(code, "the instance ended"))
            }
        }
    }

    fn lanes(&mut self) -> Vec<Box<dyn Instance>> {
        let lane = |_| Box::new(Self { body: self.body.clone(), usable: true }) as Box<dyn Instance>;
        (1..self.body.spec.instance_concurrency).map(lane).collect()
    }

    fn usage(&self) -> Usage {
        *self.body.runtime.usage.lock()
    }

    fn is_usable(&self) -> bool {
        self.usable && !self.body.end.is_cancelled()
    }

    async fn gone(&mut self) {
        self.body.end.cancelled().await;
    }
}

/// A call from the function's side.
pub struct Guest {
    /// The call.
    pub call: Call,
    /// What runs.
    pub spec: Arc<InstanceSpec>,
}

impl Guest {
    /// The event, for a call with one.
    pub fn event(&self) -> Option<&Event> {
        match &self.call.input {
            Input::Event(event) => Some(event),
            Input::Request(_) | Input::Events(_) => None,
        }
    }

    /// The events of a call with several.
    pub fn events(&self) -> &[Event] {
        match &self.call.input {
            Input::Events(events) => events,
            Input::Request(_) | Input::Event(_) => &[],
        }
    }

    /// Answers 200 with `ok`, or takes the event.
    pub async fn agree(self) -> Ended {
        if matches!(self.call.input, Input::Request(_)) {
            self.respond(200, "ok").await;
        }
        Ended::Returned { events: Vec::new() }
    }

    /// Sends the response.
    pub async fn respond(&self, status: u16, body: &str) {
        let status = StatusCode::from_u16(status).expect("tests use valid status codes");
        let body = Body::Full(Bytes::copy_from_slice(body.as_bytes()));
        let response = Response { status, headers: HeaderMap::new(), body };
        // Nobody listens when the attempt is over.
        let _ = self.call.up.send(Report::Response(response)).await;
    }

    /// Writes a line to standard output.
    pub async fn log(&self, line: &str) {
        let _ = self.call.up.send(Report::Log { stream: LogStream::Stdout, line: line.to_owned() }).await;
    }

    /// Asks the platform API and waits for its answer. `headers` are name and value.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> PlatformResponse {
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("tests use valid header names");
            fields.insert(name, value.parse().expect("tests use valid header values"));
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = PlatformRequest { method, path: path.to_owned(), headers: fields, body };
        let (answer, answered) = oneshot::channel();
        let _ = self.call.up.send(Report::Platform { request, answer }).await;
        match answered.await {
            Ok(response) => response,
            // The attempt is over: a real guest would be ended here.
            Err(_) => std::future::pending().await,
        }
    }

    /// Publishes an event with JSON data; `true` when it was taken.
    pub async fn publish(&self, ty: &str, data: serde_json::Value) -> bool {
        let event = serde_json::json!({ "type": ty, "data": data }).to_string();
        self.ask(Method::POST, "/v1/events", &[], &event).await.status.is_success()
    }
}
