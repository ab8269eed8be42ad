//! From the need for an instance to its first answer, in the full sandbox: forked from a zygote beside loading the function
//! itself, in one run, so that the ratio counts and not the machine. Then what twenty forked instances hold of memory.
//!
//! `cargo bench -p evoke-worker --bench start`. A sample that imports packages needs them below `target/bench` and is left out
//! without: `pip install --target target/bench/python numpy pillow`, `npm install --prefix target/bench/node express`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::limits::Limits;
use evoke_core::manifest::{Install, Preload, RuntimeKind};
use evoke_core::record::Cause;
use evoke_core::runtime::{
    Call, Ended, Input, Instance, InstanceSpec, PreparedBundle, Progress, Report, ReportSender, Request,
    Runtime, reports,
};
use evoke_core::time::Timestamp;
use evoke_worker::{Options, ProcessRuntime};
use http::{HeaderMap, Method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const STARTS: usize = 40;
const HELD: usize = 20;

/// One function to measure.
struct Sample {
    name: &'static str,
    file: &'static str,
    /// What it needs below `target/bench`.
    needs: &'static [&'static str],
    source: &'static str,
}

const SAMPLES: [Sample; 5] = [
    Sample { name: "python bare", file: "bare.py", needs: &[], source: PYTHON },
    Sample {
        name: "python numpy+Pillow",
        file: "imports.py",
        needs: &["python/numpy", "python/PIL"],
        source: "import numpy, PIL.Image\nimport os\ndef handler(event, context):\n    return [os.getpid(), os.getppid()]\n",
    },
    Sample {
        name: "python 200 MiB",
        file: "data.py",
        needs: &[],
        source: "data = bytearray(b'x') * (200 << 20)\nimport os\ndef handler(event, context):\n    return [os.getpid(), os.getppid()]\n",
    },
    Sample { name: "node bare", file: "bare.mjs", needs: &[], source: NODE },
    Sample {
        name: "node express",
        file: "express.mjs",
        needs: &["node/node_modules"],
        source: "import express from 'express';\nexpress().get('/', () => {});\nexport const handler = async () => [process.pid, process.ppid];\n",
    },
];
const PYTHON: &str = "import os\ndef handler(event, context):\n    return [os.getpid(), os.getppid()]\n";
const NODE: &str = "export const handler = async () => [process.pid, process.ppid];\n";

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let launcher = vec![env!("CARGO_BIN_EXE_evoke-launcher").into()];
    let mut options = Options::new(dir.path(), launcher);
    // Packages are in the bundle, as nothing else can be seen in the sandbox.
    options.limits = Limits { bundle_bytes: 1 << 30, bundle_files: 100_000, ..Limits::default() };
    let runtime = ProcessRuntime::start(options).await.expect("the launcher starts");
    let missing: Vec<String> = runtime
        .machine()
        .iter()
        .flat_map(|machine| machine.missing().map(|layer| layer.name.clone()))
        .collect();
    println!("layers of the sandbox that are missing: {missing:?}");
    runtime.forks(RuntimeKind::Node).await.expect("Node.js can be forked");
    let target = Path::new(env!("CARGO_BIN_EXE_evoke-launcher")).ancestors().nth(2);
    let packages = target.expect("a program is in a folder").join("bench");
    let present: Vec<_> = SAMPLES
        .into_iter()
        .filter(|sample| sample.needs.iter().all(|needs| packages.join(needs).exists()))
        .collect();
    prepare(&runtime, &packages, &present).await;
    println!(
        "{:<20} {:>20} {:>20} {:>20} {:>7}",
        "need → answer", "itself min / p50", "forked min / p50", "p99", "ratio"
    );
    for sample in &present {
        // The first has to start the zygote.
        drop(first_answer(&runtime, spec(sample.file, Preload::Module)).await);
        let (mut itself, mut forked) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            itself.push(first_answer(&runtime, spec(sample.file, Preload::None)).await.1);
            forked.push(first_answer(&runtime, spec(sample.file, Preload::Module)).await.1);
        }
        itself.sort();
        forked.sort();
        let ms = |times: &[Duration], at: usize| times[at].as_secs_f64() * 1000.0;
        let show = |times: &[Duration]| format!("{:.1} / {:.1} ms", ms(times, 0), ms(times, STARTS / 2));
        let ratio = ms(&itself, STARTS / 2) / ms(&forked, STARTS / 2);
        let last = format!("{:.1} ms", ms(&forked, STARTS - 1));
        println!("{:<20} {:>20} {:>20} {last:>20} {ratio:>6.1}x", sample.name, show(&itself), show(&forked));
    }
    println!("\n{HELD} instances and their zygote, proportional set size");
    for sample in &present {
        let (mut held, mut pids) = (Vec::new(), Vec::new());
        for _ in 0..HELD {
            let (instance, _, answer) = first_answer(&runtime, spec(sample.file, Preload::Module)).await;
            held.push(instance);
            pids.extend(answer);
        }
        pids.sort_unstable();
        pids.dedup();
        let kib: u64 = programs().into_iter().filter_map(pss_kib).sum();
        assert_eq!(pids.len(), HELD + 1, "instances of one zygote");
        println!("{:<20} {:>10} MiB", sample.name, kib >> 10);
    }
    runtime.shutdown().await;
}

