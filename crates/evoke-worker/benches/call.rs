//! What a call costs through the runtime seam, and what a start does: a hello function in each contract.
//!
//! `cargo bench -p evoke-worker` prints one line per contract. One warm instance, one call after the other, so a call's
//! time is the round trip between the two processes with the handler in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::manifest::{Install, Preload, RuntimeKind};
use evoke_core::record::Cause;
use evoke_core::runtime::{
    Call, Ended, Input, InstanceSpec, PreparedBundle, Progress, Report, ReportSender, Request, Runtime,
    reports,
};
use evoke_core::time::Timestamp;
use evoke_worker::{Options, ProcessRuntime};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const STARTS: usize = 20;
const WARM: Duration = Duration::from_secs(3);

const SAMPLES: [(&str, &str, &str); 5] = [
    ("node web", "web.mjs", "export default { fetch: () => new Response('hello') };"),
    ("node lambda", "lambda.mjs", "export const handler = async () => ({ statusCode: 200, body: 'hello' });"),
    (
        "python lambda",
        "plain.py",
        "def handler(event, context):\n    return {'statusCode': 200, 'body': 'hello'}\n",
    ),
    (
        "python async",
        "coroutine.py",
        "async def handler(event, context):\n    return {'statusCode': 200, 'body': 'hello'}\n",
    ),
    (
        "python asgi",
        "asgi.py",
        "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    await send({'type': 'http.response.body', 'body': b'hello'})\n",
    ),
];

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let launcher = vec![env!("CARGO_BIN_EXE_evoke-launcher").into()];
    let runtime =
        ProcessRuntime::start(Options::new(dir.path(), launcher)).await.expect("the launcher starts");
    prepare(&runtime).await;
    println!("{:<14} {:>9} {:>12} {:>12} {:>9}", "contract", "calls/s", "start min", "start p50", "");
    for (name, file, _) in SAMPLES {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let began = Instant::now();
            let started = runtime.start(Arc::new(spec(file))).await.expect("the sample starts");
            starts.push(began.elapsed());
            drop(started);
        }
        starts.sort();
        let mut instance = runtime.start(Arc::new(spec(file))).await.expect("the sample starts");
        let (up, reports) = reports(16);
        let (began, mut calls) = (Instant::now(), 0u32);
        while began.elapsed() < WARM {
            for _ in 0..100 {
                let ended = instance.call(call(up.clone())).await;
                assert!(matches!(ended, Ended::Returned { .. }), "{ended:?}");
                assert!(matches!(reports.try_recv(), Some(Report::Response(_))));
                calls += 1;
            }
        }
        let rate = f64::from(calls) / began.elapsed().as_secs_f64();
        let ms = |at: usize| starts[at].as_secs_f64() * 1000.0;
        println!("{name:<14} {rate:>9.0} {:>9.1} ms {:>9.1} ms", ms(0), ms(STARTS / 2));
    }
    runtime.shutdown().await;
}

async fn prepare(runtime: &ProcessRuntime) {
    let mut tar = tar::Builder::new(Vec::new());
    for (_, file, source) in SAMPLES {
        let mut header = tar::Header::new_ustar();
        header.set_size(source.len() as u64);
        tar.append_data(&mut header, file, source.as_bytes()).expect("memory does not fail to be written");
    }
    let tar = tar.into_inner().expect("memory does not fail to be written");
    let sources = SAMPLES.iter().map(|(_, file, _)| (kind(file), PathBuf::from(file))).collect();
    let bundle = PreparedBundle { digest: "bench".to_owned(), sources, install: Install::default() };
    runtime.prepare(&bundle, tar.into(), &Progress::none()).await.expect("the samples can be prepared");
}

fn kind(file: &str) -> RuntimeKind {
    if file.ends_with(".py") { RuntimeKind::Python } else { RuntimeKind::Node }
}

fn spec(file: &str) -> InstanceSpec {
    InstanceSpec {
        app: AppName::new("bench").expect("a name"),
        function: FunctionName::new("hello").expect("a name"),
        revision: RevisionId::from_text("1"),
        runtime: kind(file),
        bundle: "bench".to_owned(),
        source: PathBuf::from(file),
        handler: None,
        env: Vec::new(),
        egress: evoke_core::egress::AllowList::default(),
        memory_bytes: 256 << 20,
        preload: Preload::Module,
        instance_concurrency: 1,
        keeps_instance: false,
        start_timeout: Duration::from_secs(20),
        hook: None,
    }
}

fn call(up: ReportSender) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("127.0.0.1:7070"));
    headers.insert("user-agent", HeaderValue::from_static("bench/1.0"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
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
            uri: "http://127.0.0.1:7070/hello".to_owned(),
            headers,
            params: Vec::new(),
            client: Some("127.0.0.1:40000".to_owned()),
            body: Body::empty(),
        }),
        decorates: false,
        hops: None,
        up,
        cancel: CancellationToken::new(),
    }
}
