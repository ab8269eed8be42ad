//! Functions whose source is a Rust crate: built here, by the author's own cargo, into the component that is deployed.
//!
//! The server never runs a build: a build script is a stranger's program without a sandbox. What goes there is the component and
//! the `Cargo.toml` beside it. What was built before, cargo knows.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use evoke_core::manifest::RuntimeKind;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::Deserialize;
use tokio::process::Command;

use crate::app_folder;
use crate::exit::{Error, Result};
use crate::output::{Format, words};
use crate::pack::Built;

/// What components are built for.
const TARGET: &str = "wasm32-wasip2";
/// How long a build may take; the first one compiles all that the crate depends on.
const TIME: Duration = Duration::from_secs(900);
/// Memory of each process of a build.
const MEMORY_BYTES: u64 = 8 << 30;

/// Builds the crates among the functions' sources of the app in `folder`. Shows what cargo says. Waits until it is done.
pub async fn build(folder: &Path, format: Format) -> Result<Vec<Built>> {
    // Whoever deploys it says what is wrong with a manifest.
    let Ok(manifest) = app_folder::manifest(folder) else { return Ok(Vec::new()) };
    let sources = manifest.functions.values().filter(|function| function.runtime == RuntimeKind::Wasm);
    let crates: BTreeSet<PathBuf> = sources
        .map(|function| function.source.clone())
        .filter(|source| folder.join(source).is_dir())
        .collect();
    let mut built = Vec::with_capacity(crates.len());
    for within in crates {
        let name = within.to_string_lossy().into_owned();
        format.talk(words::faint(format_args!("building {name} with cargo for {TARGET}")));
        let component = build_one(&folder.join(&within), &name).await?;
        built.push(Built { folder: name, component });
    }
    Ok(built)
}

async fn build_one(folder: &Path, name: &str) -> Result<PathBuf> {
    expect_target(folder, name).await?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let output = run(cargo, folder, name, Stdio::inherit()).await?;
    if !output.status.success() {
        return Err(Error::failed("build", format!("{name}: cargo did not build it: {}", output.status))
            .help("what cargo says is above"));
    }
    let manifest = folder.join("Cargo.toml");
    let mut components = components(&output.stdout, &manifest);
    match (components.pop(), components.len()) {
        (Some(component), 0) => Ok(component),
        (None, _) => Err(Error::failed("build", format!("{name}: it built, and no component came of it"))
            .help("a function is a library with crate-type = [\"cdylib\"] under [lib] in its Cargo.toml")),
        (Some(_), more) => Err(Error::failed(
            "build",
            format!("{name}: {} components came of it, and a function is one", more + 1),
        )
        .help("give each function a crate of its own")),
    }
}

/// Refuses where the toolchain of the crate cannot build components.
async fn expect_target(folder: &Path, name: &str) -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = run(rustc, folder, name, Stdio::null()).await?;
    let path = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(path.trim()).is_dir() {
        return Ok(());
    }
    Err(Error::failed("rust_target", format!("{name}: the Rust toolchain has no target {TARGET}"))
        .help(format!("rustup target add {TARGET}")))
}

/// Runs a program of the toolchain in the crate's folder, within the bounds. It ends with us.
async fn run(mut command: Command, folder: &Path, name: &str, stderr: Stdio) -> Result<Output> {
    let cannot = |cause: &io::Error| {
        match cause.kind() {
        io::ErrorKind::NotFound => Error::failed("rust", format!("{name} is a Rust crate, and there is no cargo here"))
            .help(format!("install Rust (https://rustup.rs), then: rustup target add {TARGET}; or deploy the .wasm file that another machine built")),
        _ => Error::failed("rust", format!("{name}: cargo cannot be run: {cause}")),
    }
    };
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
    let child = command.spawn().map_err(|cause| cannot(&cause))?;
    let limit = Rlimit { current: Some(MEMORY_BYTES), maximum: Some(MEMORY_BYTES) };
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    // What it starts has the same bound. A machine that does not let us set one builds without.
    let _ = pid.map(|pid| prlimit(Some(pid), Resource::Data, limit));
    match tokio::time::timeout(TIME, child.wait_with_output()).await {
        Ok(output) => output.map_err(|cause| cannot(&cause)),
        Err(_) => Err(Error::failed(
            "build",
            format!("{name}: building it took longer than the limit of {} min", TIME.as_secs() / 60),
        )
        .help("build it with cargo by itself once; what it depends on is then there")),
    }
}

/// The components among what cargo says it made of the package at `manifest`.
fn components(said: &[u8], manifest: &Path) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        #[serde(default)]
        manifest_path: PathBuf,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let messages =
        said.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    let made = messages.filter(|one| one.reason == "compiler-artifact" && one.manifest_path == manifest);
    let is_component = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    made.flat_map(|one| one.filenames).filter(is_component).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_the_crate_itself_are_found_and_no_others() {
        let said =
            br#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","filenames":["/t/a.wasm"]}
{"reason":"compiler-artifact","manifest_path":"/dependency/Cargo.toml","filenames":["/t/d.wasm","/t/d.rlib"]}
not json
{"reason":"build-finished","success":true}"#;
        assert_eq!(components(said, Path::new("/a/Cargo.toml")), [Path::new("/t/a.wasm")]);
        assert!(components(b"", Path::new("/a/Cargo.toml")).is_empty());
    }
}
