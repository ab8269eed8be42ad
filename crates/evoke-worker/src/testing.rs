//! A hostile worker without a process: the host's real half of the protocol on a real socket, against a script.
//!
//! For the fuzz target `frames` and for tests of their own crate. Time is virtual, so a deadline costs nothing, and a host
//! that waits for something that cannot come is found at once. What is left out is the process: killing it does nothing,
//! and it dies when its script says so.

mod script;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::Body;
use evoke_core::egress::AllowList;
use evoke_core::event::Event;
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::limits::Limits;
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::outcome::Failure;
use evoke_core::record::Cause;
use evoke_core::runtime::{
    Call, Ended, Input, Instance, InstanceSpec, PlatformResponse, Report, ReportSender, Reports, Request,
    reports,
};
use evoke_core::time::Timestamp;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::frame::Form;
use crate::gauge::{Counters, Reading};
use crate::instance::{self, Loaded, Setup};
use crate::launcher::{Exit, Obituary, Process};

pub use script::{Ask, Conditions, Good, Reader, Script, Step};

/// Virtual time of one call.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Virtual time after which a conversation that has not ended never will.
const HANG: Duration = Duration::from_secs(3_600);
/// Bytes of a large answer of the platform, and of a large request body.
const LARGE: usize = 1 << 20;

/// What came of a conversation.
#[derive(Debug)]
pub struct Verdict {
    /// Whether the worker could be started.
    pub started: Result<(), Failure>,
    /// How the call ended; `None` when there was none, because nothing started or what started was a zygote.
    pub ended: Option<Ended>,
    /// Whether it could still be called after a second of being idle.
    pub usable: bool,
    /// Lines of log that were reported.
    pub lines: usize,
    /// Platform requests that were passed on.
    pub asked: usize,
}

/// Plays a script against the host until the worker is gone.
///
/// # Panics
/// If the host panics or waits for ever, or ends something without saying why: the very things to be found.
pub fn converse(script: &Script) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a poller can be opened");
    let verdict = runtime.block_on(async {
        let verdict = tokio::time::timeout(HANG, Box::pin(play(script))).await;
        verdict.unwrap_or_else(|_| panic!("the host waits for ever: {script:?}"))
    });
    let failures = [verdict.started.as_ref().err(), failure_of(verdict.ended.as_ref())];
    for failure in failures.into_iter().flatten() {
        assert!(!failure.message.is_empty(), "a failure without a word: {failure:?}");
    }
    verdict
}

fn failure_of(ended: Option<&Ended>) -> Option<&Failure> {
    match ended {
        Some(Ended::Failed(failure)) => Some(failure),
        _ => None,
    }
}

async fn play(script: &Script) -> Verdict {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair can be made");
    theirs.set_nonblocking(true).expect("a socket can be made non-blocking");
    let (stdout, written_out) = std::io::pipe().expect("a pipe can be made");
    let (stderr, written_err) = std::io::pipe().expect("a pipe can be made");
    let nothing = std::fs::File::open("/dev/null").expect("/dev/null can be opened");
    // A signal to something that is no process goes nowhere.
    let (process, obituary) = Process::whole(0, nothing.into(), Counters::default());
    let called = Arc::new(Notify::new());
    let form = if script.conditions.compact { Form::Compact } else { Form::Json };
    let worker = Worker {
        socket: Some(UnixStream::from_std(theirs).expect("a socket can be watched")),
        stdio: [written_out, written_err]
            .map(|pipe| pipe::Sender::from_owned_fd(pipe.into()).expect("a pipe can be watched")),
        obituary,
        called: Arc::clone(&called),
        form,
        asked: 0,
    };
    let limits = Limits::default();
    let setup = Setup {
        spec: Arc::new(spec()),
        process,
        channel: ours.into(),
        stdout: Some(stdout.into()),
        stderr: Some(stderr.into()),
        variables: None,
        egress: None,
        shared_egress: None,
        form,
        source: "/bundle/main.py",
        root: "/bundle",
        name: "main.py",
        limits: &limits,
        tasks: TaskTracker::new(),
        zygote: script.conditions.zygote,
        early: Vec::new(),
    };
    tokio::select! {
        verdict = host(setup, &script.conditions, &called) => verdict,
        () = worker.run(script) => unreachable!("a worker waits to be ended"),
    }
}

/// From the start of an instance until it is gone.
async fn host(setup: Setup<'_>, conditions: &Conditions, called: &Notify) -> Verdict {
    let mut verdict = Verdict { started: Ok(()), ended: None, usable: false, lines: 0, asked: 0 };
    let mut instance = match Box::pin(instance::start(setup)).await {
        Ok(Loaded::Instance(instance)) => instance,
        Ok(Loaded::Zygote(..)) => return verdict,
        Err(failure) => {
            verdict.started = Err(failure);
            return verdict;
        }
    };
    called.notify_one();
    let (up, reports) = reports(32);
    let mut take = Box::pin(take(reports, conditions, &mut verdict));
    let ended = tokio::select! {
        ended = instance.call(call(conditions, up)) => ended,
        () = &mut take => unreachable!("the call holds the sender until it ends"),
    };
    // What was reported last, and bodies that are still being read.
    if conditions.reader != Reader::Stuck {
        take.await;
    } else {
        drop(take);
    }
    verdict.ended = Some(ended);
    // It is watched while it is idle; one that stays and is silent is not waited for.
    if instance.is_usable() {
        let _ = tokio::time::timeout(TIMEOUT, instance.gone()).await;
    }
    verdict.usable = instance.is_usable();
    verdict
}

