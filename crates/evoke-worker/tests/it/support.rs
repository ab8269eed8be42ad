//! A runtime on a temporary folder, bundles out of literals, and calls whose reports are collected.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::egress::AllowList;
use evoke_core::event::Event;
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::limits::Limits;
use evoke_core::manifest::{Install, Preload, RuntimeKind};
use evoke_core::outcome::Failure;
use evoke_core::record::{Cause, LogStream};
use evoke_core::runtime::{
    Call, Ended, Input, Instance, InstanceSpec, PlatformRequest, PlatformResponse, PrepareError, Prepared,
    PreparedBundle, Progress, Report, Reports, Request, Runtime, reports,
};
use evoke_core::time::Timestamp;
use evoke_worker::{Options, ProcessRuntime, WasmCommands};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long is waited for what must come, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The limit of what reaches it, and has to come to something before.
pub const ENOUGH: Duration = Duration::from_secs(3);

pub const LAUNCHER: &str = env!("CARGO_BIN_EXE_evoke-launcher");

/// The launcher of these tests; elsewhere for a test that runs as another user.
pub fn launcher_program() -> PathBuf {
    std::env::var_os("EVOKE_TEST_LAUNCHER").map_or_else(|| LAUNCHER.into(), PathBuf::from)
}

/// A runtime and the folder it lives in.
pub struct Host {
    pub runtime: ProcessRuntime,
    pub dir: tempfile::TempDir,
}

impl Host {
    pub async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    /// Without instances forked ahead, so that a test knows which processes there are.
    pub async fn with_limits(limits: Limits) -> Self {
        Self::exactly(Limits { fork_ahead: false, ..limits }).await
    }

    pub async fn exactly(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("workers"), vec![launcher_program().into()]);
        options.limits = limits;
        Self { runtime: ProcessRuntime::start(options).await.unwrap(), dir }
    }

    /// With these programs for components.
    pub async fn with_wasm(wasm: WasmCommands) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("workers"), vec![launcher_program().into()]);
        options.wasm = Some(wasm);
        Self { runtime: ProcessRuntime::start(options).await.unwrap(), dir }
    }

    /// Prepares a bundle of these files; the first is the function's source.
    pub async fn prepare(&self, files: &[(&str, &str)]) -> Result<InstanceSpec, PrepareError> {
        let source = files[0].0;
        let runtime = if source.ends_with(".py") { RuntimeKind::Python } else { RuntimeKind::Node };
        self.prepare_as(runtime, source, files).await
    }

    pub async fn prepare_as(
        &self,
        runtime: RuntimeKind,
        source: &str,
        files: &[(&str, &str)],
    ) -> Result<InstanceSpec, PrepareError> {
        self.prepare_tar(runtime, source, tar(files)).await
    }

    pub async fn prepare_tar(
        &self,
        runtime: RuntimeKind,
        source: &str,
        tar: Bytes,
    ) -> Result<InstanceSpec, PrepareError> {
        let bundle = PreparedBundle {
            digest: digest(&tar),
            sources: vec![(runtime, PathBuf::from(source))],
            install: Install::default(),
        };
        self.runtime.prepare(&bundle, tar, &Progress::none()).await?;
        Ok(spec(runtime, source, bundle.digest))
    }

    /// The same for any files, of which the first is the source, with what keeps what was prepared.
    pub async fn prepare_bundle(
        &self,
        files: &[(&str, &[u8])],
        install: Install,
        progress: &Progress,
    ) -> Result<(InstanceSpec, Prepared), PrepareError> {
        let source = files[0].0;
        let runtime = if source.ends_with(".py") { RuntimeKind::Python } else { RuntimeKind::Node };
        let (tar, sources) = (tar_of(files), vec![(runtime, PathBuf::from(source))]);
        let bundle = PreparedBundle { digest: digest(&tar), sources, install };
        let prepared = self.runtime.prepare(&bundle, tar, progress).await?;
        Ok((spec(runtime, source, bundle.digest), prepared))
    }

    pub async fn start_spec(&self, spec: InstanceSpec) -> Result<Guest, Failure> {
        Ok(Guest { instance: self.runtime.start(Arc::new(spec)).await? })
    }

    /// Prepares and starts; fails the test when either does.
    pub async fn guest(&self, files: &[(&str, &str)]) -> Guest {
        let spec = self.prepare(files).await.unwrap();
        self.start_spec(spec).await.unwrap()
    }

    /// The failure of a start that is expected to fail.
    pub async fn refused(&self, files: &[(&str, &str)]) -> Failure {
        let spec = self.prepare(files).await.unwrap();
        match self.start_spec(spec).await {
            Ok(_) => panic!("it started"),
            Err(failure) => failure,
        }
    }
}

