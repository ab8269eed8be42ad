//! What is run for an instance: its command line, its environment, and what it is confined to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use evoke_core::id::{AppName, FunctionName};
use evoke_core::runtime::InstanceSpec;

use super::Need;
use super::place::Place;
use crate::interpreter::{Interpreter, Language};
use crate::launcher::Spawn;
use crate::netns::Inside;
use crate::sandbox::Confinement;
use crate::shim::Shims;

/// Where instances look for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Temporary files of a process that has a root of its own.
pub(super) const PRIVATE_TMP: &str = "/tmp";
/// The platform's address, for whoever speaks HTTP to it.
pub(super) const API: &str = "http://evoke.internal";
/// Memory that Node.js needs besides what a function allocates: stacks of its threads, code, the young generation.
const NODE_EXTRA_BYTES: u64 = 256 << 20;
/// The part of it that is really used, as a cgroup counts: what Node.js has in memory before it loads anything.
const NODE_PROGRAM_BYTES: u64 = 48 << 20;
/// What AWS Lambda's own emulator says where nobody says otherwise.
const REGION: &str = "us-east-1";
/// Of a bootstrap that the manifest names no handler for.
const HANDLER: &str = "bootstrap";
/// Size of an instance's temporary files. Where there are cgroups they count as its memory.
const TMP_BYTES: u64 = 128 << 20;

/// Numbers of functions, which become user ids. Bounded by what is deployed in the life of a server.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: AtomicU32,
    functions: parking_lot::Mutex<HashMap<(AppName, FunctionName), u32>>,
}

impl Numbers {
    /// The function's own, the same each time.
    pub(super) fn of(&self, spec: &InstanceSpec) -> u32 {
        let mut functions = self.functions.lock();
        *functions.entry((spec.app.clone(), spec.function.clone())).or_insert_with(|| self.next())
    }

    /// One that no function has, for a process of ours.
    pub(super) fn next(&self) -> u32 {
        self.last.fetch_add(1, Ordering::Relaxed)
    }
}

/// What differs between the programs that run functions.
struct Program {
    program: String,
    args: Vec<String>,
    /// Variables besides those that all have.
    env: Vec<(&'static str, String)>,
    /// What it may read besides the system and the bundle.
    readable: Vec<PathBuf>,
    /// Memory of the process and all that it starts, as a cgroup counts, and of its data, as the kernel does.
    memory_bytes: u64,
    data_bytes: u64,
    network: Inside,
}

/// The process to start for an instance that is a file for an interpreter, or for the `zygote` of such. `number` is its
/// function's own.
pub(super) fn interpreted(
    need: Need<'_>,
    zygote: bool,
    number: u32,
    shims: &Shims,
    interpreter: &Interpreter,
    scratch: Option<PathBuf>,
) -> Spawn {
    let Need { spec, language, place, .. } = need;
    let shim = shims.main(language);
    let memory_mib = spec.memory_bytes >> 20;
    let (mut args, data_bytes, memory_bytes) = match language {
        Language::Node => {
            let mut args = vec![format!("--max-old-space-size={}", (memory_mib * 3 / 4).max(16))];
            if zygote {
                // A fork does not copy threads: what V8 gives to others would never be done.
                args.push("--single-threaded".to_owned());
            }
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
        Language::Python => {
            let args = ["-I", "-S", "-X", "utf8"].map(str::to_owned).to_vec();
            (args, spec.memory_bytes, spec.memory_bytes)
        }
    };
    args.push(shim.to_string_lossy().into_owned());
    let shims = shim.parent().map(Path::to_owned);
    let program = Program {
        program: interpreter.program.clone(),
        args,
        env: vec![("PATH", PATH.to_owned()), ("EVOKE_API", API.to_owned())],
        readable: interpreter.trees.iter().chain(&place.packages).cloned().chain(shims).collect(),
        memory_bytes,
        data_bytes,
        network: Inside::new(spec.egress.ports()),
    };
    spawn(spec, number, place, scratch, program)
}

/// The process to start for an instance that is a program. It finds the platform at `api` (host and port), and
/// `interpreters` if its first line asks for one.
pub(super) fn provided(
    spec: &InstanceSpec,
    number: u32,
    place: &Place,
    scratch: Option<PathBuf>,
    (network, api): (Inside, String),
    interpreters: &[&Interpreter],
) -> Spawn {
    let folders = interpreters.iter().filter_map(|found| Path::new(&found.program).parent()?.to_str());
    let path: Vec<&str> = folders.chain([PATH]).collect();
    let task = &place.folder;
    let env = vec![
        ("PATH", path.join(":")),
        ("LD_LIBRARY_PATH", format!("{task}:{task}/lib")),
        ("EVOKE_API", format!("http://{api}")),
        ("AWS_LAMBDA_RUNTIME_API", api),
        ("AWS_LAMBDA_FUNCTION_NAME", spec.function.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", spec.revision.to_string()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", (spec.memory_bytes >> 20).to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/evoke/{}/{}", spec.app, spec.function)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", spec.revision.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("LAMBDA_TASK_ROOT", task.clone()),
        ("LAMBDA_RUNTIME_DIR", task.clone()),
        ("_HANDLER", spec.handler.clone().unwrap_or_else(|| HANDLER.to_owned())),
    ];
    let program = Program {
        program: place.source.clone(),
        args: Vec::new(),
        env,
        readable: interpreters.iter().flat_map(|found| found.trees.iter().cloned()).collect(),
        memory_bytes: spec.memory_bytes,
        data_bytes: spec.memory_bytes,
        network,
    };
    spawn(spec, number, place, scratch, program)
}

fn spawn(
    spec: &InstanceSpec,
    number: u32,
    place: &Place,
    scratch: Option<PathBuf>,
    program: Program,
) -> Spawn {
    let tmp = scratch.as_deref().unwrap_or(Path::new(PRIVATE_TMP)).to_string_lossy().into_owned();
    let confinement = Confinement {
        function: number,
        readable: program.readable.into_iter().chain([PathBuf::from(&place.root)]).collect(),
        writable: Vec::new(),
        scratch,
        tmp_bytes: TMP_BYTES,
        memory_bytes: program.memory_bytes,
        data_bytes: program.data_bytes,
        network: Some(program.network),
    };
    let own = [
        ("HOME", tmp.clone()),
        ("TMPDIR", tmp),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("EVOKE_APP", spec.app.to_string()),
        ("EVOKE_FUNCTION", spec.function.to_string()),
        ("EVOKE_REVISION", spec.revision.to_string()),
    ];
    let own = own.into_iter().chain(program.env).map(|(name, value)| (name.to_owned(), value));
    Spawn {
        id: 0,
        program: program.program,
        args: program.args,
        // A function's own variables win.
        env: own.chain(spec.env.iter().cloned()).collect(),
        cwd: place.folder.clone(),
        confinement: Some(confinement),
    }
}
