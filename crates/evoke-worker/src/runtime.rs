//! [`ProcessRuntime`]: the seam of core, implemented with processes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::egress::AddressPolicy;
use evoke_core::id::{AppName, FunctionName};
use evoke_core::limits::Limits;
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Instance, InstanceSpec, PrepareError, PreparedBundle, Runtime};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};
use tokio::sync::{OnceCell, oneshot};
use tokio_util::task::TaskTracker;

use crate::egress::{self, Egress, Resolver};
use crate::instance::{self, Loaded, ProcessInstance, Setup};
use crate::interpreter::{self, Interpreter, pipe_pair};
use crate::launcher::{Launcher, Process, Spawn, Stdio};
use crate::netns::{self, Inside, Sockets};
use crate::prepare::{Bundles, find_entry};
use crate::sandbox::{Confinement, Machine, Policy};
use crate::shim::Shims;
use crate::zygote::{ForkError, Ground, Source, Zygote, Zygotes};

/// Where instances look for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Temporary files of a process that has a root of its own.
const PRIVATE_TMP: &str = "/tmp";
/// The platform's address, for whoever speaks HTTP to it.
const API: &str = "http://evoke.internal";
/// Memory that Node.js needs besides what a function allocates: stacks of its threads, code, the young generation.
const NODE_EXTRA_BYTES: u64 = 256 << 20;
/// The part of it that is really used, as a cgroup counts: what Node.js has in memory before it loads anything.
const NODE_PROGRAM_BYTES: u64 = 48 << 20;
/// Size of an instance's temporary files. Where there are cgroups they count as its memory.
const TMP_BYTES: u64 = 128 << 20;

/// How a [`ProcessRuntime`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder of its own: unpacked bundles, the shims, scratch folders of instances. Created when absent.
    pub dir: PathBuf,
    /// Program and arguments that end up in [`crate::launcher_main`]: the `evoke` executable with `worker launcher`.
    pub launcher: Vec<OsString>,
    /// The node's bounds.
    pub limits: Limits,
    /// The Node.js to use; found in `PATH` when `None`.
    pub node: Option<PathBuf>,
    /// The CPython to use; found in `PATH` when `None`.
    pub python: Option<PathBuf>,
    /// Which special addresses functions may connect to, if their manifest names them.
    pub addresses: AddressPolicy,
    /// Who knows the addresses of names that functions connect to.
    pub resolver: Resolver,
    /// Whether to run with less than all layers of the sandbox.
    pub sandbox: Policy,
}

impl Options {
    /// The default limits, interpreters from `PATH`, the system's resolver, no special address, the layers that there are.
    pub fn new(dir: impl Into<PathBuf>, launcher: Vec<OsString>) -> Self {
        Self {
            dir: dir.into(),
            launcher,
            limits: Limits::default(),
            node: None,
            python: None,
            addresses: AddressPolicy::default(),
            resolver: Resolver::default(),
            sandbox: Policy::Auto,
        }
    }
}

/// Why a [`ProcessRuntime`] could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("worker folder {dir:?} cannot be used: {cause}")]
    Folder {
        /// Which.
        dir: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The launcher did not start.
    #[error("worker launcher {program:?} could not be started: {cause}")]
    Launcher {
        /// Its program.
        program: OsString,
        /// Why.
        cause: std::io::Error,
    },
    /// Layers of the sandbox are missing, and all are required.
    #[error("sandbox = \"required\", but this machine does not enforce {}", .0.join(", "))]
    Sandbox(Vec<String>),
}

/// How many files this process may have open: now, and at most. `None` is without a limit.
pub fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Runs each instance as a child process.
#[derive(Debug)]
pub struct ProcessRuntime {
    shared: Arc<Shared>,
    /// Taken at shutdown: the launcher ends when nobody can order anything any more.
    launcher: parking_lot::Mutex<Option<Launcher>>,
    bundles: Bundles,
    shims: Shims,
    scratch: PathBuf,
    last_scratch: AtomicU64,
    /// Numbers of functions, which become user ids. Bounded by what is deployed in the life of a server.
    numbers: parking_lot::Mutex<HashMap<(AppName, FunctionName), u32>>,
    egress: Arc<egress::Node>,
    zygotes: Zygotes,
    tasks: TaskTracker,
}

