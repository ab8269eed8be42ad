//! [`ProcessRuntime`]: the seam of core, implemented with processes.

mod ahead;
mod command;
mod folders;
mod open_files;
mod options;
mod place;
mod preparing;
mod programs;
mod provided;
mod self_test;
mod spawn;
mod wasm;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::limits::Limits;
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{
    Instance, InstanceSpec, PrepareError, Prepared, PreparedBundle, Progress, Runtime,
};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::aside::on_disk_thread;
use crate::egress;
use crate::frame::Form;
use crate::instance::{self, Loaded, ProcessInstance, Setup};
use crate::interpreter::Language;
use crate::launcher::{Ends, Launcher, Process};
use crate::packages::Packages;
use crate::prepare::Bundles;
use crate::sandbox::{Machine, Policy};
use crate::shim::Shims;
use crate::wasm::{Apps, Components, Trunks};
use crate::zygote::{ForkError, Ground, Source, Zygote, Zygotes};

use ahead::{Ahead, Booted};
use command::{Numbers, PRIVATE_TMP};
use folders::{Scratch, make_folders};
use place::Place;
use programs::Programs;
use spawn::Spawned;
use wasm::Wasm;

pub use open_files::{allow_open_files, make_room_for_open_files, open_files};
pub use options::{Options, StartError, WasmCommands};

/// What an instance is to be made of.
#[derive(Debug, Clone, Copy)]
struct Need<'a> {
    spec: &'a Arc<InstanceSpec>,
    language: Language,
    place: &'a Place,
    launcher: &'a Launcher,
}

/// Runs each instance as a child process.
#[derive(Debug)]
pub struct ProcessRuntime {
    limits: Limits,
    programs: Arc<Programs>,
    /// Why Node.js cannot be forked, once it was tried.
    node_forks: OnceCell<Result<(), String>>,
    /// Taken at shutdown: the launcher ends when nobody can order anything any more.
    launcher: parking_lot::Mutex<Option<Launcher>>,
    bundles: Bundles,
    packages: Packages,
    shims: Shims,
    scratch: Scratch,
    numbers: Numbers,
    egress: Arc<egress::Node>,
    zygotes: Zygotes,
    ahead: Ahead,
    /// `None` where there is no program for it.
    wasm: Option<Wasm>,
    tasks: TaskTracker,
}

