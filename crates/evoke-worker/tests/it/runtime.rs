//! Starting the runtime, and what it says when it cannot.

use std::sync::Arc;

use evoke_core::runtime::Runtime;
use evoke_worker::{Options, ProcessRuntime, StartError};

use crate::support::*;

#[tokio::test]
async fn a_launcher_that_cannot_be_started_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (program, message) in [
        (
            "/no/such/program",
            "worker launcher \"/no/such/program\" could not be started: No such file or directory (os error 2)",
        ),
        (
            "/bin/true",
            "worker launcher \"/bin/true\" could not be started: it ended at once, or is no launcher",
        ),
    ] {
        let error = ProcessRuntime::start(Options::new(dir.path(), vec![program.into()])).await.unwrap_err();
        assert!(matches!(error, StartError::Launcher { .. }));
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = ProcessRuntime::start(Options::new(&file, vec![LAUNCHER.into()])).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("worker folder {file:?} cannot be used: ")), "{error}");
}

#[tokio::test]
async fn an_interpreter_that_is_missing_is_told_with_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path(), vec![LAUNCHER.into()]);
    options.node = Some("/no/such/node".into());
    options.python = Some("/bin/echo".into());
    let host = Host { runtime: ProcessRuntime::start(options).await.unwrap(), dir };
    let node = host.refused(&[("main.mjs", "export const handler = () => 1;")]).await;
    assert_eq!(
        node.message,
        "no Node.js of version 20.11 or newer was found (/no/such/node: No such file or directory (os error 2)): install it (apt install nodejs, or https://nodejs.org)"
    );
    let python = host.refused(&[("main.py", "")]).await;
    assert_eq!(
        python.message,
        "no CPython of version 3.11 or newer was found (/bin/echo: it could not say its version): install it (apt install python3, or https://python.org)"
    );
}

#[tokio::test]
async fn a_bundle_that_was_never_prepared_is_told() {
    let host = Host::start().await;
    let mut spec = host.prepare(&[("main.py", "def handler(e, c): pass\n")]).await.unwrap();
    spec.bundle = "0".repeat(64);
    let failure = host.runtime.start(Arc::new(spec)).await.err().unwrap();
    assert_eq!(failure.message, "source \"main.py\" is not among the app's files");
}

#[tokio::test]
async fn nothing_starts_after_shutdown() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", "def handler(e, c): pass\n")]).await.unwrap();
    host.runtime.shutdown().await;
    let failure = host.runtime.start(Arc::new(spec)).await.err().unwrap();
    assert_eq!(failure.to_string(), "draining: the server is shutting down");
}

#[tokio::test]
async fn an_environment_that_is_too_large_is_told() {
    let host = Host::start().await;
    let mut spec = host.prepare(&[("main.py", "def handler(e, c): pass\n")]).await.unwrap();
    spec.env = vec![("LARGE".to_owned(), "x".repeat(200 << 10))];
    let Err(failure) = host.start_spec(spec).await else { panic!("it started") };
    assert!(failure.message.starts_with("its process could not be started: "), "{failure}");
    assert!(
        failure.message.ends_with("bytes of arguments and environment are above the limit of 163840"),
        "{failure}"
    );
}

#[test]
fn a_launcher_started_by_hand_says_what_it_is() {
    let output = std::process::Command::new(LAUNCHER).stdin(std::process::Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        "evoke worker launcher: this is started by evoke itself: its standard input must be a socket of the host\n"
    );
}
