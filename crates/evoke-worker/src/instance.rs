//! One instance: a child process with one function loaded, which runs one call at a time, or several where the function says
//! so and can ([`lane`], [`hub`]).

mod alarm;
mod between;
pub(crate) mod early;
mod exchange;
mod hub;
mod inbox;
mod lane;
mod link;
pub(crate) mod output;
pub(crate) mod problem;
pub(crate) mod reports;
pub(crate) mod returned;
mod start;
pub(crate) mod verdict;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Instance};
use evoke_core::usage::Usage;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::frame::message::{self, HeaderBounds};
use crate::frame::{Form, FrameError, Kind};
use crate::launcher::Process;
use crate::meter::Meter;

use alarm::Alarm;
use exchange::{Exchange, Metering, Over};
use link::Link;
use output::Output;

pub(crate) use between::Between;
pub(crate) use lane::{Guests, Trunk};
pub(crate) use start::{Loaded, Setup, start};

/// How long a process whose socket closed, or that was killed, may take to be gone.
pub(crate) const EXIT: Duration = Duration::from_secs(2);
/// How long an idle process may take to follow `STOP`.
const STOP: Duration = Duration::from_millis(500);

/// A process with a function in it. Dropping it ends the process: cleanly if it is idle, by SIGKILL otherwise.
#[derive(Debug)]
pub(crate) struct ProcessInstance {
    /// Taken when dropped.
    body: Option<Parts>,
    between: Between,
    source: String,
    terms: Terms,
    /// Lines written before the first call.
    early: Vec<(LogStream, String)>,
    last_call: u32,
    /// Calls it can run at once.
    concurrency: u32,
    /// Not in the middle of a call, and nothing went wrong so far.
    idle: bool,
    /// `None` for a guest of a program of ours, which tells what its guests use.
    meter: Option<Arc<Meter>>,
    /// Of the last call.
    usage: Usage,
    tasks: TaskTracker,
    runtime: Handle,
}

/// What a process is made of, seen from here.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) process: Process,
    pub(crate) link: Link,
    pub(crate) output: Output,
    pub(crate) alarm: Alarm,
}

impl Parts {
    /// What a call waits for is watched by the runtime it is made in, from now on.
    fn settle(&mut self) {
        if self.link.settle() {
            // It would go off on the clock of the other one.
            self.alarm = Alarm::default();
        }
    }
}

/// What is the same for all calls: how the worker writes heads, and the bounds of [`evoke_core::limits::Limits`] that matter during a call.
#[derive(Debug, Clone, Copy)]
struct Terms {
    form: Form,
    headers: HeaderBounds,
    log_line_bytes: usize,
    publish_events: usize,
}

impl ProcessInstance {
    /// As it is used: alone, or as the first lane of several.
    pub(crate) fn boxed(self: Box<Self>) -> Result<Box<dyn Instance>, Failure> {
        if self.concurrency == 1 {
            return Ok(self);
        }
        let lane = lane::Lane::first(*self).map_err(|cause| {
            Failure::new(FailureCode::InitError, format!("its process cannot be reached: {cause}"))
        })?;
        Ok(Box::new(lane))
    }
}

#[async_trait]
impl Instance for ProcessInstance {
    async fn call(&mut self, call: Call) -> Ended {
        let usable = self.is_usable();
        let Some(parts) = self.body.as_mut().filter(|_| usable) else {
            let message = format!("function {}: its process ended before the call", self.between.function());
            return Ended::Failed(Failure::new(FailureCode::Crashed, message));
        };
        // Stays false if this future is dropped half-way: then nobody knows what the process is doing.
        self.idle = false;
        self.usage = Usage::default();
        // Call 0 is the connection itself.
        self.last_call = self.last_call.checked_add(1).unwrap_or(1);
        parts.settle();
        parts.output.drain(|stream, line| self.between.line(stream, &line));
        parts.output.finish(|stream, line| self.between.line(stream, &line));
        parts.output.begin_call();
        let early = std::mem::take(&mut self.early);
        let metering = Metering::of(self.meter.as_deref());
        let exchange = Exchange::new(self.last_call, call, parts, metering, self.terms, &self.source, early);
        let Over { ended, is_usable, usage } = exchange.run().await;
        self.usage = usage;
        // What is behind the end of this call must not be held against the next.
        self.idle = is_usable && is_silent(&parts.process, &mut parts.link, &mut self.between);
        ended
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn is_usable(&self) -> bool {
        self.idle && self.body.as_ref().is_some_and(|parts| !parts.process.has_exited())
    }

    async fn gone(&mut self) {
        let Some(Parts { process, link, output, .. }) = &mut self.body else { return };
        loop {
            tokio::select! {
                _ = process.exited() => return,
                // A socket that fails is noticed by the next call; what counts here is that nothing wrong is said.
                _ = link.read(), if self.idle && !link.is_closed() => {
                    self.idle = is_silent(process, link, &mut self.between);
                }
                () = output.read(|stream, line| self.between.line(stream, &line)) => {}
            }
        }
    }
}

/// Whether nothing wrong has come while no call was running. A process that said such a thing is killed.
fn is_silent(process: &Process, link: &mut Link, between: &mut Between) -> bool {
    let said = between_calls(link, between);
    if let Err(cause) = &said {
        tracing::warn!(function = between.function(), %cause, "an idle instance broke the worker protocol");
        process.kill();
    }
    said.is_ok()
}

/// Nothing but log lines may come while no call is running.
fn between_calls(link: &mut Link, between: &mut Between) -> Result<(), FrameError> {
    while let Some(frame) = link.frame()? {
        if frame.kind != Kind::Log {
            let message = "comes while no call is running";
            return Err(FrameError::Unexpected { kind: frame.kind, call: frame.call, message });
        }
        let (stream, line) = message::log(&frame.payload)?;
        between.line(stream, &line);
    }
    Ok(())
}

impl Drop for ProcessInstance {
    fn drop(&mut self) {
        let Some(parts) = self.body.take() else { return };
        // Dropping the parts kills the process. An idle one is given the chance to close what it has open.
        if self.idle && parts.process.is_whole() && !parts.process.has_exited() {
            self.tasks.spawn_on(stop(parts), &self.runtime);
        }
    }
}

async fn stop(parts: Parts) {
    let Parts { mut process, mut link, mut output, .. } = parts;
    link.encoder.frame(Kind::Stop, 0, &[]);
    let stopped = async {
        loop {
            tokio::select! {
                _ = process.exited() => return,
                flushed = link.flush(), if link.has_unwritten() => if flushed.is_err() {
                    // It has closed its end already, and hears nothing more.
                    link.encoder.clear();
                },
                () = output.read(|_, _| {}) => {}
            }
        }
    };
    // Either way the process is dead after this function.
    let _ = tokio::time::timeout(STOP, stopped).await;
}