fn spec(runtime: RuntimeKind, source: &str, bundle: String) -> InstanceSpec {
    InstanceSpec {
        app: AppName::new("shop").unwrap(),
        function: FunctionName::new("sample").unwrap(),
        revision: RevisionId::from_text("5f0c5f0c5f0c5f0c"),
        runtime,
        bundle,
        source: PathBuf::from(source),
        handler: None,
        env: vec![("COLOUR".to_owned(), "green".to_owned())],
        egress: AllowList::default(),
        memory_bytes: 256 << 20,
        preload: Preload::Module,
        instance_concurrency: 1,
        keeps_instance: false,
        start_timeout: PATIENCE,
        hook: None,
    }
}

/// An instance.
pub struct Guest {
    pub instance: Box<dyn Instance>,
}

/// What became of a call.
#[derive(Debug)]
pub struct Outcome {
    pub ended: Ended,
    pub response: Option<Answer>,
    pub logs: Vec<(LogStream, String)>,
    pub asked: Vec<PlatformRequest>,
    pub took: Duration,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Result<Bytes, String>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.as_ref().unwrap()).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body.as_ref().unwrap()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Outcome {
    pub fn answer(&self) -> &Answer {
        match &self.response {
            Some(answer) => answer,
            None => panic!("no response: {self:#?}"),
        }
    }

    pub fn failure(&self) -> &Failure {
        match &self.ended {
            Ended::Failed(failure) => failure,
            other => panic!("it did not fail: {other:?}"),
        }
    }

    pub fn lines(&self, wanted: LogStream) -> Vec<&str> {
        self.logs.iter().filter(|(stream, _)| *stream == wanted).map(|(_, line)| line.as_str()).collect()
    }

    pub fn events(&self) -> &[Event] {
        match &self.ended {
            Ended::Returned { events } => events,
            other => panic!("it did not return: {other:?}"),
        }
    }
}

/// Answers platform requests in a test.
pub type Platform = Box<dyn FnMut(&PlatformRequest) -> PlatformResponse + Send>;

pub fn no_platform() -> Platform {
    Box::new(|request| panic!("nothing was to be asked of the platform, but {request:?} was"))
}

pub fn json_answer(status: u16, value: serde_json::Value) -> PlatformResponse {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if status >= 400 {
        let code = value["code"].as_str().unwrap();
        headers.insert("evoke-problem", HeaderValue::from_str(code).unwrap());
    }
    PlatformResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: value.to_string().into(),
    }
}

impl Guest {
    pub async fn get(&mut self, path: &str) -> Outcome {
        self.request(request("GET", path, &[], Body::empty())).await
    }

    pub async fn request(&mut self, request: Request) -> Outcome {
        self.run(Input::Request(request), PATIENCE, no_platform()).await
    }

    pub async fn event(&mut self, event: Event) -> Outcome {
        self.run(Input::Event(event), PATIENCE, no_platform()).await
    }

    pub async fn run(&mut self, input: Input, timeout: Duration, platform: Platform) -> Outcome {
        let (call, reports) = call(input, timeout);
        let began = tokio::time::Instant::now();
        let ended = async {
            let ended = self.instance.call(call).await;
            (ended, began.elapsed())
        };
        let ((ended, took), (response, logs, asked)) = tokio::join!(ended, collect(reports, platform));
        Outcome { ended, response, logs, asked, took }
    }
}

type Collected = (Option<Answer>, Vec<(LogStream, String)>, Vec<PlatformRequest>);

