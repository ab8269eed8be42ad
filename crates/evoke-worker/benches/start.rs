//! From the need for an instance to its first answer: forked from a zygote beside loading the function itself, in one run, so
//! that the ratio counts and not the machine. Then what twenty forked instances hold of memory.
//!
//! `cargo bench -p evoke-worker --bench start`. A sample that imports a package needs it below `target/bench` and is left out
//! without: `pip install --target target/bench/python numpy`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::record::Cause;
use evoke_core::runtime::{
    Call, Ended, Input, Instance, InstanceSpec, PreparedBundle, Report, Request, Runtime,
};
use evoke_core::time::Timestamp;
use evoke_worker::{Options, ProcessRuntime};
use http::{HeaderMap, Method};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const STARTS: usize = 40;
const HELD: usize = 20;

/// Name, file, a folder below `target/bench` that it needs, source (which learns that folder as `{packages}`).
const SAMPLES: [(&str, &str, &str, &str); 3] = [
    ("python bare", "bare.py", "", ""),
    (
        "python numpy",
        "numeric.py",
        "python/numpy",
        "import sys; sys.path.insert(0, '{packages}/python')\nimport numpy\n",
    ),
    ("python 200 MiB", "data.py", "", "data = bytearray(b'x') * (200 << 20)\n"),
];
const ANSWER: &str = "import os\ndef handler(event, context):\n    return [os.getpid(), os.getppid()]\n";

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let launcher = vec![env!("CARGO_BIN_EXE_evoke-launcher").into()];
    let runtime =
        ProcessRuntime::start(Options::new(dir.path(), launcher)).await.expect("the launcher starts");
    let packages = Path::new(env!("CARGO_BIN_EXE_evoke-launcher"))
        .ancestors()
        .nth(2)
        .expect("a program is in a folder")
        .join("bench");
    let present: Vec<_> = SAMPLES
        .into_iter()
        .filter(|(_, _, needs, _)| packages.join(needs).exists() || needs.is_empty())
        .collect();
    prepare(&runtime, &packages, &present).await;
    println!("{:<16} {:>20} {:>20} {:>7}", "need → answer", "itself min / p50", "forked min / p50", "ratio");
    for (name, file, ..) in &present {
        // The first has to start the zygote.
        drop(first_answer(&runtime, spec(file, Preload::Module)).await);
        let (mut itself, mut forked) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            itself.push(first_answer(&runtime, spec(file, Preload::None)).await.1);
            forked.push(first_answer(&runtime, spec(file, Preload::Module)).await.1);
        }
        itself.sort();
        forked.sort();
        let ms = |times: &[Duration], at: usize| times[at].as_secs_f64() * 1000.0;
        let show = |times: &[Duration]| format!("{:.1} / {:.1} ms", ms(times, 0), ms(times, STARTS / 2));
        let ratio = ms(&itself, STARTS / 2) / ms(&forked, STARTS / 2);
        println!("{name:<16} {:>20} {:>20} {ratio:>6.1}x", show(&itself), show(&forked));
    }
    println!("\n{HELD} instances and their zygote, proportional set size");
    for (name, file, ..) in &present {
        let (mut held, mut pids) = (Vec::new(), Vec::new());
        for _ in 0..HELD {
            let (instance, _, answer) = first_answer(&runtime, spec(file, Preload::Module)).await;
            held.push(instance);
            pids.extend(answer);
        }
        pids.sort_unstable();
        pids.dedup();
        let kib: u64 = pids.into_iter().filter_map(pss_kib).sum();
        println!("{name:<16} {:>10} MiB", kib >> 10);
    }
    runtime.shutdown().await;
}

async fn prepare(runtime: &ProcessRuntime, packages: &Path, samples: &[(&str, &str, &str, &str)]) {
    let mut tar = tar::Builder::new(Vec::new());
    for (_, file, _, source) in samples {
        let source = source.replace("{packages}", &packages.to_string_lossy()) + ANSWER;
        let mut header = tar::Header::new_ustar();
        header.set_size(source.len() as u64);
        tar.append_data(&mut header, file, source.as_bytes()).expect("memory does not fail to be written");
    }
    let tar = tar.into_inner().expect("memory does not fail to be written");
    let sources = samples.iter().map(|(_, file, ..)| (RuntimeKind::Python, PathBuf::from(file))).collect();
    let bundle = PreparedBundle { digest: "bench".to_owned(), sources };
    runtime.prepare(&bundle, tar.into()).await.expect("the samples can be prepared");
}

fn spec(file: &str, preload: Preload) -> InstanceSpec {
    InstanceSpec {
        app: AppName::new("bench").expect("a name"),
        function: FunctionName::new("start").expect("a name"),
        revision: RevisionId::from_text(file),
        runtime: RuntimeKind::Python,
        bundle: "bench".to_owned(),
        source: PathBuf::from(file),
        handler: None,
        env: Vec::new(),
        memory_bytes: 1 << 30,
        egress: evoke_core::egress::AllowList::default(),
        preload,
        start_timeout: Duration::from_secs(20),
    }
}

/// The instance, how long it took, and the process ids it answered with.
async fn first_answer(
    runtime: &ProcessRuntime,
    spec: InstanceSpec,
) -> (Box<dyn Instance>, Duration, Vec<i32>) {
    let began = Instant::now();
    let mut instance = runtime.start(Arc::new(spec)).await.expect("the sample starts");
    let (up, mut reports) = mpsc::channel(16);
    let ended = instance.call(call(up)).await;
    let took = began.elapsed();
    assert!(matches!(ended, Ended::Returned { .. }), "{ended:?}");
    let Ok(Report::Response(response)) = reports.try_recv() else { panic!("no answer") };
    let Body::Full(body) = response.body else { panic!("a small answer comes as a whole") };
    (instance, took, serde_json::from_slice(&body).expect("process ids"))
}

fn pss_kib(pid: i32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn call(up: mpsc::Sender<Report>) -> Call {
    let timeout = Duration::from_secs(10);
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    Call {
        run: RunId::from_text("run_01kabcdefghjkmnpqrstvwxyz0"),
        attempt: 1,
        cause: Cause {
            root: Correlation::from_text("corr_01"),
            parent: None,
            depth: 0,
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span_id: "b7ad6b7169203331".to_owned(),
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
        up,
        cancel: CancellationToken::new(),
    }
}