/// Where a function is on the disk. All are absolute but `name`, which is for people.
#[derive(Debug)]
struct Place {
    root: String,
    source: String,
    folder: String,
    name: String,
    is_translated: bool,
}

/// Our ends of what a process is connected to.
#[derive(Debug)]
struct Ends {
    channel: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    node: OnceCell<Interpreter>,
    python: OnceCell<Interpreter>,
    python_shim: PathBuf,
}

impl ProcessRuntime {
    /// Makes the folder ready, starts the launcher, and begins to look for interpreters. Waits for the launcher.
    pub async fn start(mut options: Options) -> Result<Self, StartError> {
        let (dir, made) = on_disk_thread({
            let dir = options.dir.clone();
            let limits = options.limits.clone();
            move || (dir.clone(), make_folders(&dir, limits))
        })
        .await;
        let (dir, bundles, shims) = made.map_err(|cause| StartError::Folder { dir, cause })?;
        options.dir = dir;
        allow_open_files();
        let tasks = TaskTracker::new();
        let launcher = Launcher::start(options.launcher.clone(), &tasks).await.map_err(|cause| {
            StartError::Launcher { program: options.launcher.first().cloned().unwrap_or_default(), cause }
        })?;
        let missing: Vec<String> = launcher.machine().missing().map(|layer| layer.name.clone()).collect();
        if !missing.is_empty() {
            if options.sandbox == Policy::Required {
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
        let scratch = options.dir.join("scratch");
        let shared = Arc::new(Shared {
            options,
            node: OnceCell::new(),
            python: OnceCell::new(),
            python_shim: shims.python(),
        });
        for kind in [RuntimeKind::Node, RuntimeKind::Python] {
            let (shared, launcher) = (Arc::clone(&shared), launcher.clone());
            tasks.spawn(async move { shared.interpreter(kind, &launcher).await.err() });
        }
        let launcher = parking_lot::Mutex::new(Some(launcher));
        let Options { addresses, resolver, limits, .. } = &shared.options;
        let egress = egress::Node::new(addresses.clone(), resolver.clone(), limits.clone(), tasks.clone());
        let numbers = parking_lot::Mutex::default();
        let zygotes = Zygotes::new(&shared.options.limits, tasks.clone());
        Ok(Self {
            shared,
            launcher,
            bundles,
            shims,
            scratch,
            last_scratch: AtomicU64::new(0),
            numbers,
            egress,
            zygotes,
            tasks,
        })
    }

    /// What this machine confines functions with; `None` once it is shut down.
    pub fn machine(&self) -> Option<Machine> {
        self.launcher.lock().as_ref().map(|launcher| launcher.machine().clone())
    }

    /// The interpreters, or why there is none, in words. Waits for their answers.
    pub async fn interpreters(&self) -> Vec<(RuntimeKind, Result<(PathBuf, (u32, u32)), String>)> {
        let Some(launcher) = self.launcher.lock().clone() else { return Vec::new() };
        let mut all = Vec::new();
        for kind in [RuntimeKind::Node, RuntimeKind::Python] {
            let found = self.shared.interpreter(kind, &launcher).await;
            all.push((kind, found.map(|found| (PathBuf::from(&found.program), found.version))));
        }
        all
    }

    async fn start_instance(&self, spec: &Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        let launcher = self.launcher.lock().clone();
        let launcher =
            launcher.ok_or_else(|| Failure::new(FailureCode::Draining, "the server is shutting down"))?;
        if can_be_forked(spec) {
            let load = Box::pin(self.load(spec, &launcher, true));
            match self.zygotes.of(spec, load).await? {
                Source::Instance(instance) => return Ok(instance),
                Source::Zygote(zygote) => match self.fork(spec, &zygote).await? {
                    Ok(instance) => return Ok(Box::new(instance)),
                    Err(cause) => {
                        tracing::warn!(function = %spec.function, %cause, "an instance loads the function itself, because it could not be forked")
                    }
                },
                Source::Itself => {}
            }
        }
        match Box::pin(self.load(spec, &launcher, false)).await?.0 {
            Loaded::Instance(instance) => Ok(Box::new(instance)),
            Loaded::Zygote(..) => {
                Err(init_error("its process is a zygote, and was not to be one".to_owned()))
            }
        }
    }

    /// Starts a process and waits until it has loaded the function.
    async fn load(
        &self,
        spec: &Arc<InstanceSpec>,
        launcher: &Launcher,
        zygote: bool,
    ) -> Result<(Loaded, Ground), Failure> {
        let interpreter = self.shared.interpreter(spec.runtime, launcher).await.map_err(init_error)?;
        let place = self.place(spec)?;
        let scratch = if launcher.machine().private_tmp { None } else { Some(self.make_scratch()?) };
        let tmp = scratch.clone().unwrap_or_else(|| PathBuf::from(PRIVATE_TMP));
        let (ends, mut stdio) = connect()?;
        let io = |cause: std::io::Error| init_error(format!("its process cannot be connected: {cause}"));
        let sockets = if launcher.machine().isolates_network() {
            let (ours, theirs) = netns::hand_over_pair().map_err(io)?;
            stdio.network = Some(theirs);
            Some(ours)
        } else {
            None
        };
        let spawn = self.command(spec, interpreter, &place, scratch.clone());
        let memory_bytes = spawn.confinement.as_ref().map_or(spec.memory_bytes, |held| held.memory_bytes);
        let ground = Ground { tmp, memory_bytes, launcher: launcher.downgrade() };
        let process = match launcher.spawn(spawn, stdio).await {
            Ok(process) => process,
            Err(cause) => {
                remove(scratch).await;
                return Err(init_error(format!("its process could not be started: {cause}")));
            }
        };
        let mut death = process.death();
        self.tasks.spawn(async move {
            death.seen().await;
            remove(scratch).await;
        });
        let mut setup = self.setup(spec, &place, process, ends, zygote, Vec::new());
        if let Some(sockets) = sockets {
            setup.egress = self.egress_of(spec, sockets).await.map_err(io)?;
        }
        Ok((Box::pin(instance::start(setup)).await?, ground))
    }

    /// Forks an instance. The inner error says why a process that loads the function itself may do better.
    async fn fork(
        &self,
        spec: &Arc<InstanceSpec>,
        zygote: &Zygote,
    ) -> Result<Result<ProcessInstance, ForkError>, Failure> {
        let place = self.place(spec)?;
        let (Ends { channel, stdout, stderr }, stdio) = connect()?;
        let (process, channel) = match zygote.fork(channel, stdio).await {
            Ok(forked) => forked,
            Err(cause) => return Ok(Err(cause)),
        };
        let ends = Ends { channel, stdout, stderr };
        let mut setup = self.setup(spec, &place, process, ends, false, zygote.take_early());
        setup.shared_egress = zygote.egress();
        match Box::pin(instance::start(setup)).await? {
            Loaded::Instance(instance) => Ok(Ok(instance)),
            Loaded::Zygote(..) => Ok(Err(ForkError::Failed("the forked process is no instance".to_owned()))),
        }
    }

    fn setup<'a>(
        &'a self,
        spec: &Arc<InstanceSpec>,
        place: &'a Place,
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
            stdout,
            stderr,
            egress: None,
            shared_egress: None,
            source: &place.source,
            root: &place.root,
            name: &place.name,
            limits: &self.shared.options.limits,
            tasks: self.tasks.clone(),
            zygote,
            early,
        }
    }