/// Takes reports, as an attempt does.
async fn take(mut reports: Reports, conditions: &Conditions, verdict: &mut Verdict) {
    let (mut unanswered, mut unread) = (Vec::new(), Vec::new());
    let mut reading: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    loop {
        let report = tokio::select! {
            Some(()) = reading.next(), if !reading.is_empty() => continue,
            report = reports.recv() => report,
        };
        match report {
            None => break while reading.next().await.is_some() {},
            Some(Report::Log { line, .. }) => {
                assert!(line.len() <= Limits::default().log_line_bytes, "a line of {} bytes", line.len());
                verdict.lines += 1;
            }
            Some(Report::Platform { answer, .. }) => {
                verdict.asked += 1;
                match conditions.platform {
                    Ask::Answered => drop(answer.send(response(1))),
                    Ask::AnsweredAtLength => drop(answer.send(response(LARGE))),
                    Ask::Ignored => drop(answer),
                    Ask::KeptWaiting => unanswered.push(answer),
                }
            }
            Some(Report::Response(response)) => match conditions.reader {
                Reader::Reads => reading.push(Box::pin(read(response.body))),
                Reader::Stuck => unread.push(response.body),
                Reader::Gone => drop(response.body),
            },
        }
    }
    let _: Vec<oneshot::Sender<PlatformResponse>> = unanswered;
}

async fn read(mut body: Body) {
    while body.chunk().await.is_some_and(|chunk| chunk.is_ok()) {}
}

fn response(bytes: usize) -> PlatformResponse {
    PlatformResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: vec![b'x'; bytes].into() }
}

/// The worker's side.
struct Worker {
    socket: Option<UnixStream>,
    stdio: [pipe::Sender; 2],
    obituary: Obituary,
    /// It has been started, and is about to be called.
    called: Arc<Notify>,
    form: Form,
    /// Platform requests so far.
    asked: u32,
}

impl Worker {
    /// Does what the script says, then stays until the host has had enough, or dies.
    async fn run(mut self, script: &Script) {
        for (at, step) in script.steps.iter().enumerate() {
            if at == 1 && !script.conditions.hasty {
                self.called.notified().await;
            }
            // A host that has closed its end has given its verdict.
            if self.step(step).await.is_err() {
                break;
            }
        }
        if script.conditions.stays {
            return std::future::pending().await;
        }
        let Self { socket, stdio, obituary, .. } = self;
        drop((socket, stdio));
        obituary.publish(Exit::Code(0), Reading::default());
        std::future::pending().await
    }

    async fn step(&mut self, step: &Step) -> std::io::Result<()> {
        match step {
            Step::Wait => {
                // Ends when the host has nothing left to do.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Step::Read => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.read_what_is_there();
            }
            Step::Print { stderr, bytes, times } => {
                for _ in 0..*times {
                    self.stdio[usize::from(*stderr)].write_all(bytes).await?;
                }
            }
            Step::Close => self.socket = None,
            Step::Die { exit } => {
                self.socket = None;
                let exit = if *exit < 0 { Exit::Signal(-exit) } else { Exit::Code(*exit) };
                self.obituary.publish(exit, Reading::default());
            }
            said => {
                let Some(socket) = &mut self.socket else { return Ok(()) };
                let (bytes, times) = said.wire(self.form, &mut self.asked);
                for _ in 0..times {
                    socket.write_all(&bytes).await?;
                }
            }
        }
        Ok(())
    }

    fn read_what_is_there(&mut self) {
        let mut buffer = [0; 64 << 10];
        let Some(socket) = &mut self.socket else { return };
        while matches!(socket.try_read(&mut buffer), Ok(1..)) {}
    }
}

pub(crate) fn call(conditions: &Conditions, up: ReportSender) -> Call {
    let input = if conditions.event {
        Input::Event(Event::new("evt_1", "/shop/checkout", "purchase_complete"))
    } else {
        Input::Request(Request {
            method: Method::POST,
            uri: "http://shop.example/".to_owned(),
            headers: HeaderMap::new(),
            params: Vec::new(),
            client: None,
            body: if conditions.upload {
                Body::Full(vec![b'u'; LARGE].into())
            } else {
                Body::Full(Bytes::new())
            },
        })
    };
    Call {
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
        deadline: tokio::time::Instant::now() + TIMEOUT,
        deadline_at: Timestamp::from_millis(1_000),
        timeout: TIMEOUT,
        input,
        decorates: false,
        hops: None,
        up,
        cancel: CancellationToken::new(),
    }
}

pub(crate) fn spec() -> InstanceSpec {
    InstanceSpec {
        app: AppName::new("shop").expect("a valid name"),
        function: FunctionName::new("sample").expect("a valid name"),
        revision: RevisionId::from_text("5f0c5f0c5f0c5f0c"),
        runtime: RuntimeKind::Python,
        bundle: "bundle".to_owned(),
        source: "main.py".into(),
        handler: None,
        env: Vec::new(),
        egress: AllowList::default(),
        memory_bytes: 128 << 20,
        preload: Preload::None,
        instance_concurrency: 1,
        keeps_instance: false,
        start_timeout: TIMEOUT,
        hook: None,
    }
}
