//! Which file of a prepared bundle a function starts with.

use std::path::{Component, Path, PathBuf};

use evoke_core::manifest::RuntimeKind;
use evoke_core::runtime::PrepareError;

use super::executable;
use super::resolve::{self, translated};

/// Files a Node.js folder starts with, when its `package.json` names none.
const NODE_FILES: [&str; 6] = ["index.ts", "index.mts", "index.mjs", "index.js", "index.cjs", "index.cts"];
/// Files a Python folder starts with.
const PYTHON_FILES: [&str; 4] = ["main.py", "app.py", "handler.py", "lambda_function.py"];
/// The executable of a folder of the runtime provided.
const BOOTSTRAP: [&str; 1] = ["bootstrap"];

/// The component of a Rust crate, built where it was deployed from.
const CRATE: [&str; 1] = ["component.wasm"];

/// What a worker loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The source file, relative to the bundle.
    pub source: PathBuf,
    /// The file to load, relative to the bundle: the source, or its translation.
    pub load: PathBuf,
}

impl Entry {
    /// Whether the file to load was made from another.
    pub fn is_translated(&self) -> bool {
        self.source != self.load
    }
}

/// Finds the entry in a prepared bundle.
pub fn find(bundle: &Path, kind: RuntimeKind, source: &Path) -> Result<Entry, PrepareError> {
    let source = find_source(bundle, kind, source)?;
    let load = match kind {
        RuntimeKind::Node => translated(&source)
            .into_iter()
            .find(|made| bundle.join(made).is_file())
            .unwrap_or_else(|| source.clone()),
        RuntimeKind::Python | RuntimeKind::Wasm => source.clone(),
        RuntimeKind::Provided => {
            executable::check(bundle, &source)?;
            source.clone()
        }
        RuntimeKind::Hook => return Err(no_source()),
    };
    Ok(Entry { source, load })
}

/// Finds the file as it was packed.
pub(super) fn find_source(bundle: &Path, kind: RuntimeKind, source: &Path) -> Result<PathBuf, PrepareError> {
    let missing = |path: &Path| PrepareError::Missing(path.to_string_lossy().into_owned());
    let inside = source.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let source: PathBuf = source.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let path = bundle.join(&source);
    if !inside || !path.exists() {
        return Err(missing(&source));
    }
    if path.is_file() {
        return Ok(source);
    }
    let found = match kind {
        RuntimeKind::Node => match package_main(&path) {
            Some(main) => resolve::file(bundle, &source, &main),
            None => first(bundle, &source, &NODE_FILES),
        },
        RuntimeKind::Python => first(bundle, &source, &PYTHON_FILES),
        RuntimeKind::Provided => first(bundle, &source, &BOOTSTRAP),
        RuntimeKind::Wasm => first(bundle, &source, &CRATE),
        RuntimeKind::Hook => return Err(no_source()),
    };
    found.ok_or_else(|| match kind {
        RuntimeKind::Node => {
            missing(&source.join("index.ts (or index.js, or the file that main in package.json names)"))
        }
        RuntimeKind::Python => missing(&source.join("main.py")),
        RuntimeKind::Provided => missing(&source.join("bootstrap")),
        RuntimeKind::Wasm => missing(&source.join("component.wasm (which `evoke deploy` builds of a crate)")),
        RuntimeKind::Hook => no_source(),
    })
}

fn no_source() -> PrepareError {
    PrepareError::Archive("a hook has no source, and is nothing to be loaded".to_owned())
}

fn first(bundle: &Path, folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| bundle.join(path).is_file())
}

/// `exports` (its plain forms) or `main` of a package.json, as a relative specifier.
fn package_main(folder: &Path) -> Option<String> {
    let text = std::fs::read(folder.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let exports = &package["exports"];
    let main = [exports, &exports["."], &exports["."]["import"], &exports["."]["default"], &package["main"]]
        .into_iter()
        .find_map(|value| value.as_str())?;
    Some(if main.starts_with("./") { main.to_owned() } else { format!("./{main}") })
}
