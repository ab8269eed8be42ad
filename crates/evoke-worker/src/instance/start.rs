//! From a running process to an instance that can be called: `INIT`, then `READY`.

use std::sync::Arc;

use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::InstanceSpec;
use evoke_core::usage::Usage;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::early::{self, Early, with_refusals};
use super::link::Link;
use super::output::Output;
use super::{Between, EXIT, Parts, ProcessInstance, Terms, verdict};
use crate::egress::Egress;
use crate::frame::message::{self, HeaderBounds, Init, InitError, InitLimits, PROTOCOL, Ready};
use crate::frame::{Form, FrameError, Kind, PLATFORM_IN_FLIGHT};
use crate::launcher::Process;
use crate::meter::Meter;

/// A process that was just started, and what it is to load.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub spec: Arc<InstanceSpec>,
    pub process: Process,
    /// Our ends of what the process has at 3, 1 and 2.
    pub channel: std::os::fd::OwnedFd,
    pub stdout: Option<std::os::fd::OwnedFd>,
    pub stderr: Option<std::os::fd::OwnedFd>,
    /// The function's variables, for a process that is not started with them.
    pub variables: Option<Vec<(String, String)>>,
    /// Of a process with a network of its own.
    pub egress: Option<Egress>,
    /// The same of a process that was forked: its network is that of its zygote.
    pub shared_egress: Option<Arc<parking_lot::Mutex<Egress>>>,
    /// How it writes the heads of calls.
    pub form: Form,
    /// The file to load and the folder of the app, absolute.
    pub source: &'a str,
    pub root: &'a str,
    /// What the file is called for people.
    pub name: &'a str,
    pub limits: &'a Limits,
    pub tasks: TaskTracker,
    /// It is to be a zygote, if it can be.
    pub zygote: bool,
    /// Lines that the first call is to report.
    pub early: Vec<(LogStream, String)>,
}

/// What became of a process that was told to load a function.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// It can be called.
    Instance(Box<ProcessInstance>),
    /// It can be forked. The lines are what was written while loading.
    Zygote(Box<Parts>, Vec<(LogStream, String)>),
}

/// Waits until the handler is loaded. On failure the process is dead.
pub(crate) async fn start(setup: Setup<'_>) -> Result<Loaded, Failure> {
    let Setup {
        spec,
        process,
        channel,
        stdout,
        stderr,
        variables,
        egress,
        shared_egress,
        form,
        source,
        root,
        name,
        limits,
        tasks,
        zygote,
        mut early,
    } = setup;
    let io = |cause: std::io::Error| {
        Failure::new(FailureCode::InitError, format!("its process cannot be reached: {cause}"))
    };
    let mut parts = Parts {
        process,
        link: Link::new(channel).map_err(io)?,
        output: Output::new(stdout, stderr, egress, limits.log_line_bytes)
            .map_err(io)?
            .sharing(shared_egress),
        alarm: Alarm::default(),
    };
    let init = Init {
        protocol: PROTOCOL,
        source,
        root,
        name,
        handler: spec.handler.as_deref(),
        app: spec.app.as_str(),
        function: spec.function.as_str(),
        revision: spec.revision.as_str(),
        memory_mib: spec.memory_bytes >> 20,
        env: spec.env.iter().map(|(name, _)| name.as_str()).collect(),
        limits: InitLimits {
            body_bytes: limits.body_bytes,
            log_line_bytes: limits.log_line_bytes,
            platform_in_flight: PLATFORM_IN_FLIGHT,
        },
        variables: variables.as_deref(),
        zygote,
        concurrency: spec.instance_concurrency,
        sends: !spec.egress.entries().is_empty(),
        reuse: spec.keeps_instance,
    };
    parts.link.encoder.json(Kind::Init, 0, &init).map_err(|cause| verdict::violation(&cause))?;
    let loaded = tokio::time::timeout(spec.start_timeout, load(&mut parts, &mut early)).await;
    let ready = loaded.unwrap_or_else(|_| {
        let ms = spec.start_timeout.as_millis();
        Err(Failure::new(
            FailureCode::InitError,
            format!("{name}: loading took longer than the limit of {ms} ms"),
        ))
    });
    let ready = ready.map_err(|failure| with_refusals(failure, &early, &mut parts.output))?;
    tracing::debug!(function = %spec.function, pid = parts.process.pid, runtime = ready.runtime, contract = ready.contract, zygote = ready.zygote, "ready");
    match (ready.zygote, zygote) {
        (true, true) => return Ok(Loaded::Zygote(Box::new(parts), early)),
        (true, false) => {
            let message = "it is a zygote, and was not to be one".to_owned();
            return Err(verdict::violation(&FrameError::Malformed { kind: Kind::Ready, message }));
        }
        (false, _) => {}
    }
    if ready.concurrency != spec.instance_concurrency {
        let (wanted, can) = (spec.instance_concurrency, ready.concurrency);
        let message = format!("it is to run {wanted} calls at once, and says that it runs {can}");
        return Err(verdict::violation(&FrameError::Malformed { kind: Kind::Ready, message }));
    }
    // Of components their process tells what they use.
    let meter = (form == Form::Json).then(|| Arc::new(Meter::new(parts.process.gauge())));
    Ok(Loaded::Instance(Box::new(ProcessInstance {
        body: Some(parts),
        between: Between::new(spec.function.to_string()),
        source: format!("/{}/{}", spec.app, spec.function),
        terms: Terms {
            form,
            headers: HeaderBounds { fields: limits.headers, bytes: limits.header_bytes },
            log_line_bytes: limits.log_line_bytes,
            publish_events: limits.publish_events,
        },
        early,
        last_call: 0,
        concurrency: ready.concurrency,
        idle: true,
        meter,
        usage: Usage::default(),
        tasks,
        runtime: Handle::current(),
    })))
}

