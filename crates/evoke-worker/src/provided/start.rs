//! From a running process to an instance that can be called: it asks for its first invocation.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::InstanceSpec;
use evoke_core::usage::Usage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ask::Ask;
use super::desk::Desk;
use super::guard::Guard;
use super::http::Shared;
use super::listen::Listen;
use super::reply::Reply;
use super::{Bounds, Identity, Parts, ProvidedInstance};
use crate::egress::Egress;
use crate::frame::message::HeaderBounds;
use crate::instance::early::{self, Early, with_refusals};
use crate::instance::output::Output;
use crate::instance::{Between, verdict};
use crate::launcher::{Exit, Process};
use crate::meter::Meter;
use crate::prepare::script_interpreter;

/// A process that was just started.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub spec: Arc<InstanceSpec>,
    pub process: Process,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Of a process with a network of its own.
    pub egress: Option<Egress>,
    /// Where it finds the runtime API; `None` for a process that died before it could have one.
    pub listener: Option<OwnedFd>,
    /// Who may connect to it.
    pub guard: Guard,
    /// The bootstrap, and what it is called for people.
    pub program: &'a Path,
    pub name: &'a str,
    pub limits: &'a Limits,
    pub tasks: TaskTracker,
}

/// Waits until it asks for its first invocation. On failure the process is dead.
pub(crate) async fn start(setup: Setup<'_>) -> Result<ProvidedInstance, Failure> {
    let Setup { spec, process, stdout, stderr, egress, listener, guard, program, name, limits, tasks } =
        setup;
    let io = |cause: std::io::Error| init_error(format!("its process cannot be reached: {cause}"));
    let ended = CancellationToken::new();
    // As many asks as there can be connections: none has to wait for room.
    let (asks, inbox) = mpsc::channel(limits.runtime_api_connections.max(1));
    let platform_bytes = limits.body_bytes.max(limits.effects_bytes);
    let shared = Arc::new(Shared::new(asks, limits.headers, platform_bytes));
    if let Some(listener) = listener {
        let listen = Listen::new(listener, guard, limits.runtime_api_connections, tasks).map_err(io)?;
        listen.serve(shared, &ended);
    }
    let mut parts = Parts {
        process,
        output: Output::new(Some(stdout), Some(stderr), egress, limits.log_line_bytes).map_err(io)?,
        desk: Desk::new(inbox, ended.drop_guard()),
    };
    let mut early = Vec::new();
    let initialised = tokio::time::timeout(spec.start_timeout, initialise(&mut parts, &mut early)).await;
    let initialised = initialised.unwrap_or_else(|_| {
        let ms = spec.start_timeout.as_millis();
        Err(Failed::Itself(init_error(format!(
            "{name}: it did not ask for an invocation within the limit of {ms} ms"
        ))))
    });
    if let Err(failed) = initialised {
        let failure = match failed {
            Failed::Itself(failure) => failure,
            Failed::Exited(exit) => explain(exit, &parts.output.tail(), program, name),
        };
        return Err(with_refusals(failure, &early, &mut parts.output));
    }
    tracing::debug!(function = %spec.function, pid = parts.process.pid, "ready");
    let meter = Meter::new(parts.process.gauge());
    Ok(ProvidedInstance {
        parts,
        identity: Identity {
            function: spec.function.to_string(),
            source: format!("/{}/{}", spec.app, spec.function),
            arn: format!("arn:evoke:lambda:local:{}:function:{}", spec.app, spec.function),
        },
        bounds: Bounds {
            headers: HeaderBounds { fields: limits.headers, bytes: limits.header_bytes },
            body_bytes: limits.body_bytes,
            publish_events: limits.publish_events,
        },
        between: Between::new(spec.function.to_string()),
        early,
        idle: true,
        meter,
        usage: Usage::default(),
    })
}

/// Why it is no instance.
enum Failed {
    Exited(Exit),
    Itself(Failure),
}

async fn initialise(parts: &mut Parts, early: &mut Early) -> Result<(), Failed> {
    let Parts { process, output, desk } = parts;
    let mut keep = |stream, line| early::keep(early, stream, line);
    loop {
        tokio::select! {
            biased;
            ask = desk.next() => match ask {
                Ask::Next(poll) => {
                    desk.park(poll);
                    output.drain(&mut keep);
                    return Ok(());
                }
                Ask::InitError { error, reply } => {
                    let _ = reply.send(Reply::Accepted);
                    return Err(Failed::Itself(error.into_failure(FailureCode::InitError)));
                }
                Ask::Tell(line) => keep(LogStream::Platform, line),
                other => desk.answer_idle(other),
            },
            exit = process.exited() => {
                output.drain(|_, _| {});
                output.finish(|_, _| {});
                return Err(Failed::Exited(exit));
            }
            () = output.read(&mut keep) => {}
        }
    }
}

/// An end before the first invocation.
fn explain(exit: Exit, tail: &[&str], program: &Path, name: &str) -> Failure {
    let not_started = matches!(exit, Exit::NotStarted(_));
    let mut failure = verdict::exited(exit, tail);
    if failure.code == FailureCode::Crashed {
        failure.code = FailureCode::InitError;
        failure.message = format!("{name}: before it asked for an invocation, {}", failure.message);
    }
    if not_started && let Some(interpreter) = script_interpreter(program) {
        failure.message.push_str(&format!("; the first line of {name} asks for {interpreter:?}"));
    }
    failure
}

fn init_error(message: String) -> Failure {
    Failure::new(FailureCode::InitError, message)
}
