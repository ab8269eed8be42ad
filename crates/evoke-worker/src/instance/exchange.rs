//! One call, from `INVOKE` to `DONE`: what the host sends, what it takes in, and when it ends it by force.
//!
//! One task, no locks: each turn waits for whichever can go on (the socket, the pipes, a body, an answer of the platform,
//! room at the receiver of the reports, the deadline) and moves that on. While reports wait for room nothing more is
//! read from the worker, so a slow receiver slows the function down and nothing piles up here.

mod answers;
mod connects;
mod download;
mod invoke;
mod upload;

use std::pin::{Pin, pin};
use std::time::Duration;

use evoke_core::origin::Running;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Input, Report, Response};
use evoke_core::usage::Usage;
use http::{Method, StatusCode, header};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFuture;

use super::hub::Entry;
use super::reports::Reports;
use super::{EXIT, Parts, Terms, returned, verdict};
use crate::frame::message::{self, CallError, Platform, ResponseHead};
use crate::frame::{Form, Frame, FrameError, Kind, UNREAD_BYTES, UNREAD_BYTES_MAX};
use crate::logs;
use crate::meter::{Meter, Metered};

use answers::Answers;
use connects::Connects;
use download::Download;
use upload::Upload;

/// Between `CANCEL` and SIGKILL: enough to write a last line.
const GRACE: Duration = Duration::from_millis(50);
/// The same among other calls, which end with this one if it does not stop: enough to clean up.
const GRACE_AMONG: Duration = Duration::from_millis(500);

/// A call under way.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    id: u32,
    /// Of a call that has the process not for itself.
    among: Option<Entry>,
    call: Call,
    /// It can be known by the connections of its process.
    _running: Option<Running>,
    parts: &'a mut Parts,
    terms: Terms,
    /// The `source` of returned events that name none.
    source: &'a str,
    reports: Reports,
    upload: Upload,
    download: Download,
    answers: Answers,
    connects: Connects,
    /// The worker has said how it ended.
    end: Option<End>,
    metering: Metering<'a>,
}

/// How it is found out what the call used.
#[derive(Debug)]
pub(super) enum Metering<'a> {
    /// From outside: what the process says of itself is not believed.
    Measured(Metered<'a>),
    /// By the program of ours that it is a guest of; it has said this.
    Told(Usage),
}

impl<'a> Metering<'a> {
    /// A call of what `meter` meters, which begins now.
    pub(super) fn of(meter: Option<&'a Meter>) -> Self {
        meter.map_or(Self::Told(Usage::default()), |meter| Self::Measured(meter.begin()))
    }

    fn told(&mut self, usage: Usage) {
        if let Self::Told(told) = self {
            *told = usage;
        }
    }

