//! The interpreters instances run on, each looked for until it was found once.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::interpreter::{self, Interpreter, Language};
use crate::launcher::Launcher;

/// Node.js and CPython, where they were found.
#[derive(Debug)]
pub(super) struct Programs {
    node: OnceCell<Interpreter>,
    python: OnceCell<Interpreter>,
    configured_node: Option<PathBuf>,
    configured_python: Option<PathBuf>,
    python_shim: PathBuf,
}

impl Programs {
    /// The configured ones, or those of `PATH`. CPython is to compile the shim in `python_shim`.
    pub(super) fn new(node: Option<PathBuf>, python: Option<PathBuf>, python_shim: PathBuf) -> Self {
        let (configured_node, configured_python) = (node, python);
        Self {
            node: OnceCell::new(),
            python: OnceCell::new(),
            configured_node,
            configured_python,
            python_shim,
        }
    }

    /// The interpreter, looked for until it was found once: it may be installed while we run.
    pub(super) async fn interpreter(
        &self,
        language: Language,
        launcher: &Launcher,
    ) -> Result<&Interpreter, String> {
        let (cell, configured) = match language {
            Language::Node => (&self.node, self.configured_node.as_deref()),
            Language::Python => (&self.python, self.configured_python.as_deref()),
        };
        let find = || async {
            let found = interpreter::find(language, configured, launcher).await?;
            if language == Language::Python {
                interpreter::compile(&found, &self.python_shim, launcher).await;
            }
            Ok(found)
        };
        cell.get_or_try_init(find).await
    }
}
