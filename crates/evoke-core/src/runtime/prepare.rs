//! Preparing: what an uploaded bundle becomes before anything of it can be started.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::manifest::{Install, RuntimeKind};

/// A bundle's name and what is to be found in it.
#[derive(Debug, Clone)]
pub struct PreparedBundle {
    /// SHA-256 of the tar, lower-case hex.
    pub digest: String,
    /// The functions' sources within it.
    pub sources: Vec<(RuntimeKind, PathBuf)>,
    /// How the packages its functions need are installed.
    pub install: Install,
}

/// Keeps on the disk what was prepared, for as long as one of its clones lives. What a running instance needs is kept for
/// as long as the instance runs, too.
#[derive(Clone, Default)]
pub struct Prepared(
    #[expect(dead_code, reason = "it is there to be dropped")] Option<Arc<dyn Any + Send + Sync>>,
);

impl Prepared {
    /// Held by dropping `guard` no earlier than the last clone.
    pub fn holding(guard: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(guard)))
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

/// Tells whoever waits for a deploy how far it is. Never waits: what nobody reads in time is dropped.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<mpsc::Sender<String>>);

impl Progress {
    /// Lines that may wait to be read.
    pub const LINES: usize = 256;

    /// Where the lines come out. They end when the last clone is gone.
    pub fn channel() -> (Self, mpsc::Receiver<String>) {
        let (lines, read) = mpsc::channel(Self::LINES);
        (Self(Some(lines)), read)
    }

    /// Nobody is told.
    pub fn none() -> Self {
        Self(None)
    }

    /// One line, for people.
    pub fn tell(&self, line: impl Into<String>) {
        if let Some(lines) = &self.0 {
            // Full when it comes faster than anybody can read: a later line says where it is.
            let _ = lines.try_send(line.into());
        }
    }
}

/// Why a bundle cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The archive breaks a rule or a limit.
    #[error("bundle: {0}")]
    Archive(String),
    /// A source file cannot be read or translated.
    #[error("{file}:{line}:{column}: {message}")]
    Source {
        /// Path within the bundle.
        file: String,
        /// From 1.
        line: u32,
        /// From 1.
        column: u32,
        /// What is wrong.
        message: String,
    },
    /// A component cannot be compiled or linked.
    #[error("{file}: {message}")]
    Component {
        /// Path within the bundle.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A file the manifest names is not in the bundle.
    #[error("source {0:?} is not among the app's files")]
    Missing(String),
    /// Packages that functions need cannot be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The disk failed.
    #[error("bundle could not be unpacked: {0}")]
    Io(String),
}

/// Why packages were not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {message}")]
pub struct InstallError {
    /// The file that asks for them, within the bundle.
    pub file: String,
    /// Its line, from 1, where one is at fault.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// The last lines of the tool that installs.
    pub output: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
}
