//! One call: the invocation is handed out, its answer taken in, and the call is over when the process asks for the next.
//!
//! One task, no locks: each turn waits for whichever can go on (an ask, a part of the answer, room at a receiver, the pipes,
//! the deadline) and moves that on. While reports wait for room nothing more is asked or read, so a slow receiver slows the
//! function down and nothing piles up here.

mod invocation;
mod take;

use std::pin::{Pin, pin};

use evoke_core::body::BodyError;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Input, Report};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFuture;

use super::answering::{Answering, Form};
use super::ask::{Ask, Chunk, Invocation};
use super::{Bounds, Identity, Parts};
use crate::instance::reports::Reports;
use crate::instance::returned::Returned;
use crate::instance::{EXIT, verdict};
use crate::launcher::Exit;
use crate::meter::Metered;

/// A call under way.
#[derive(Debug)]
struct Running<'a, 'm> {
    call: Call,
    parts: &'a mut Parts,
    identity: &'a Identity,
    bounds: Bounds,
    metered: &'a mut Metered<'m>,
    reports: Reports,
    stage: Stage,
}

/// Where the call stands.
#[derive(Debug)]
enum Stage {
    /// Nobody has asked for it yet.
    Waiting(Invocation),
    /// The function has it.
    Invoked,
    /// Its answer comes in.
    Answering(Box<Answering>),
    /// It has answered; the call is over when it asks for the next invocation.
    Answered(End),
}

/// What the function answered.
#[derive(Debug)]
enum End {
    Done(Returned),
    Failed(Failure),
}

/// What the wait of one turn was for.
enum Turn {
    Time,
    Cancelled,
    Ask(Ask),
    Chunk(Option<Chunk>),
    RoomForReport,
    RoomForBody,
    Output,
    Exited(Exit),
}

/// How the call ended, and whether the process can be used for another.
type Over = (Ended, bool);

/// Makes the call.
pub(super) async fn run(
    mut call: Call,
    parts: &mut Parts,
    identity: &Identity,
    bounds: Bounds,
    metered: &mut Metered<'_>,
    early: Vec<(LogStream, String)>,
) -> Over {
    let body = match whole_body(&mut call, bounds.body_bytes).await {
        Ok(body) => body,
        Err(ended) => return (ended, true),
    };
    let stage = Stage::Waiting(invocation::of(&mut call, body, identity).await);
    let reports = Reports::new(call.up.clone(), early);
    Running { call, parts, identity, bounds, metered, reports, stage }.run().await
}

/// The request's body, which goes into the payload as a whole.
async fn whole_body(call: &mut Call, limit_bytes: u64) -> Result<bytes::Bytes, Ended> {
    let Input::Request(request) = &mut call.input else { return Ok(bytes::Bytes::new()) };
    let body = std::mem::take(&mut request.body);
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(call.deadline) => Err(Ended::TimedOut),
        () = call.cancel.cancelled() => Err(Ended::Cancelled),
        body = body.collect(limit_bytes) => body.map_err(|cause| {
            let code = match cause {
                BodyError::TooLarge { .. } => FailureCode::FunctionError,
                BodyError::Aborted(_) | BodyError::HandedOn => FailureCode::Cancelled,
            };
            Ended::Failed(Failure::new(code, format!("request {cause}")))
        }),
    }
}