impl ProcessRuntime {
    /// Makes the folder ready, starts the launcher, and begins to look for interpreters. Waits for the launcher.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options {
            dir,
            launcher: command,
            wasm,
            limits,
            node,
            python,
            addresses,
            resolver,
            origins,
            sandbox,
            registries,
        } = options;
        let tasks = TaskTracker::new();
        let (asked, made) = on_disk_thread({
            let (limits, tasks) = (limits.clone(), tasks.clone());
            move || {
                let made = make_folders(&dir, limits.clone()).and_then(|made| {
                    let components = wasm.as_ref().map(|wasm| {
                        let dir = made.0.join("components");
                        Components::open(
                            &dir,
                            &wasm.engine,
                            wasm.compile.clone(),
                            wasm.bounds.clone(),
                            tasks.clone(),
                        )
                    });
                    let components = components.transpose()?.zip(wasm);
                    let packages = Packages::open(&made.0.join("packages"), limits, registries, tasks)?;
                    Ok((made, packages, components))
                });
                (dir, made)
            }
        })
        .await;
        let ((dir, bundles, shims), packages, components) =
            made.map_err(|cause| StartError::Folder { dir: asked, cause })?;
        open_files::allow_open_files();
        let launcher = Launcher::start(command.clone(), &tasks).await.map_err(|cause| {
            StartError::Launcher { program: command.first().cloned().unwrap_or_default(), cause }
        })?;
        let missing: Vec<String> = launcher.machine().missing().map(|layer| layer.name.clone()).collect();
        if !missing.is_empty() {
            if sandbox == Policy::Required {
                drop(launcher);
                tasks.close();
                tasks.wait().await;
                return Err(StartError::Sandbox(missing));
            }
            tracing::warn!(
                missing = missing.join(", "),
                "functions run without some layers of the sandbox; see `evoke doctor`"
            );
        }
        let programs = Arc::new(Programs::new(node, python, shims.python()));
        for language in Language::ALL {
            let (programs, launcher) = (Arc::clone(&programs), launcher.clone());
            tasks.spawn(async move { programs.interpreter(language, &launcher).await.err() });
        }
        let wasm = components.map(|(components, wasm)| {
            let readable = components.dir().to_owned();
            let apps = Apps::new(wasm.run, readable, wasm.authorities.into(), tasks.clone());
            Wasm { components: Arc::new(components), apps, trunks: Trunks::default() }
        });
        Ok(Self {
            programs,
            node_forks: OnceCell::new(),
            launcher: parking_lot::Mutex::new(Some(launcher)),
            bundles,
            packages,
            shims,
            scratch: Scratch::new(&dir),
            numbers: Numbers::default(),
            egress: egress::Node::new(addresses, resolver, origins, limits.clone(), tasks.clone()),
            zygotes: Zygotes::new(&limits, tasks.clone()),
            ahead: Ahead::new(&limits, tasks.clone()),
            wasm,
            limits,
            tasks,
        })
    }

    /// What this machine confines functions with; `None` once it is shut down.
    pub fn machine(&self) -> Option<Machine> {
        self.launcher.lock().as_ref().map(|launcher| launcher.machine().clone())
    }

    /// Connects from this node under the rules for addresses that functions have. Ends with the runtime.
    pub fn dialler(&self) -> egress::Dialler {
        egress::Dialler::of(&self.egress)
    }

    /// The interpreters, or why there is none, in words. Waits for their answers.
    pub async fn interpreters(&self) -> Vec<(RuntimeKind, Result<(PathBuf, (u32, u32)), String>)> {
        let Some(launcher) = self.launcher.lock().clone() else { return Vec::new() };
        let mut all = Vec::new();
        for language in Language::ALL {
            let found = self.programs.interpreter(language, &launcher).await;
            all.push((language.runtime(), found.map(|found| (PathBuf::from(&found.program), found.version))));
        }
        all
    }

    async fn start_instance(&self, spec: &Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        let launcher = self.launcher.lock().clone();
        let launcher =
            launcher.ok_or_else(|| Failure::new(FailureCode::Draining, "the server is shutting down"))?;
        if spec.runtime == RuntimeKind::Wasm {
            return Box::pin(self.start_wasm(spec, &launcher)).await;
        }
        if spec.runtime == RuntimeKind::Hook {
            return Err(init_error("a hook is nothing that runs in a process".to_owned()));
        }
        let Some(language) = Language::of(spec.runtime) else {
            return Box::pin(self.start_provided(spec, &launcher)).await;
        };
        let place = Place::find(&self.bundles, spec)?;
        let need = Need { spec, language, place: &place, launcher: &launcher };
        if spec.preload == Preload::Module && self.can_fork(language, &launcher).await.is_ok() {
            match self.zygotes.of(spec, Box::pin(self.load(need, true))).await? {
                Source::Instance(instance) => return instance.boxed(),
                Source::Zygote(zygote) => match self.fork(need, &zygote).await? {
                    Ok(instance) => return instance.boxed(),
                    Err(cause) => {
                        tracing::warn!(function = %spec.function, %cause, "an instance loads the function itself, because it could not be forked")
                    }
                },
                Source::Itself => {}
            }
        }
        let started = Box::pin(async {
            let booted = match self.ahead.take(spec) {
                Some(booted) => booted,
                None => self.boot(need, false).await?,
            };
            self.begin(need, booted, false).await
        });
        // While it loads, the next one is started.
        let (started, ()) = tokio::join!(started, Box::pin(self.start_ahead(need)));
        match started?.0 {
            Loaded::Instance(instance) => instance.boxed(),
            Loaded::Zygote(..) => {
                Err(init_error("its process is a zygote, and was not to be one".to_owned()))
            }
        }
    }

    /// Starts a process for the next instance that is wanted, if that one is to load the function itself.
    async fn start_ahead(&self, need: Need<'_>) {
        let Need { spec, .. } = need;
        if spec.preload == Preload::None || self.ahead.has(spec) {
            return;
        }
        match self.boot(need, false).await {
            Ok(booted) => self.ahead.put(spec, booted),
            Err(failure) => {
                tracing::debug!(function = %spec.function, cause = failure.message, "no process is started ahead")
            }
        }
    }

    /// Starts a process and waits until it has loaded the function.
    async fn load(&self, need: Need<'_>, zygote: bool) -> Result<(Loaded, Ground), Failure> {
        let booted = self.boot(need, zygote).await?;
        self.begin(need, booted, zygote).await
    }

    /// Starts a process, which then waits for what it is to load.
    async fn boot(&self, need: Need<'_>, zygote: bool) -> Result<Booted, Failure> {
        let Need { spec, language, launcher, .. } = need;
        let interpreter = self.programs.interpreter(language, launcher).await.map_err(init_error)?;
        let scratch = self.scratch_for(launcher)?;
        let tmp = scratch.clone().unwrap_or_else(|| PathBuf::from(PRIVATE_TMP));
        let number = self.numbers.of(spec);
        let spawn = command::interpreted(need, zygote, number, &self.shims, interpreter, scratch.clone());
        let memory_bytes = spawn.confinement.as_ref().map_or(spec.memory_bytes, |held| held.memory_bytes);
        let ground = Ground { tmp, memory_bytes, launcher: launcher.downgrade() };
        let Spawned { process, ends, egress, .. } = self.spawn(spec, launcher, spawn, scratch).await?;
        Ok(Booted { process, ends, egress, ground })
    }

    /// Waits until the process has loaded the function.
    async fn begin(&self, need: Need<'_>, booted: Booted, zygote: bool) -> Result<(Loaded, Ground), Failure> {
        let Booted { process, ends, egress, ground } = booted;
        let mut setup = self.setup(need, process, ends, zygote, Vec::new());
        setup.egress = egress;
        Ok((Box::pin(instance::start(setup)).await?, ground))
    }

    /// Forks an instance. The inner error says why a process that loads the function itself may do better.
    async fn fork(
        &self,
        need: Need<'_>,
        zygote: &Zygote,
    ) -> Result<Result<Box<ProcessInstance>, ForkError>, Failure> {
        let (process, ends) = match zygote.fork().await {
            Ok(forked) => forked,
            Err(cause) => return Ok(Err(cause)),
        };
        let mut setup = self.setup(need, process, ends, false, zygote.take_early());
        setup.shared_egress = zygote.egress();
        match Box::pin(instance::start(setup)).await? {
            Loaded::Instance(instance) => Ok(Ok(instance)),
            Loaded::Zygote(..) => Ok(Err(ForkError::Failed("the forked process is no instance".to_owned()))),
        }
    }

    fn setup<'a>(
        &'a self,
        Need { spec, place, .. }: Need<'a>,
        process: Process,
        ends: Ends,
        zygote: bool,
        early: Vec<(LogStream, String)>,
    ) -> Setup<'a> {
        let Ends { channel, stdout, stderr } = ends;
        Setup {
            spec: Arc::clone(spec),
            process,
            channel,
            stdout: Some(stdout),
            stderr: Some(stderr),
            variables: None,
            egress: None,
            shared_egress: None,
            form: Form::Json,
            source: &place.source,
            root: &place.root,
            name: &place.name,
            limits: &self.limits,
            tasks: self.tasks.clone(),
            zygote,
            early,
        }
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn prepare(
        &self,
        bundle: &PreparedBundle,
        bytes: Bytes,
        progress: &Progress,
    ) -> Result<Prepared, PrepareError> {
        self.prepare_bundle(bundle, bytes, progress).await
    }

    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        self.start_instance(&spec).await
    }

    fn is_preloaded(&self, spec: &InstanceSpec) -> bool {
        self.zygotes.has(spec)
    }

    async fn discard(&self, wanted: HashSet<String>, grace: Duration) {
        let bundles = self.bundles.clone();
        let components = self.wasm.as_ref().map(|wasm| wasm.components.clone());
        let now = Instant::now();
        on_disk_thread(move || {
            bundles.discard(&wanted, grace, now);
            if let Some(components) = components {
                components.discard(grace, now);
            }
        })
        .await;
        self.packages.discard(grace, now).await;
    }

    async fn shutdown(&self) {
        // Without it nothing is started any more; what runs is killed when it ends.
        let launcher = self.launcher.lock().take();
        self.zygotes.clear();
        self.ahead.clear();
        if let Some(wasm) = &self.wasm {
            wasm.apps.end().await;
        }
        drop(launcher);
        self.egress.end();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn init_error(message: String) -> Failure {
    Failure::new(FailureCode::InitError, message)
}
