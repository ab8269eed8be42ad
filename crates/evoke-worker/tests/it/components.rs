//! What compiling a component may take, tried with compilers that want more.

use std::time::Duration;

use evoke_core::manifest::RuntimeKind;
use evoke_core::runtime::PrepareError;
use evoke_worker::{CompileBounds, WasmCommands};

use crate::support::*;

/// What is said of a component whose compiler is this line of shell, with the channel at `$3`.
async fn said_of(compiler: &str, bounds: CompileBounds) -> String {
    // Where it really is: links are not followed into the sandbox.
    let shell = std::fs::canonicalize("/bin/sh").unwrap().into_os_string().into_string().unwrap();
    let command = vec![shell, "-c".to_owned(), compiler.to_owned()];
    let commands = WasmCommands {
        run: vec!["/bin/false".to_owned()],
        compile: command,
        engine: "none".to_owned(),
        authorities: Vec::new(),
        bounds,
    };
    let host = Host::with_wasm(commands).await;
    let refused = host.prepare_as(RuntimeKind::Wasm, "odd.wasm", &[("odd.wasm", "")]).await.unwrap_err();
    let PrepareError::Component { file, message } = refused else { panic!("{refused:?}") };
    assert_eq!(file, "odd.wasm");
    message
}

#[tokio::test]
async fn a_compiler_that_does_not_end_is_ended() {
    let bounds = CompileBounds { time: Duration::from_millis(300), ..CompileBounds::default() };
    let said = said_of("while :; do :; done", bounds).await;
    assert_eq!(said, "compiling it took longer than the limit of 300ms");
}

#[tokio::test]
async fn a_compiler_that_wants_all_memory_is_ended() {
    let bounds = CompileBounds { memory_bytes: 64 << 20, ..CompileBounds::default() };
    let said = said_of("x=0123456789abcdef; while :; do x=$x$x; done", bounds).await;
    // Killed by its cgroup; or refused more by the kernel, where there are none.
    let named =
        said == "compiling it takes more than the limit of 64 MiB of memory" || said.contains("Out of space");
    assert!(named, "{said}");
}

#[tokio::test]
async fn a_compiler_that_writes_without_end_is_not_read_to_its_end() {
    let bounds = CompileBounds { compiled_bytes: 1 << 20, ..CompileBounds::default() };
    let said = said_of("while echo 0123456789abcdef0123456789abcdef >&3; do :; done", bounds).await;
    assert_eq!(said, "it compiles to more than the limit of 1 MiB");
}

#[tokio::test]
async fn what_a_compiler_complains_of_is_told() {
    let said = said_of("echo that is no component >&2; exit 1", CompileBounds::default()).await;
    assert_eq!(said, "that is no component");
}