    fn place(&self, spec: &InstanceSpec) -> Result<Place, Failure> {
        let root = self.bundles.folder(&spec.bundle);
        let entry =
            find_entry(&root, spec.runtime, &spec.source).map_err(|cause| init_error(cause.to_string()))?;
        let source = root.join(&entry.load);
        let folder = source.parent().unwrap_or(&root);
        let texts = (root.to_str(), source.to_str(), folder.to_str(), entry.source.to_str());
        let (Some(root), Some(source), Some(folder), Some(name)) = texts else {
            return Err(init_error(format!("path {} is not UTF-8", source.display())));
        };
        let (root, source) = (root.to_owned(), source.to_owned());
        let (folder, name) = (folder.to_owned(), name.to_owned());
        Ok(Place { root, source, folder, name, is_translated: entry.is_translated() })
    }

    fn command(
        &self,
        spec: &InstanceSpec,
        interpreter: &Interpreter,
        place: &Place,
        scratch: Option<PathBuf>,
    ) -> Spawn {
        let shim = self.shims.main(spec.runtime);
        let memory_mib = spec.memory_bytes >> 20;
        let (mut args, data_bytes, memory_bytes) = match spec.runtime {
            RuntimeKind::Node => {
                let mut args = vec![format!("--max-old-space-size={}", (memory_mib * 3 / 4).max(16))];
                if place.is_translated {
                    args.push("--enable-source-maps".to_owned());
                }
                // Whether a `.js` is a module, its text says. Later versions do so by themselves.
                if interpreter.version < (20, 19) {
                    args.push("--experimental-detect-module".to_owned());
                }
                args.push("--disable-warning=MODULE_TYPELESS_PACKAGE_JSON".to_owned());
                let data = spec.memory_bytes.saturating_add(NODE_EXTRA_BYTES);
                (args, data, spec.memory_bytes.saturating_add(NODE_PROGRAM_BYTES))
            }
            // Isolated from the user's and the machine's packages, which also starts in half the time.
            RuntimeKind::Python => {
                let args = ["-I", "-S", "-X", "utf8"].map(str::to_owned).to_vec();
                (args, spec.memory_bytes, spec.memory_bytes)
            }
        };
        args.push(shim.to_string_lossy().into_owned());
        let tmp = scratch.as_deref().unwrap_or(Path::new(PRIVATE_TMP)).to_string_lossy();
        let shims = shim.parent().map(Path::to_owned);
        let readable = interpreter.trees.iter().cloned().chain(shims).chain([PathBuf::from(&place.root)]);
        let confinement = Confinement {
            function: self.number_of(spec),
            readable: readable.collect(),
            scratch: scratch.clone(),
            tmp_bytes: TMP_BYTES,
            memory_bytes,
            data_bytes,
            network: Inside::new(spec.egress.ports()),
        };
        let own = [
            ("PATH", PATH),
            ("HOME", &tmp),
            ("TMPDIR", &tmp),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("EVOKE_API", API),
            ("EVOKE_APP", spec.app.as_str()),
            ("EVOKE_FUNCTION", spec.function.as_str()),
            ("EVOKE_REVISION", spec.revision.as_str()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Spawn {
            id: 0,
            program: interpreter.program.clone(),
            args,
            // A function's own variables win.
            env: own.chain(spec.env.iter().cloned()).collect(),
            cwd: place.folder.clone(),
            confinement: Some(confinement),
        }
    }

    /// The host's half of its network; `None` for a process that died before it had one, which [`instance::start`] explains.
    async fn egress_of(&self, spec: &InstanceSpec, sockets: OwnedFd) -> std::io::Result<Option<Egress>> {
        let arrived = tokio::time::timeout(spec.start_timeout, Sockets::arrive(sockets)).await??;
        let serve =
            |sockets| Egress::serve(sockets, spec.function.to_string(), spec.egress.clone(), &self.egress);
        arrived.map(serve).transpose()
    }

    fn number_of(&self, spec: &InstanceSpec) -> u32 {
        let mut numbers = self.numbers.lock();
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry((spec.app.clone(), spec.function.clone())).or_insert(next)
    }

    fn make_scratch(&self) -> Result<PathBuf, Failure> {
        let number = self.last_scratch.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.scratch.join(number.to_string());
        // Waits for the disk's cache at most, which takes less than handing it to another thread.
        std::fs::create_dir(&path).map_err(|cause| init_error(format!("scratch folder: {cause}")))?;
        Ok(path)
    }
}

impl Shared {
    /// The interpreter, looked for until it was found once: it may be installed while we run.
    async fn interpreter(&self, kind: RuntimeKind, launcher: &Launcher) -> Result<&Interpreter, String> {
        let (cell, configured) = match kind {
            RuntimeKind::Node => (&self.node, self.options.node.as_deref()),
            RuntimeKind::Python => (&self.python, self.options.python.as_deref()),
        };
        let find = || async {
            let found = interpreter::find(kind, configured, launcher).await?;
            if kind == RuntimeKind::Python {
                interpreter::compile(&found, &self.python_shim, launcher).await;
            }
            Ok(found)
        };
        cell.get_or_try_init(find).await
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn prepare(&self, bundle: &PreparedBundle, bytes: Bytes) -> Result<(), PrepareError> {
        let (bundles, bundle) = (self.bundles.clone(), bundle.clone());
        on_disk_thread(move || bundles.prepare(&bundle, &bytes)).await
    }

    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        self.start_instance(&spec).await
    }

    async fn shutdown(&self) {
        drop(self.launcher.lock().take());
        self.zygotes.clear();
        self.egress.end();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn remove(scratch: Option<PathBuf>) {
    let Some(path) = scratch else { return };
    if let Err(cause) = tokio::fs::remove_dir_all(&path).await {
        tracing::warn!(path = %path.display(), %cause, "a scratch folder cannot be removed");
    }
}

fn init_error(message: String) -> Failure {
    Failure::new(FailureCode::InitError, message)
}

/// Whether its instances are to come from a zygote.
fn can_be_forked(spec: &InstanceSpec) -> bool {
    spec.preload == Preload::Module && spec.runtime == RuntimeKind::Python
}

fn connect() -> Result<(Ends, Stdio), Failure> {
    let failure = |cause: std::io::Error| init_error(format!("its process cannot be connected: {cause}"));
    let (channel, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|cause| failure(cause.into()))?;
    let (stdout, their_stdout) = pipe_pair().map_err(failure)?;
    let (stderr, their_stderr) = pipe_pair().map_err(failure)?;
    let stdio = Stdio { channel: theirs, stdout: their_stdout, stderr: their_stderr, network: None };
    Ok((Ends { channel, stdout, stderr }, stdio))
}

fn make_folders(dir: &Path, limits: Limits) -> std::io::Result<(PathBuf, Bundles, Shims)> {
    std::fs::create_dir_all(dir)?;
    // Processes have other working directories.
    let dir = dir.canonicalize()?;
    let scratch = dir.join("scratch");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    std::fs::create_dir(&scratch)?;
    let bundles = Bundles::open(&dir.join("bundles"), limits)?;
    let shims = Shims::write(&dir.join("shims"))?;
    Ok((dir, bundles, shims))
}

/// Each instance takes four descriptors of this process; the customary soft limit of 1,024 is soon reached.
fn allow_open_files() {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    if let Err(cause) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
    {
        tracing::warn!(%cause, "the limit of open files cannot be raised");
    }
}

/// Runs `work`, which blocks on the disk, on a thread of its own, and waits for it.
async fn on_disk_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("evoke-bundles".to_owned());
    thread.spawn(move || _ = done.send(work())).expect("a thread can be started");
    result.await.expect("the thread sends its result")
}