/// Takes reports until the call is over. Bodies are read beside it, as a client would.
async fn collect(mut reports: Reports, mut platform: Platform) -> Collected {
    let (mut answer, mut logs, mut asked) = (None, Vec::new(), Vec::new());
    let mut reading = std::pin::pin!(futures_util::future::Fuse::terminated());
    let mut open = true;
    loop {
        tokio::select! {
            body = &mut reading => {
                let answer: &mut Answer = answer.as_mut().unwrap();
                answer.body = body;
                if !open {
                    break;
                }
            }
            report = reports.recv(), if open => match report {
                None => {
                    open = false;
                    if futures_util::future::FusedFuture::is_terminated(&*reading) {
                        break;
                    }
                }
                Some(Report::Log { stream, line }) => logs.push((stream, line)),
                Some(Report::Platform { request, answer }) => {
                    let _ = answer.send(platform(&request));
                    asked.push(request);
                }
                Some(Report::Response(response)) => {
                    answer = Some(Answer { status: response.status.as_u16(), headers: response.headers, body: Err(String::new()) });
                    reading.set(futures_util::FutureExt::fuse(read(response.body)));
                }
            },
        }
    }
    (answer, logs, asked)
}

async fn read(mut body: Body) -> Result<Bytes, String> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await {
        all.extend_from_slice(&chunk.map_err(|cause| cause.to_string())?);
    }
    Ok(all.into())
}

/// A call and the receiver of its reports.
pub fn call(input: Input, timeout: Duration) -> (Call, Reports) {
    let (up, reports) = reports(16);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let call = Call {
        run: RunId::from_text("run_01"),
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
        deadline: tokio::time::Instant::now() + timeout,
        deadline_at: Timestamp::from_millis((now + timeout).as_millis() as u64),
        timeout,
        input,
        decorates: false,
        hops: None,
        up,
        cancel: CancellationToken::new(),
    };
    (call, reports)
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        uri: format!("http://shop.example:8080{path}"),
        headers: map,
        params: Vec::new(),
        client: Some("192.0.2.7:51234".to_owned()),
        body: body.into(),
    }
}

pub fn post(path: &str, body: &str) -> Request {
    request("POST", path, &[("content-type", "text/plain")], Bytes::copy_from_slice(body.as_bytes()))
}

pub fn event() -> Event {
    Event::new("evt_1", "/shop/checkout", "purchase_complete").with_json(serde_json::json!({ "total": 42 }))
}

pub fn tar(files: &[(&str, &str)]) -> Bytes {
    tar_of(&files.iter().map(|(path, content)| (*path, content.as_bytes())).collect::<Vec<_>>())
}

/// Programs and scripts are executable.
pub fn tar_of(files: &[(&str, &[u8])]) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        let is_executable = content.starts_with(b"#!") || content.starts_with(b"\x7fELF");
        header.set_mode(if is_executable { 0o755 } else { 0o644 });
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap().into()
}

/// Names a bundle by its content, as the store does with another function.
pub fn digest(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

pub fn body_of(text: &str) -> Body {
    Body::Full(Bytes::copy_from_slice(text.as_bytes()))
}

/// The bytes in chunks of `size` through a channel.
pub fn chunked(bytes: Bytes, size: usize) -> Body {
    let chunks = bytes.len().div_ceil(size);
    let (sender, body) = mpsc::channel(chunks.max(1));
    for at in 0..chunks {
        sender.try_send(Ok(bytes.slice(at * size..bytes.len().min((at + 1) * size)))).unwrap();
    }
    Body::Stream(body)
}

/// Whether a process is there that has called itself `pid` in the pid namespace `namespace` (as `/proc/self/ns/pid` links).
pub fn lives(namespace: &str, pid: i32) -> bool {
    let is_it = |entry: std::fs::DirEntry| {
        let folder = entry.path();
        let link = std::fs::read_link(folder.join("ns/pid")).ok()?;
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let names = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        let inside: i32 = names.split_whitespace().last()?.parse().ok()?;
        Some(link.to_str() == Some(namespace) && inside == pid)
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| is_it(entry).unwrap_or(false))
}

/// Waits until `holds`, and fails the test when it never does.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "it never happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
