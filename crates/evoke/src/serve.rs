//! The server, put together: store, listeners, runtime, engine, gateway; and taken apart again in the other direction.

pub mod failure;
pub mod front;
mod key;
mod listeners;
mod log;
pub mod memory;
mod outbound;
mod runtimes;
mod threads;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use evoke_core::egress::{AddressPolicy, Cidr};
use evoke_core::limits::Limits;
use evoke_core::origin::Origins;
use evoke_core::record::LogRecord;
use evoke_core::store::{Retention, Store};
use evoke_core::time::Clock;
use evoke_engine::{Engine, Parts};
use evoke_gateway::tls::Certificates;
use evoke_gateway::{Bounds, Gateway, auth};
use evoke_outbound::Trust;
use evoke_store::{OpenOptions, SqliteStore};
use evoke_worker::ProcessRuntime;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::EdgeArgs;
use crate::clock::ServerClock;
use crate::exit::{Error, Result};
use crate::seed;

use runtimes::Runtimes;
use threads::Threads;

pub use listeners::Listeners;
pub use log::to_stderr as log_to_stderr;

/// What a server needs to be told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of everything durable; made when it is not there.
    pub data: PathBuf,
    /// Address of the data listener.
    pub listen: SocketAddr,
    /// Address of the control listener.
    pub admin: SocketAddr,
    /// How long running calls may take to finish in the end.
    pub grace: Duration,
    /// Whether callers on the data listener are told what a function failed with.
    pub tell_failures: bool,
    /// Whether to run functions with less than the whole sandbox.
    pub sandbox: evoke_worker::sandbox::Policy,
    /// Special addresses that functions may connect to.
    pub egress_allow: Vec<Cidr>,
    /// Certificate authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Instances of all functions together, where it is not the usual number.
    pub instances: Option<u32>,
    /// Memory of all instances together, where it is not a share of the machine's.
    pub instance_memory: Option<u64>,
    /// Threads for calls over HTTP, where it is not the usual number; 0 for those of everything else.
    pub call_threads: Option<u32>,
    /// How long things are kept, and how much of them.
    pub retention: Retention,
    /// How clients reach it.
    pub edge: EdgeArgs,
}

impl Options {
    fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            instances: self.instances.map_or(usual.instances, |count| count as usize),
            instance_bytes: self.instance_memory.unwrap_or_else(memory::for_instances),
            ..usual
        }
    }
}

/// A running server.
pub struct Server {
    engine: Engine,
    gateway: JoinHandle<std::io::Result<()>>,
    stopping: CancellationToken,
    listeners: Listeners,
    certificates: Option<Certificates>,
    threads: Threads,
    options: Options,
}

