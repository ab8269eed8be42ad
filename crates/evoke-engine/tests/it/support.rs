//! An engine with everything around it scripted.

use evoke_engine::Arrival;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::event::Event;
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::limits::Limits;
use evoke_core::origin::Origins;
use evoke_core::record::{RunRecord, RunState, Trigger};
use evoke_core::runtime::Request;
use evoke_core::store::{DeadLetter, DeadLetterQuery, Retention, RunQuery, Space, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::{Clock, Timestamp};
use evoke_engine::call::{Answered, CallError, CallRequest};
use evoke_engine::deploy::Deployed;
use evoke_engine::ingest::Published;
use evoke_engine::{Engine, Parts, SealingKey};
use http::{HeaderMap, Method};

pub struct World {
    pub engine: Engine,
    pub runtime: ScriptedRuntime,
    pub store: Arc<dyn Store>,
    pub clock: Arc<TokioClock>,
    pub origins: Origins,
}

pub fn app() -> AppName {
    AppName::new("shop").unwrap()
}

pub fn function(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

/// A tar of `evoke.toml` and a file for every source it names.
pub fn bundle(manifest: &str) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    };
    add("evoke.toml", manifest);
    for line in manifest.lines() {
        if let Some(source) = line.strip_prefix("source = ") {
            add(source.trim_matches('"'), "");
        }
    }
    tar.into_inner().unwrap().into()
}

/// A manifest of app `shop` with these functions; each `settings` is lines of its table.
pub fn manifest(functions: &[(&str, &str)]) -> String {
    let mut text = "evoke = \"1\"\n[app]\nname = \"shop\"\n".to_owned();
    for (name, settings) in functions {
        text += &format!("[functions.{name}]\nsource = \"{name}.js\"\n{settings}\n");
    }
    text
}

impl World {
    pub async fn new() -> Self {
        Self::with(Arc::new(MemoryStore::new()), Limits::default()).await
    }

    pub async fn with(store: Arc<dyn Store>, limits: Limits) -> Self {
        let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
        Self::on(store, limits, ScriptedRuntime::new(), clock, 1).await
    }

    pub async fn on(
        store: Arc<dyn Store>,
        limits: Limits,
        runtime: ScriptedRuntime,
        clock: Arc<TokioClock>,
        seed: u64,
    ) -> Self {
        let origins = Origins::default();
        let parts = Parts {
            store: store.clone(),
            runtime: Arc::new(runtime.clone()),
            clock: clock.clone(),
            limits,
            retention: Retention::default(),
            seed,
            secrets_key: SealingKey::new([7; 32]),
            name: "evoke-test".to_owned(),
            origins: origins.clone(),
        };
        let engine = Engine::start(parts).await.unwrap();
        Self { engine, runtime, store, clock, origins }
    }

    pub async fn deploy(&self, functions: &[(&str, &str)]) {
        self.deploy_telling(functions).await;
    }

    pub async fn deploy_telling(&self, functions: &[(&str, &str)]) -> Deployed {
        self.engine.deploy(&app(), bundle(&manifest(functions))).await.unwrap()
    }

    pub fn request(&self, name: &str, body: &str) -> CallRequest {
        CallRequest {
            app: app(),
            function: function(name),
            request: request(body),
            trigger: Trigger::Http { method: "POST".to_owned(), path: "/".to_owned() },
            from: Arrival::default(),
            idempotency_key: None,
        }
    }

    pub async fn call(&self, name: &str, body: &str) -> Result<(Answered, String), CallError> {
        let mut answered = self.engine.call(self.request(name, body)).await?;
        let body = std::mem::take(&mut answered.response.body).collect(1 << 20).await.unwrap();
        Ok((answered, String::from_utf8_lossy(&body).into_owned()))
    }

    pub async fn publish(&self, id: &str, ty: &str) -> Published {
        let event = Event::new(id, "/test", ty).with_json(serde_json::json!({ "id": id }));
        self.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap().remove(0)
    }

    /// Busy and idle instances of a function.
    pub fn instances(&self, name: &str) -> (usize, usize) {
        let instances = self.engine.instances(&app(), &function(name));
        (instances.busy, instances.idle)
    }

    pub async fn runs(&self) -> Vec<RunRecord> {
        self.engine.runs(&RunQuery { limit: 1_000, ..RunQuery::default() }).await.unwrap()
    }

    /// The run's record once it is in a final state. Time passes meanwhile.
    pub async fn ended(&self, run: &RunId) -> RunRecord {
        loop {
            let query = RunQuery { id: Some(run.clone()), limit: 1, ..RunQuery::default() };
            if let Some(found) = self.store.runs(&query).await.unwrap().pop()
                && !matches!(found.state, RunState::Queued | RunState::Running)
            {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.store.dead_letters(&DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() }).await.unwrap()
    }

    pub async fn kv(&self, key: &str) -> Option<String> {
        let space = Space::app(&app(), "default");
        let entry = self.store.get(&space, key, self.clock.now()).await.unwrap()?;
        Some(String::from_utf8_lossy(&entry.value.bytes).into_owned())
    }
}

pub fn request(body: &str) -> Request {
    Request {
        method: Method::POST,
        uri: "http://localhost/".to_owned(),
        headers: HeaderMap::new(),
        params: Vec::new(),
        client: None,
        body: Body::Full(Bytes::copy_from_slice(body.as_bytes())),
    }
}
