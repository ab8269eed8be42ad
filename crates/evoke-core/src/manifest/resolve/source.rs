//! Where a function's source lies, and what runs it.

use std::path::{Path, PathBuf};

use super::Resolver;
use crate::manifest::bounds::SOURCE_BYTES_MAX;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{FileKind, RuntimeKind};

const RUNTIMES: [RuntimeKind; 4] =
    [RuntimeKind::Node, RuntimeKind::Python, RuntimeKind::Provided, RuntimeKind::Wasm];
/// What the executable of the runtime provided is called.
const BOOTSTRAP: &str = "bootstrap";
/// What a Rust crate has, which is built into a component.
const CRATE: &str = "Cargo.toml";
const SAY_WHICH: &str =
    r#"write runtime = "node", runtime = "python", runtime = "provided" or runtime = "wasm""#;

impl Resolver<'_, '_> {
    /// The source as a path within the app, and its runtime.
    pub(super) fn source(
        &mut self,
        place: &str,
        source: Option<&At<String>>,
        runtime: Option<&At<String>>,
    ) -> Option<(PathBuf, RuntimeKind)> {
        let given = runtime.map(|runtime| self.runtime(place, runtime));
        let source = source?;
        let path = self.path(place, source)?;
        let Some(kind) = (self.files)(&path) else {
            let message = format!("{place}: source {:?} does not exist", source.value);
            let found = self.problems.add("missing_source", source.span.clone(), message);
            found.help("the path is relative to the folder of this file");
            return None;
        };
        let follows = match kind {
            FileKind::File => self.of_file(place, source, &path, given.is_some()),
            FileKind::Folder => self.of_folder(place, source, &path, given.is_some()),
        };
        match (follows, given) {
            (Some(follows), Some(Some(given))) if follows != given => {
                let span = runtime.map_or(source.span.clone(), |runtime| runtime.span.clone());
                let (given, follows) = (given.as_str(), follows.as_str());
                let message =
                    format!("{place}: runtime {given} does not run {}, which is for {follows}", source.value);
                self.problems
                    .add("invalid_value", span, message)
                    .help("leave runtime out; it follows from the source");
                None
            }
            (Some(runtime), _) | (None, Some(Some(runtime))) => Some((path, runtime)),
            (None, _) => None,
        }
    }

    fn runtime(&mut self, place: &str, runtime: &At<String>) -> Option<RuntimeKind> {
        let name = runtime.value.as_str();
        let known = RUNTIMES.into_iter().find(|known| known.as_str() == name);
        if known.is_some() {
            return known;
        }
        let message = format!("{place}: runtime {name:?} is not known");
        self.problems
            .add("invalid_value", runtime.span.clone(), message)
            .maybe_help(did_you_mean(name, RUNTIMES.iter().map(|runtime| runtime.as_str())));
        None
    }

    /// Relative, within the app's folder, without `.` segments; `/` between segments on every system.
    fn path(&mut self, place: &str, source: &At<String>) -> Option<PathBuf> {
        let text = source.value.strip_suffix('/').unwrap_or(&source.value);
        let segments: Vec<&str> = text.split('/').filter(|segment| *segment != ".").collect();
        let reason = if text.len() > SOURCE_BYTES_MAX {
            "is longer than 1024 bytes"
        } else if text.starts_with('/') || text.get(1..3) == Some(":\\") {
            "is not relative"
        } else if text.contains('\\') {
            r"has a \, segments are divided by /"
        } else if text.chars().any(char::is_control) {
            "has control characters"
        } else if segments.contains(&"..") {
            "leads out of the app's folder"
        } else if segments.is_empty() || segments.contains(&"") {
            "names no file or folder below the app's folder"
        } else {
            return Some(segments.iter().collect());
        };
        self.problems
            .add("invalid_value", source.span.clone(), format!("{place}: source {:?} {reason}", source.value))
            .help(r#"write a path relative to the folder of this file, such as "functions/checkout.ts""#);
        None
    }

    /// What runs a file of this name. `None` when its runtime is known otherwise, or after a problem.
    fn of_file(
        &mut self,
        place: &str,
        source: &At<String>,
        path: &Path,
        runtime_given: bool,
    ) -> Option<RuntimeKind> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let (message, help) = match extension {
            Some("js" | "mjs" | "cjs" | "ts" | "mts") => return Some(RuntimeKind::Node),
            Some("py") => return Some(RuntimeKind::Python),
            Some("wasm") => return Some(RuntimeKind::Wasm),
            Some("rs") => (
                "is one file of a crate",
                Some(
                    "name the folder with its Cargo.toml, which `evoke deploy` builds, or the .wasm file that was built",
                ),
            ),
            _ if runtime_given => return None,
            None if path.ends_with(BOOTSTRAP) => return Some(RuntimeKind::Provided),
            Some(_) => (
                "has an extension that names no runtime",
                Some(
                    "known are .js .mjs .cjs .ts .mts for node, .py for python, .wasm for wasm and the name bootstrap for provided; otherwise write runtime = \"…\"",
                ),
            ),
            None => ("has no extension that names a runtime", Some(SAY_WHICH)),
        };
        let message = format!("{place}: source {:?} {message}", source.value);
        let found = self.problems.add("unknown_runtime", source.span.clone(), message);
        if let Some(help) = help {
            found.help(help);
        }
        None
    }

    /// What runs a folder with these files. `None` when its runtime is known otherwise, or after a problem.
    fn of_folder(
        &mut self,
        place: &str,
        source: &At<String>,
        path: &Path,
        runtime_given: bool,
    ) -> Option<RuntimeKind> {
        let has = |name: &str| (self.files)(&path.join(name)) == Some(FileKind::File);
        let node = has("package.json");
        let python = has("requirements.txt") || has("main.py");
        let message = match (node, python) {
            _ if runtime_given => return None,
            // Whoever puts one there means it; what else is there are the files of its own language.
            _ if has(BOOTSTRAP) => return Some(RuntimeKind::Provided),
            (false, false) if has(CRATE) => return Some(RuntimeKind::Wasm),
            (true, false) => return Some(RuntimeKind::Node),
            (false, true) => return Some(RuntimeKind::Python),
            (true, true) => "has files of both node and python",
            (false, false) => {
                "has neither a package.json (node) nor a requirements.txt or main.py (python) nor a Cargo.toml (wasm) nor a bootstrap (provided)"
            }
        };
        self.problems
            .add(
                "unknown_runtime",
                source.span.clone(),
                format!("{place}: the folder {:?} {message}", source.value),
            )
            .help(SAY_WHICH);
        None
    }
}