impl Server {
    /// Starts all of it. Returns when both listeners answer.
    pub async fn start(options: Options) -> Result<Self> {
        let (clock, limits): (Arc<dyn Clock>, _) = (Arc::new(ServerClock::start()), options.limits());

        // What can be wrong with the machine comes first, so that a failure leaves nothing to undo.
        let trust = outbound::trust(options.ca_file.as_deref())?;
        let store = SqliteStore::open(
            &options.data,
            OpenOptions { progress: Some(log::migration), ..OpenOptions::default() },
        )
        .map_err(|cause| failure::store(&cause))?;
        let store: Arc<dyn Store> = Arc::new(store);
        let front = front::open(&options.edge, options.ca_file.as_deref(), &options.data, &clock).await?;
        let data = bind(options.listen, "--listen").await?;
        let admin = bind(options.admin, "--admin").await?;

        let token =
            auth::load_or_create(store.as_ref(), &options.data, clock.now()).await.map_err(failure::token)?;
        let secrets_key = key::load_or_create(&options.data).map_err(failure::key)?;
        let origins = Origins::default();
        let workers = evoke_worker::Options {
            origins: origins.clone(),
            limits: limits.clone(),
            sandbox: options.sandbox,
            addresses: AddressPolicy { opened: options.egress_allow.clone() },
            wasm: wasm_commands(&trust)?,
            ..evoke_worker::Options::new(options.data.join("workers"), launcher()?)
        };
        let runtime = ProcessRuntime::start(workers).await.map_err(failure::runtime)?;
        let forward = outbound::forward(&runtime, &trust);
        let hooks = outbound::hooks(&runtime, &trust, clock.clone(), &limits);
        let parts = Parts {
            store,
            runtime: Arc::new(Runtimes { processes: runtime, hooks }),
            clock,
            limits,
            retention: options.retention.clone(),
            seed: seed::random(),
            secrets_key,
            name: token.hash.pseudonym(),
            origins,
        };
        let count = options.call_threads.map_or_else(threads::usual, |count| count as usize);
        let threads = Threads::start(count)?;
        let engine = Engine::start(parts).await.map_err(failure::engine)?;

        let certificates = front.certificates.clone();
        let listeners = Listeners::of(&data, &admin, certificates.is_some())?;
        listeners.write(&options.data)?;
        let gateway = Gateway {
            engine: engine.clone(),
            forward,
            token: token.hash,
            bounds: Bounds { grace: options.grace, ..options.edge.bounds() },
            control_hosts: Vec::new(),
            tell_failures: options.tell_failures,
            front,
            threads: threads.handles(),
        };
        let stopping = CancellationToken::new();
        let gateway = TaskTracker::new().spawn(gateway.serve(data, admin, stopping.clone()));
        Ok(Self { engine, gateway, stopping, listeners, certificates, threads, options })
    }

    /// Where it listens.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Reads the certificates again.
    pub fn reload(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
    }

    /// Waits until the server can no longer do its work, and says why.
    pub async fn failed(&self) -> Error {
        tokio::select! {
            why = self.engine.store_refused() => failure::refused(&why),
            () = self.threads.lost() => failure::thread_lost(),
        }
    }

    /// Changes after a secret was set or removed.
    pub fn secrets(&self) -> watch::Receiver<u64> {
        self.engine.secret_changes()
    }

    /// What functions write, from now on.
    pub fn tail_logs(&self) -> broadcast::Receiver<LogRecord> {
        self.engine.tail_logs()
    }

    /// Stops accepting, waits up to the grace period for what runs, ends the rest (queued work stays queued), and closes
    /// the store. Then the threads of calls end.
    pub async fn stop(self) -> Result<()> {
        self.stopping.cancel();
        let (gateway, drained) = tokio::join!(self.gateway, self.engine.drain(self.options.grace));
        self.threads.end().await;
        Listeners::remove(&self.options.data);
        gateway.map_err(failure::task)?.map_err(failure::gateway)?;
        drained.map_err(failure::drain)
    }
}

async fn bind(address: SocketAddr, option: &'static str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| failure::bind(address, option, &cause))
}

/// This executable, as the processes that compile and run components.
fn wasm_commands(trust: &Trust) -> Result<Option<evoke_worker::WasmCommands>> {
    let engine = match evoke_wasm::engine() {
        Ok(engine) => engine,
        Err(cause) => {
            tracing::warn!(%cause, "components cannot be run here: wasmtime does not start");
            return Ok(None);
        }
    };
    let executable = std::env::current_exe().map_err(failure::executable)?;
    let worker =
        |verb: &str| [executable.to_string_lossy().as_ref(), "worker", verb].map(str::to_owned).to_vec();
    let base64 = base64::engine::general_purpose::STANDARD;
    Ok(Some(evoke_worker::WasmCommands {
        run: worker("wasm"),
        compile: worker("compile"),
        engine,
        authorities: trust.certificates().map(|certificate| base64.encode(certificate)).collect(),
        bounds: evoke_worker::CompileBounds::default(),
    }))
}

/// This executable, as the process all workers are forked from.
pub fn launcher() -> Result<Vec<std::ffi::OsString>> {
    let executable = std::env::current_exe().map_err(failure::executable)?;
    Ok(vec![executable.into(), "worker".into(), "launcher".into()])
}
