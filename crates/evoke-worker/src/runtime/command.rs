//! What is run for an instance: its command line, its environment, and what it is confined to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use evoke_core::id::{AppName, FunctionName};
use evoke_core::manifest::RuntimeKind;
use evoke_core::runtime::InstanceSpec;

use super::place::Place;
use crate::interpreter::Interpreter;
use crate::launcher::Spawn;
use crate::netns::Inside;
use crate::sandbox::Confinement;
use crate::shim::Shims;

/// Where instances look for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Temporary files of a process that has a root of its own.
pub(super) const PRIVATE_TMP: &str = "/tmp";
/// The platform's address, for whoever speaks HTTP to it.
const API: &str = "http://evoke.internal";
/// Memory that Node.js needs besides what a function allocates: stacks of its threads, code, the young generation.
const NODE_EXTRA_BYTES: u64 = 256 << 20;
/// The part of it that is really used, as a cgroup counts: what Node.js has in memory before it loads anything.
const NODE_PROGRAM_BYTES: u64 = 48 << 20;
/// Size of an instance's temporary files. Where there are cgroups they count as its memory.
const TMP_BYTES: u64 = 128 << 20;

/// Numbers of functions, which become user ids. Bounded by what is deployed in the life of a server.
#[derive(Debug, Default)]
pub(super) struct Numbers(parking_lot::Mutex<HashMap<(AppName, FunctionName), u32>>);

impl Numbers {
    /// The function's own, the same each time.
    pub(super) fn of(&self, spec: &InstanceSpec) -> u32 {
        let mut numbers = self.0.lock();
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry((spec.app.clone(), spec.function.clone())).or_insert(next)
    }
}

/// The process to start for an instance. `number` is its function's own.
pub(super) fn command(
    spec: &InstanceSpec,
    number: u32,
    shims: &Shims,
    interpreter: &Interpreter,
    place: &Place,
    scratch: Option<PathBuf>,
) -> Spawn {
    let shim = shims.main(spec.runtime);
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
        function: number,
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