impl Running<'_, '_> {
    async fn run(mut self) -> Over {
        let mut timer = pin!(tokio::time::sleep_until(self.call.deadline));
        let cancel = self.call.cancel.clone();
        let mut cancelled = pin!(cancel.cancelled());
        self.hand_out();
        loop {
            let over = match self.turn(timer.as_mut(), cancelled.as_mut()).await {
                Turn::Time => Some(self.out_of_time().await),
                Turn::Cancelled => Some(self.end_by_force(Ended::Cancelled).await),
                Turn::Ask(ask) => self.take(ask).await,
                Turn::Chunk(chunk) => self.take_chunk(chunk).await,
                Turn::RoomForReport => {
                    self.reports.hand_over();
                    None
                }
                Turn::RoomForBody => {
                    if let Stage::Answering(answering) = &mut self.stage
                        && let Form::Stream(stream) = &mut answering.form
                    {
                        stream.hand_over();
                    }
                    None
                }
                Turn::Output => None,
                Turn::Exited(exit) => Some(self.exited(exit).await),
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    /// Waits for whichever can go on first.
    async fn turn(
        &mut self,
        timer: Pin<&mut Sleep>,
        cancelled: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Turn {
        let Self { parts, reports, stage, .. } = self;
        let Parts { process, output, desk } = &mut **parts;
        let is_free = reports.is_empty();
        let mut lines = Vec::new();
        let body = async {
            let Stage::Answering(answering) = stage else { return std::future::pending().await };
            if answering.wants_chunk() {
                return Turn::Chunk(answering.chunk().await);
            }
            if let Form::Stream(stream) = &answering.form {
                stream.room().await;
            }
            Turn::RoomForBody
        };
        let turn = tokio::select! {
            biased;
            () = timer => Turn::Time,
            () = cancelled => Turn::Cancelled,
            () = reports.room(), if !is_free => Turn::RoomForReport,
            turn = body, if is_free => turn,
            ask = desk.next(), if is_free => Turn::Ask(ask),
            exit = process.exited(), if is_free => Turn::Exited(exit),
            // Last, so that a process that writes without end holds up nothing but itself.
            () = output.read(|stream, line| lines.push(Report::Log { stream, line })), if is_free => Turn::Output,
        };
        lines.into_iter().for_each(|line| reports.push(line));
        turn
    }

    /// Gives the invocation to whoever waits for one.
    fn hand_out(&mut self) {
        let Stage::Waiting(invocation) = std::mem::replace(&mut self.stage, Stage::Invoked) else {
            unreachable!("an invocation is handed out once");
        };
        if let Some(invocation) = self.parts.desk.hand_out(invocation) {
            self.stage = Stage::Waiting(invocation);
        }
    }

    /// The process asks for the next invocation, so it is done with this one.
    fn finish(&mut self, end: End) -> Over {
        self.take_output();
        match end {
            End::Done(returned) => (returned.ended(), true),
            // What an interpreter is worth after it ran out of memory, nobody knows.
            End::Failed(failure) => {
                let usable = failure.code != FailureCode::OutOfMemory;
                (Ended::Failed(failure), usable)
            }
        }
    }

    async fn out_of_time(&mut self) -> Over {
        let ended = match std::mem::replace(&mut self.stage, Stage::Invoked) {
            Stage::Answered(End::Failed(failure)) => Ended::Failed(failure),
            stage => {
                self.stage = stage;
                Ended::TimedOut
            }
        };
        self.end_by_force(ended).await
    }

    async fn exited(&mut self, exit: Exit) -> Over {
        // What it posted before its end has arrived, or never will.
        while let Some(ask) = self.parts.desk.waiting() {
            if let Some(over) = Box::pin(self.take(ask)).await {
                return (over.0, false);
            }
        }
        self.take_output();
        let ended = match (std::mem::replace(&mut self.stage, Stage::Invoked), exit) {
            // It answers one invocation and ends.
            (Stage::Answered(End::Done(returned)), Exit::Code(0)) => returned.ended(),
            (Stage::Answered(End::Failed(failure)), _) => Ended::Failed(failure),
            (stage, exit) => {
                self.stage = stage;
                Ended::Failed(verdict::exited(exit, &self.parts.output.tail()))
            }
        };
        self.end_by_force(ended).await
    }

    /// What is in the pipes now was written during this call.
    fn take_output(&mut self) {
        let mut lines = Vec::new();
        let mut keep = |stream, line| lines.push(Report::Log { stream, line });
        self.parts.output.drain(&mut keep);
        self.parts.output.finish(&mut keep);
        lines.into_iter().for_each(|line| self.reports.push(line));
        self.reports.hand_over();
    }

    /// A line of the platform in the function's log.
    fn tell(&mut self, line: String) {
        self.reports.push(Report::Log { stream: LogStream::Platform, line });
    }

    /// Kills the process, waits until it is dead, and reports what it still wrote as far as there is room.
    async fn end_by_force(&mut self, ended: Ended) -> Over {
        self.metered.note();
        self.parts.process.kill();
        let _ = tokio::time::timeout(EXIT, self.parts.process.exited()).await;
        self.take_output();
        let words = match &ended {
            Ended::Failed(failure) => &failure.message,
            Ended::TimedOut => "the function reached its time limit",
            _ => "the call was cancelled",
        };
        if let Stage::Answering(answering) = &mut self.stage {
            answering.abort(words);
        }
        (ended, false)
    }
}

/// The wall clock, as far as a call knows it.
fn now(call: &Call) -> evoke_core::time::Timestamp {
    call.deadline_at.before(call.deadline.saturating_duration_since(Instant::now()))
}