    fn end(self) -> Usage {
        match self {
            Self::Measured(metered) => metered.end(),
            Self::Told(usage) => usage,
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Over {
    pub ended: Ended,
    /// Whether the process can be used for another.
    pub is_usable: bool,
    pub usage: Usage,
}

#[derive(Debug)]
enum End {
    Done(returned::Returned),
    Failed { failure: Failure, fatal: bool },
}

/// What the wait of one turn was for.
enum Turn {
    Time,
    Cancelled,
    Link(std::io::Result<()>),
    RoomForReport,
    RoomForBody,
    Answer(answers::Answered),
    Connected(connects::Connected),
    Chunk(Option<Result<bytes::Bytes, evoke_core::body::BodyError>>),
    Output,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        id: u32,
        mut call: Call,
        parts: &'a mut Parts,
        metering: Metering<'a>,
        terms: Terms,
        source: &'a str,
        early: Vec<(LogStream, String)>,
    ) -> Self {
        let reports = Reports::new(call.up.clone(), early);
        let (upload, download) = invoke::split(&mut call);
        let (answers, _running) = (Answers::default(), parts.output.enter(&call));
        Self {
            id,
            among: None,
            call,
            _running,
            parts,
            terms,
            source,
            reports,
            upload,
            download,
            answers,
            connects: Connects::default(),
            end: None,
            metering,
        }
    }

    /// A call among others in the same process.
    pub(super) fn among(
        entry: Entry,
        call: Call,
        parts: &'a mut Parts,
        metering: Metering<'a>,
        terms: Terms,
        source: &'a str,
        early: Vec<(LogStream, String)>,
    ) -> Self {
        let alone = Self::new(entry.id, call, parts, metering, terms, source, early);
        Self { among: Some(entry), ..alone }
    }

    /// Makes the call.
    pub(super) async fn run(mut self) -> Over {
        let (ended, is_usable) = self.make().await;
        Over { ended, is_usable, usage: self.metering.end() }
    }

    /// The second value says whether the process can be used for another.
    async fn make(&mut self) -> (Ended, bool) {
        if let Err(cause) = self.invoke() {
            // Nothing was sent.
            return (Ended::Failed(Failure::new(FailureCode::FunctionError, cause.to_string())), true);
        }
        match self.converse().await {
            Ok(ended) => ended,
            Err(cause) => {
                let failure = verdict::violation(&cause);
                self.end_by_force(Ended::Failed(failure)).await
            }
        }
    }

    async fn converse(&mut self) -> Result<(Ended, bool), FrameError> {
        let mut until = self.call.deadline;
        let cancel = self.call.cancel.clone();
        let mut cancelled = pin!(cancel.cancelled());
        // Set once the worker has been told that nobody waits any more.
        let mut forced: Option<Ended> = None;
        loop {
            self.take_in()?;
            if self.reports.is_empty() && self.download.is_handed_over() {
                if let Some(end) = self.end.take() {
                    return Ok(match forced {
                        Some(ended) if self.is_left_alone(&end) => self.stopped(ended),
                        Some(ended) => self.end_by_force(ended).await,
                        None => self.finish(end).await,
                    });
                }
                if self.parts.link.is_closed() {
                    return Ok(match forced {
                        Some(ended) => self.end_by_force(ended).await,
                        None => self.crashed().await,
                    });
                }
            }
            match self.turn(until, cancelled.as_mut(), forced.is_none()).await {
                Turn::Time => match forced {
                    // Its entry says that it was given up, and sees to its end.
                    Some(ended) if self.is_guest() => return Ok(self.stopped(ended)),
                    Some(ended) => return Ok(self.end_by_force(ended).await),
                    None => {
                        forced = Some(Ended::TimedOut);
                        until = self.tell_cancelled("deadline");
                    }
                },
                Turn::Cancelled => {
                    forced = Some(Ended::Cancelled);
                    until = self.tell_cancelled("cancelled");
                }
                Turn::Link(Ok(())) => {}
                Turn::Link(Err(cause)) => {
                    tracing::warn!(%cause, "the socket to a worker failed");
                    return Ok(self.crashed().await);
                }
                Turn::RoomForReport => self.reports.hand_over(),
                Turn::RoomForBody => self.download.hand_over(self.id, &mut self.parts.link.encoder),
                Turn::Answer(answer) => answer.write(self.id, &mut self.parts.link.encoder),
                Turn::Connected(connected) => connected.write(self.id, &mut self.parts.link.encoder),
                Turn::Chunk(chunk) => self.upload.take(chunk, self.id, &mut self.parts.link.encoder),
                Turn::Output => {}
            }
        }
    }

    /// Waits for whichever can go on first.
    async fn turn(
        &mut self,
        until: Instant,
        cancelled: Pin<&mut WaitForCancellationFuture<'_>>,
        may_cancel: bool,
    ) -> Turn {
        let Self { parts, reports, upload, download, answers, connects, end, .. } = self;
        let Parts { link, output, alarm, .. } = &mut **parts;
        link.write_now();
        let unread = link.unwritten_bytes();
        let listening = reports.is_empty() && end.is_none() && !link.is_closed() && unread < UNREAD_BYTES_MAX;
        let mut lines = Vec::new();
        let turn = tokio::select! {
            biased;
            () = alarm.reached(until) => Turn::Time,
            () = cancelled, if may_cancel => Turn::Cancelled,
            () = reports.room(), if !reports.is_empty() => Turn::RoomForReport,
            () = download.room(), if download.has_pending() => Turn::RoomForBody,
            answer = answers.next(), if !answers.is_empty() && unread < UNREAD_BYTES => Turn::Answer(answer),
            connected = connects.next(), if !connects.is_empty() => Turn::Connected(connected),
            chunk = upload.chunk(), if upload.wants_chunk() && !link.has_unwritten() => Turn::Chunk(chunk),
            done = link.turn(listening) => Turn::Link(done),
            // Last, so that a process that writes without end holds up nothing but itself.
            () = output.read(|stream, line| lines.push(Report::Log { stream, line })), if reports.is_empty() => Turn::Output,
        };
        lines.into_iter().for_each(|line| reports.push(line));
        turn
    }

    /// Takes in all frames that have arrived, until there is something the receiver of the reports has no room for.
    fn take_in(&mut self) -> Result<(), FrameError> {
        while self.reports.is_empty() && self.end.is_none() {
            let Some(frame) = self.parts.link.frame()? else { break };
            self.take(frame)?;
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame) -> Result<(), FrameError> {
        let Frame { kind, call, ref payload } = frame;
        if call != self.id && (kind, call) != (Kind::Log, 0) {
            return Err(FrameError::Unexpected {
                kind,
                call,
                message: "belongs to a call that is not running",
            });
        }
        match kind {
            Kind::Log => self.log(payload)?,
            Kind::Response => {
                let ResponseHead { status, mut headers, body } =
                    self.terms.form.response(payload, self.terms.headers)?;
                // Only where no body follows may a function say how long it would be. Elsewhere it is counted.
                if !(self.is_head_request() || status == StatusCode::NOT_MODIFIED) {
                    headers.remove(header::CONTENT_LENGTH);
                }
                // Mostly all of it has arrived: no need for a channel.
                let (body, mut left) = self.download.begin(call, body, || self.parts.link.frame())?;
                // What a handler writes as it fails lies before its failure. More comes in while it is looked at, so there is a bound.
                while self.reports.is_empty()
                    && let Some(line) = left.take_if(|frame| frame.call == call && frame.kind == Kind::Log)
                {
                    self.log(&line.payload)?;
                    left = self.parts.link.frame()?;
                }
                // Where it failed before anybody has seen the head, the failure is all there is to say.
                if left.as_ref().is_none_or(|frame| frame.kind != Kind::Error) {
                    self.reports.push(Report::Response(Response { status, headers, body }));
                }
                if let Some(frame) = left {
                    self.take(frame)?;
                }
            }
            Kind::Body | Kind::BodyEnd => self.download.take(frame)?,
            Kind::Credit => {
                self.upload.grant(message::credit(payload)?, self.id, &mut self.parts.link.encoder)?
            }
            Kind::Platform => {
                let platform = Platform::parse(payload.clone())?;
                let report = self.answers.ask(platform, self.terms.headers)?;
                self.reports.push(report);
            }
            Kind::Connect => self.connects.ask(payload, self.parts.output.lends())?,
            Kind::Done => {
                self.download.check_done(call)?;
                let done = self.terms.form.done(payload)?;
                self.metering.told(done.usage);
                let (call, limit) = (&self.call, self.terms.publish_events);
                let returned = returned::read(done.events, &call.input, &call.run, self.source, limit);
                self.end = Some(match returned {
                    Ok(returned) => End::Done(returned),
                    Err(failure) => End::Failed { failure, fatal: false },
                });
                self.take_output();
            }
            Kind::Error => {
                let error: CallError = message::parse(kind, payload)?;
                self.metering.told(error.usage);
                let exits = error.fatal;
                let failure = verdict::call_error(error);
                // What an interpreter is worth after it ran out of memory, nobody knows.
                let fatal = exits || failure.code == FailureCode::OutOfMemory;
                self.download.abort(&failure.message);
                self.end = Some(End::Failed { failure, fatal });
                self.take_output();
            }
            _ => return Err(FrameError::Unexpected { kind, call, message: "comes from the host only" }),
        }
        Ok(())
    }

    fn log(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        let (stream, line) = message::log(payload)?;
        let line = logs::clean(line.as_bytes(), self.terms.log_line_bytes);
        self.parts.output.note(stream, &line);
        self.reports.push(Report::Log { stream, line });
        Ok(())
    }

    fn is_head_request(&self) -> bool {
        matches!(&self.call.input, Input::Request(request) if request.method == Method::HEAD)
    }

    /// What is in the pipes now was written during this call.
    fn take_output(&mut self) {
        let mut lines = Vec::new();
        let mut keep = |stream, line| lines.push(Report::Log { stream, line });
        self.parts.output.drain(&mut keep);
        self.parts.output.finish(&mut keep);
        lines.into_iter().for_each(|line| self.reports.push(line));
    }

    async fn finish(&mut self, end: End) -> (Ended, bool) {
        // The client stopped sending: what the handler made of half a request is no answer to anything.
        let cut_short = self.upload.cut_short();
        match end {
            End::Failed { failure, fatal: true } if !self.is_guest() => {
                self.end_by_force(Ended::Failed(failure)).await
            }
            _ if let Some(cause) = cut_short => {
                (Ended::Failed(Failure::new(FailureCode::Cancelled, cause)), true)
            }
            End::Failed { failure, .. } => (Ended::Failed(failure), true),
            End::Done(returned) => (returned.ended(), true),
        }
    }

    /// Tells the worker that nobody waits any more. It has until then.
    fn tell_cancelled(&mut self, why: &str) -> Instant {
        self.parts.link.encoder.frame(Kind::Cancel, self.id, why.as_bytes());
        Instant::now() + if self.among.is_some() && !self.is_guest() { GRACE_AMONG } else { GRACE }
    }

    /// Whether it is among guests of a program of ours, which ends each of them by itself.
    fn is_guest(&self) -> bool {
        self.among.is_some() && self.terms.form == Form::Compact
    }

    /// Whether what runs it can be used for others after this end.
    fn is_left_alone(&self, end: &End) -> bool {
        self.is_guest() || self.among.is_some() && !end.is_fatal()
    }

    /// Its handler stopped when it was told to: the process goes on with its other calls.
    fn stopped(&mut self, ended: Ended) -> (Ended, bool) {
        self.download.abort(words_of(&ended));
        (ended, true)
    }

    async fn crashed(&mut self) -> (Ended, bool) {
        let exit = tokio::time::timeout(EXIT, self.parts.process.exited()).await;
        let blamed = self.among.as_ref().and_then(Entry::blamed);
        let failure = match (exit, blamed) {
            (_, Some(why)) => {
                Failure::new(FailureCode::InstanceEnded, format!("its instance was ended: {why}"))
            }
            (Ok(exit), None) => {
                self.take_output();
                verdict::exited(exit, &self.parts.output.tail())
            }
            (Err(_), None) => {
                let message = "closed its socket during a call";
                verdict::violation(&FrameError::Unexpected { kind: Kind::Done, call: self.id, message })
            }
        };
        self.end(Ended::Failed(failure)).await
    }

    /// Ends the process because of this call.
    async fn end_by_force(&mut self, ended: Ended) -> (Ended, bool) {
        if let Some(entry) = &self.among {
            let run = &self.call.run;
            entry.blame(match &ended {
                Ended::Failed(failure) => format!("another call in it ({run}) failed: {}", failure.message),
                Ended::TimedOut => format!("another call in it ({run}) did not stop at its time limit"),
                _ => format!("another call in it ({run}) did not stop when it was cancelled"),
            });
        }
        self.end(ended).await
    }

    /// Kills the process, waits until it is dead, and reports what it still wrote as far as there is room.
    async fn end(&mut self, ended: Ended) -> (Ended, bool) {
        if let Metering::Measured(metered) = &mut self.metering {
            metered.note();
        }
        self.parts.process.kill();
        let _ = tokio::time::timeout(EXIT, self.parts.process.exited()).await;
        self.take_output();
        self.download.abort(words_of(&ended));
        self.reports.hand_over();
        (ended, false)
    }
}

impl End {
    const fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed { fatal: true, .. })
    }
}

/// What whoever reads the response is told.
fn words_of(ended: &Ended) -> &str {
    match ended {
        Ended::Failed(failure) => &failure.message,
        Ended::TimedOut => "the function reached its time limit",
        _ => "the call was cancelled",
    }
}