async fn load(parts: &mut Parts, early: &mut Early) -> Result<Ready, Failure> {
    let mut keep = |stream, line| early::keep(early, stream, line);
    loop {
        let Parts { process, link, output, .. } = &mut *parts;
        while let Some(frame) = link.frame().map_err(|cause| verdict::violation(&cause))? {
            match (frame.kind, frame.call) {
                (Kind::Ready, 0) => {
                    let ready: Ready = read(frame.kind, &frame.payload)?;
                    if ready.protocol != PROTOCOL {
                        let message = format!("it speaks version {} and not {PROTOCOL}", ready.protocol);
                        return Err(verdict::violation(&FrameError::Malformed { kind: frame.kind, message }));
                    }
                    output.drain(&mut keep);
                    return Ok(ready);
                }
                (Kind::InitError, 0) => {
                    let error: InitError = read(frame.kind, &frame.payload)?;
                    return Err(verdict::init_error(error));
                }
                (Kind::Log, 0) => {
                    let (stream, line) =
                        message::log(&frame.payload).map_err(|cause| verdict::violation(&cause))?;
                    output.note(stream, &line);
                    keep(stream, line);
                }
                (kind, call) => {
                    let message = "comes before READY";
                    return Err(verdict::violation(&FrameError::Unexpected { kind, call, message }));
                }
            }
        }
        if link.is_closed() {
            let exit = tokio::time::timeout(EXIT, process.exited()).await;
            output.drain(|_, _| {});
            output.finish(|_, _| {});
            return Err(match exit {
                Ok(exit) => {
                    let mut failure = verdict::exited(exit, &output.tail());
                    if failure.code == FailureCode::Crashed {
                        failure.code = FailureCode::InitError;
                    }
                    failure
                }
                Err(_) => Failure::new(FailureCode::InitError, "it closed its socket while loading"),
            });
        }
        tokio::select! {
            turn = link.turn(true) => if let Err(cause) = turn {
                return Err(Failure::new(FailureCode::InitError, format!("its socket failed: {cause}")));
            },
            () = output.read(&mut keep) => {}
        }
    }
}

fn read<'a, T: serde::Deserialize<'a>>(kind: Kind, payload: &'a [u8]) -> Result<T, Failure> {
    message::parse(kind, payload).map_err(|cause| verdict::violation(&cause))
}
