//! How a runtime is set up, and why it could not be.

use std::ffi::OsString;
use std::path::PathBuf;

use evoke_core::egress::AddressPolicy;
use evoke_core::limits::Limits;
use evoke_core::origin::Origins;

use crate::egress::Resolver;
use crate::sandbox::Policy;
use crate::wasm::CompileBounds;

/// How a [`ProcessRuntime`](crate::ProcessRuntime) is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder of its own: unpacked bundles, the shims, scratch folders of instances. Created when absent.
    pub dir: PathBuf,
    /// Program and arguments that end up in [`crate::launcher_main`]: the `evoke` executable with `worker launcher`.
    pub launcher: Vec<OsString>,
    /// What compiles and runs components; without it there is no runtime `wasm`.
    pub wasm: Option<WasmCommands>,
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
    /// Where the connections of functions are noted.
    pub origins: Origins,
    /// Whether to run with less than all layers of the sandbox.
    pub sandbox: Policy,
    /// Environment variables that say where packages come from, as pip and npm know them; others are left out.
    pub registries: Vec<(String, String)>,
}

/// Programs and arguments that end up in the crate `evoke-wasm`.
#[derive(Debug, Clone)]
pub struct WasmCommands {
    /// In its `worker_main`.
    pub run: Vec<String>,
    /// In its `compile_main`; the component's path comes last.
    pub compile: Vec<String>,
    /// Names the engine: what was compiled for another cannot be loaded.
    pub engine: String,
    /// Certificate authorities that components' connections trust, DER in base64.
    pub authorities: Vec<String>,
    /// What compiling one component may take.
    pub bounds: CompileBounds,
}

impl Options {
    /// The default limits, interpreters from `PATH`, the system's resolver, no special address, the layers that there are,
    /// the registries of this process's environment.
    pub fn new(dir: impl Into<PathBuf>, launcher: Vec<OsString>) -> Self {
        Self {
            dir: dir.into(),
            launcher,
            wasm: None,
            limits: Limits::default(),
            node: None,
            python: None,
            addresses: AddressPolicy::default(),
            resolver: Resolver::default(),
            origins: Origins::default(),
            sandbox: Policy::Auto,
            registries: crate::packages::of_this_process(),
        }
    }
}

/// Why a [`ProcessRuntime`](crate::ProcessRuntime) could not be started.
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