/// One bundle for each sample, named as its file.
async fn prepare(runtime: &ProcessRuntime, packages: &Path, samples: &[Sample]) {
    for sample in samples {
        let mut tar = tar::Builder::new(Vec::new());
        tar.follow_symlinks(false);
        let mut header = tar::Header::new_ustar();
        header.set_size(sample.source.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, sample.file, sample.source.as_bytes())
            .expect("memory can be written to");
        let language = if sample.file.ends_with(".py") { "python" } else { "node/node_modules" };
        let into = if sample.file.ends_with(".py") { "site-packages" } else { "node_modules" };
        if !sample.needs.is_empty() {
            append(&mut tar, &packages.join(language), Path::new(into));
        }
        let tar = tar.into_inner().expect("memory can be written to");
        let sources = vec![(kind(sample.file), PathBuf::from(sample.file))];
        let bundle = PreparedBundle { digest: digest(sample.file), sources, install: Install::default() };
        runtime.prepare(&bundle, tar.into(), &Progress::none()).await.expect("the samples can be prepared");
    }
}

/// Ordinary files only, as in what is deployed.
fn append(tar: &mut tar::Builder<Vec<u8>>, folder: &Path, into: &Path) {
    for entry in std::fs::read_dir(folder).expect("the packages can be read").flatten() {
        let (path, into) = (entry.path(), into.join(entry.file_name()));
        let kind = entry.file_type().expect("the packages can be read");
        if kind.is_dir() {
            append(tar, &path, &into);
        } else if kind.is_file() {
            tar.append_path_with_name(&path, &into).expect("the packages can be read");
        }
    }
}

/// Something of that form.
fn digest(file: &str) -> String {
    file.replace('.', "")
}

fn kind(file: &str) -> RuntimeKind {
    if file.ends_with(".py") { RuntimeKind::Python } else { RuntimeKind::Node }
}

fn spec(file: &str, preload: Preload) -> InstanceSpec {
    InstanceSpec {
        app: AppName::new("bench").expect("a name"),
        function: FunctionName::new("start").expect("a name"),
        revision: RevisionId::from_text(file),
        runtime: kind(file),
        bundle: digest(file),
        source: PathBuf::from(file),
        handler: None,
        env: Vec::new(),
        memory_bytes: 1 << 30,
        egress: evoke_core::egress::AllowList::default(),
        preload,
        instance_concurrency: 1,
        keeps_instance: false,
        start_timeout: Duration::from_secs(20),
        hook: None,
    }
}

/// The instance, how long it took, and the process ids it answered with.
async fn first_answer(
    runtime: &ProcessRuntime,
    spec: InstanceSpec,
) -> (Box<dyn Instance>, Duration, Vec<i32>) {
    let began = Instant::now();
    let mut instance = runtime.start(Arc::new(spec)).await.expect("the sample starts");
    let (up, reports) = reports(16);
    let ended = instance.call(call(up)).await;
    let took = began.elapsed();
    assert!(matches!(ended, Ended::Returned { .. }), "{ended:?}");
    let Some(Report::Response(response)) = reports.try_recv() else { panic!("no answer") };
    let Body::Full(body) = response.body else { panic!("a small answer comes as a whole") };
    (instance, took, serde_json::from_slice(&body).expect("process ids"))
}

/// The processes of the pid namespace in which there are most: the zygotes of other samples have no instances.
fn programs() -> Vec<i32> {
    let mut namespaces: HashMap<_, Vec<i32>> = HashMap::new();
    for pid in descendants() {
        namespaces.entry(std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()).or_default().push(pid);
    }
    namespaces.into_values().max_by_key(Vec::len).unwrap_or_default()
}

/// Everything below the launcher.
fn descendants() -> Vec<i32> {
    let mut found = vec![std::process::id() as i32];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        at += 1;
    }
    // This process and the launcher are none.
    found.split_off(2.min(found.len()))
}

fn pss_kib(pid: i32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn call(up: ReportSender) -> Call {
    let timeout = Duration::from_secs(10);
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    Call {
        run: RunId::from_text("run_01kabcdefghjkmnpqrstvwxyz0"),
        attempt: 1,
        cause: Cause {
            root: Correlation::from_text("corr_01"),
            parent: None,
            depth: 0,
            chain: evoke_core::chain::Chain::default(),
            version: None,
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span_id: "b7ad6b7169203331".to_owned(),
            shadow: false,
        },
        deadline: Instant::now() + timeout,
        deadline_at: Timestamp::from_millis((now + timeout).as_millis() as u64),
        timeout,
        input: Input::Request(Request {
            method: Method::GET,
            uri: "http://127.0.0.1:7070/start".to_owned(),
            headers: HeaderMap::new(),
            params: Vec::new(),
            client: None,
            body: Body::empty(),
        }),
        decorates: false,
        hops: None,
        up,
        cancel: CancellationToken::new(),
    }
}
