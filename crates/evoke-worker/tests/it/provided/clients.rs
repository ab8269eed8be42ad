//! Clients of the runtime API as their makers publish them: `awslambdaric` of PyPI, `aws-lambda-ric` of npm, and the crate
//! `lambda_runtime`. The first two come from `scripts/lambda-clients`, the third is `examples/lambda.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use evoke_core::limits::Limits;
use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;
use evoke_core::runtime::InstanceSpec;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn awslambdaric_runs_unmodified() {
    let Some(spec) = Client::Python.prepare().await else { return };
    answers_requests(&spec, "LookupError: no such order").await;
    answers_events(&spec).await;
    let failure = spec.broken().await;
    assert_eq!(
        (failure.0, failure.1.as_str()),
        (FailureCode::InitError, "RuntimeError: the table of prices cannot be read")
    );
    assert!(failure.2.contains("app.py"), "{}", failure.2);
}

#[tokio::test]
async fn the_client_of_npm_runs_unmodified() {
    let Some(mut spec) = Client::Node.prepare().await else { return };
    answers_requests(&spec, "RangeError: no such order").await;
    answers_events(&spec).await;
    let failure = spec.broken().await;
    assert_eq!(
        (failure.0, failure.1.as_str()),
        (FailureCode::InitError, "Error: the table of prices cannot be read")
    );
    assert!(failure.2.contains("app.mjs"), "{}", failure.2);

    spec.spec.handler = Some("app.stream".to_owned());
    streams(&spec).await;
    let outcome = spec.start().await.get("/fail").await;
    assert_eq!(outcome.failure().message, "RangeError: no such order", "{outcome:#?}");
    assert!(outcome.answer().body.is_err(), "{outcome:#?}");
}

#[tokio::test]
async fn lambda_runtime_of_rust_runs_unmodified() {
    let Some(spec) = Client::Rust.prepare().await else { return };
    answers_requests(&spec, "no such order").await;
    answers_events(&spec).await;
    streams(&spec).await;
    // It has no words for a failed start: it ends.
    let failure = spec.broken().await;
    assert_eq!(failure.0, FailureCode::InitError);
    assert_eq!(
        failure.1,
        "bootstrap: before it asked for an invocation, the process exited with status 1: Error: \"the table of prices cannot be read\""
    );
}

async fn answers_requests(client: &Prepared, error: &str) {
    let mut guest = client.start().await;
    for path in ["/one", "/two"] {
        let outcome = guest.get(path).await;
        let expected = json!({ "path": path, "run": "run_01", "function": "sample", "memory": 256 });
        assert_eq!(outcome.answer().json(), expected, "{outcome:#?}");
        if client.logs {
            let at = format!("at {path}");
            assert!(outcome.lines(LogStream::Stdout).iter().any(|line| line.ends_with(&at)), "{outcome:#?}");
        }
    }
    let outcome = guest.get("/fail").await;
    let failure = outcome.failure();
    assert_eq!(failure.code, FailureCode::FunctionError);
    assert!(failure.message.ends_with(error), "{failure:?}");
    assert_eq!(guest.get("/again").await.answer().json()["path"], "/again");
}

async fn answers_events(client: &Prepared) {
    let outcome = client.start().await.event(event()).await;
    let events = outcome.events();
    assert_eq!((events.len(), events[0].ty(), events[0].id()), (1, "seen", "run_01-0"));
    assert_eq!(serde_json::to_value(&events[0]).unwrap()["data"], json!({ "total": 42 }));
}

async fn streams(client: &Prepared) {
    let mut guest = client.start().await;
    for _ in 0..2 {
        let outcome = guest.get("/stream").await;
        let answer = outcome.answer();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain")), "{outcome:#?}");
        assert_eq!(answer.header("set-cookie"), Some("a=1"));
        let text = answer.text();
        assert_eq!((text.len(), &text[..8], &text[392..]), (400, "00000001", "00980099"));
    }
}

/// A client of the runtime API.
#[derive(Debug, Clone, Copy)]
enum Client {
    Python,
    Node,
    Rust,
}

/// A bundle with a client and a function in it.
struct Prepared {
    host: Host,
    spec: InstanceSpec,
    /// What the function prints is seen.
    logs: bool,
}

impl Prepared {
    async fn start(&self) -> Guest {
        self.host.start_spec(self.spec.clone()).await.unwrap()
    }

    /// How it fails to start: the code, the message, the stack.
    async fn broken(&self) -> (FailureCode, String, String) {
        let mut spec = self.spec.clone();
        spec.env.push(("BROKEN".to_owned(), "1".to_owned()));
        match self.host.start_spec(spec).await {
            Ok(_) => panic!("it started"),
            Err(failure) => (failure.code, failure.message, failure.stack.unwrap_or_default()),
        }
    }
}

impl Client {
    /// `None`, with the reason on standard error, where it cannot be built.
    async fn prepare(self) -> Option<Prepared> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/provided/clients");
        let own = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        match self {
            Self::Python => {
                add_folder(&mut files, &installed("python")?, "");
                files.push(("app.py".to_owned(), own("app.py")));
                let start = b"#!/bin/sh\nexec python3 -m awslambdaric \"$_HANDLER\"\n";
                files.push(("bootstrap".to_owned(), start.to_vec()));
            }
            Self::Node => {
                let client = installed("node")?.join("node_modules/aws-lambda-ric");
                for part in ["bin", "dist"] {
                    add_folder(&mut files, &client.join(part), &format!("client/{part}/"));
                }
                files.push((
                    "client/package.json".to_owned(),
                    std::fs::read(client.join("package.json")).unwrap(),
                ));
                files.push(("app.mjs".to_owned(), own("app.mjs")));
                let start = b"#!/bin/sh\nexec node client/bin/index.mjs \"$_HANDLER\"\n";
                files.push(("bootstrap".to_owned(), start.to_vec()));
            }
            Self::Rust => files.push(("bootstrap".to_owned(), std::fs::read(example()).unwrap())),
        }
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        // A test's own program has all that a debugger wants.
        let host = Host::with_limits(Limits { bundle_bytes: 512 << 20, ..Limits::default() }).await;
        let mut spec = host.prepare_tar(RuntimeKind::Provided, "bootstrap", tar_of(&files)).await.unwrap();
        spec.handler = Some("app.handler".to_owned());
        Some(Prepared { host, spec, logs: !matches!(self, Self::Rust) })
    }
}

/// Where `scripts/lambda-clients` has installed one.
fn installed(name: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/lambda-clients");
    let ran = Command::new(script).arg(name).env("CARGO_TARGET_DIR", target()).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    match ran.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8(ran.stdout).unwrap().trim())),
        Some(3) => {
            eprintln!("SKIPPED: the client for {name} cannot be installed here: {told}");
            None
        }
        _ => panic!("scripts/lambda-clients {name} failed: {told}"),
    }
}

/// The program `examples/lambda.rs`, which cargo builds with the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release")).unwrap();
    let program = profile.join("examples/lambda");
    assert!(program.exists(), "{} is not there: cargo build -p evoke-worker --examples", program.display());
    program
}

fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release")).unwrap();
    profile.parent().unwrap().to_owned()
}

/// Every file below `folder`.
fn add_folder(files: &mut Vec<(String, Vec<u8>)>, folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            add_folder(files, &entry.path(), &format!("{name}/"));
        } else {
            files.push((name, std::fs::read(entry.path()).unwrap()));
        }
    }
}
