//! [`ProcessRuntime`]: the seam of core, implemented with processes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Instance, InstanceSpec, PrepareError, PreparedBundle, Runtime};

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
}

impl Options {
    /// The default limits, interpreters from `PATH`.
    pub fn new(dir: impl Into<PathBuf>, launcher: Vec<OsString>) -> Self {
        Self { dir: dir.into(), launcher, limits: Limits::default(), node: None, python: None }
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
}

/// Runs each instance as a child process.
#[derive(Debug)]
pub struct ProcessRuntime {
    options: Options,
}

impl ProcessRuntime {
    /// Starts the launcher and writes the shims.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Ok(Self { options })
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn prepare(&self, bundle: &PreparedBundle, _bytes: Bytes) -> Result<(), PrepareError> {
        Err(PrepareError::Io(format!("bundle {} in {:?}", bundle.digest, self.options.dir)))
    }

    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        Err(Failure::new(FailureCode::InitError, format!("function {} cannot run yet", spec.function)))
    }

    async fn shutdown(&self) {}
}
