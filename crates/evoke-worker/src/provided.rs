//! Instances of the runtime `provided`: an executable that speaks the AWS Lambda runtime API.
//!
//! Nothing of ours runs in its process. It finds HTTP on a port of its own loopback interface: the listener was made inside
//! its network namespace ([`crate::netns`]), and is served from here. So an unmodified client of that API works, and no
//! other process can reach it. Which bytes mean what is told in `docs/reference/lambda-runtime-api.md`.
//!
//! `listen` accepts connections, `http` turns requests into [`ask::Ask`]s, and the one who drives the instance (`start`,
//! `call`, or nobody while it is idle) answers them at its `desk`, one after the other.

mod answering;
mod ask;
mod call;
mod desk;
mod error;
mod guard;
mod http;
mod listen;
mod reply;
mod start;

use async_trait::async_trait;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Instance};
use evoke_core::usage::Usage;

use crate::frame::message::HeaderBounds;
use crate::instance::Between;
use crate::instance::output::Output;
use crate::launcher::Process;
use crate::meter::Meter;

use desk::Desk;

pub(crate) use guard::Guard;
pub(crate) use start::{Setup, start};

/// A process that asks for invocations. Dropping it kills the process: between calls there is nothing to be told.
#[derive(Debug)]
pub(crate) struct ProvidedInstance {
    parts: Parts,
    identity: Identity,
    bounds: Bounds,
    between: Between,
    /// Lines written before the first call.
    early: Vec<(LogStream, String)>,
    /// Not in the middle of a call, and nothing went wrong so far.
    idle: bool,
    meter: Meter,
    /// Of the last call.
    usage: Usage,
}

/// What a process is made of, seen from here.
#[derive(Debug)]
struct Parts {
    process: Process,
    output: Output,
    desk: Desk,
}

/// Who it is, in the words of the runtime API.
#[derive(Debug)]
struct Identity {
    function: String,
    /// The `source` of returned events that name none.
    source: String,
    /// `Lambda-Runtime-Invoked-Function-Arn`.
    arn: String,
}

/// The bounds of [`evoke_core::limits::Limits`] that matter during a call.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    headers: HeaderBounds,
    body_bytes: u64,
    publish_events: usize,
}

#[async_trait]
impl Instance for ProvidedInstance {
    async fn call(&mut self, call: Call) -> Ended {
        if !self.is_usable() {
            let message = format!("function {}: its process ended before the call", self.between.function());
            return Ended::Failed(Failure::new(FailureCode::Crashed, message));
        }
        // Stays false if this future is dropped half-way: then nobody knows what the process is doing.
        self.idle = false;
        self.usage = Usage::default();
        let Self { parts, identity, bounds, between, early, meter, .. } = self;
        parts.output.drain(|stream, line| between.line(stream, &line));
        parts.output.finish(|stream, line| between.line(stream, &line));
        parts.output.begin_call();
        let _running = parts.output.enter(&call);
        let mut metered = meter.begin();
        let early = std::mem::take(early);
        let (ended, idle) = call::run(call, parts, identity, *bounds, &mut metered, early).await;
        (self.idle, self.usage) = (idle, metered.end());
        ended
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn is_usable(&self) -> bool {
        self.idle && !self.parts.process.has_exited()
    }

    async fn gone(&mut self) {
        let Self { parts: Parts { process, output, desk }, between, .. } = self;
        loop {
            tokio::select! {
                _ = process.exited() => return,
                ask = desk.next() => desk.answer_idle(ask),
                () = output.read(|stream, line| between.line(stream, &line)) => {}
            }
        }
    }
}
