//! The process that compiles: a component in, machine code out, or why not.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use wasmtime::component::Component;

use crate::engine::{self, Tasks};
use crate::{function, preload, trim};

/// Compiles the component at `source` and writes the result to `output`, which gets nothing when there is none. Why not is
/// one line on standard error. What is written, only [`crate::worker_main`] of the same build and machine can load.
///
/// Compiling is work on a stranger's input: it belongs into a process that is confined, and bounded in memory and time.
pub fn main(source: &Path, output: OwnedFd) -> ExitCode {
    match compile(source) {
        Ok(code) => match File::from(output).write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) => failed(&format!("the compiled component cannot be handed over: {cause}")),
        },
        Err(cause) => failed(&cause),
    }
}

fn failed(cause: &str) -> ExitCode {
    eprintln!("{}", cause.replace('\n', " "));
    ExitCode::FAILURE
}

/// Compiles the component at `source`. The error says what is wrong with it, for the one who wrote it.
pub fn compile(source: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(source).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|cause| format!("the component cannot be read: {cause}"))?;
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err("it is a core module, not a component; build it for wasm32-wasip2".to_owned());
    }
    let bytes = preload::preloaded(&bytes)?.unwrap_or(bytes);
    let bytes = trim::trimmed(&bytes).unwrap_or(bytes);
    // Most components are of WASI 0.2. What is not is found out before any code is made of it.
    match compile_for(Tasks::One, &bytes) {
        Ok(code) => Ok(code),
        Err(_) => compile_for(Tasks::Several, &bytes),
    }
}

fn compile_for(tasks: Tasks, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let engine = engine::compiling(tasks).map_err(|cause| format!("{cause:#}"))?;
    let component = Component::from_binary(&engine, bytes).map_err(|cause| format!("{cause:#}"))?;
    let linker = function::linker(&engine, tasks).map_err(|cause| format!("{cause:#}"))?;
    function::link(&linker, &component).map_err(|cause| cause.to_string())?;
    component.serialize().map_err(|cause| format!("{cause:#}"))
}
