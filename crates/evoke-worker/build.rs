//! Compiles the add-on that forks Node.js (`src/shim/node/fork`) for [`shim`](src/shim.rs) to embed.
//!
//! It needs a C compiler and no headers of Node.js, and is linked to nothing: what it uses, also of the C library, it finds in
//! the process that loads it, so that one file serves a Node.js of glibc as well as one of musl. Where it cannot be compiled
//! the build goes on without it; Node.js instances are then not forked, and `evoke doctor` says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const FOLDER: &str = "src/shim/node/fork";

fn main() {
    println!("cargo::rerun-if-changed={FOLDER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("fork.node");
    if let Err(cause) = compile(&out) {
        println!(
            "cargo::warning=Node.js instances will not be forked: the add-on cannot be compiled: {cause}"
        );
        fs::write(&out, []).expect("the build folder can be written to");
    }
}

fn compile(out: &Path) -> Result<(), String> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(FOLDER).map_err(text)? {
        let path = entry.map_err(text)?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    let compiler = cc::Build::new().try_get_compiler().map_err(|cause| cause.to_string())?;
    let mut command: Command = compiler.to_command();
    command.args([
        "-std=c11",
        "-Os",
        "-Wall",
        "-Wextra",
        "-fPIC",
        "-shared",
        "-nostdlib",
        "-fvisibility=hidden",
    ]);
    // Both would call functions that only some C libraries have.
    command.args(["-fno-stack-protector", "-U_FORTIFY_SOURCE", "-g0", "-s"]);
    let output = command.arg("-o").arg(out).args(&sources).output().map_err(text)?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn text(cause: io::Error) -> String {
    cause.to_string()
}
