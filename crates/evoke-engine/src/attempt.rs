//! One execution: hands the input to an instance, answers what it asks, and keeps what it wants to change.
//!
//! One task owns all of it. The instance runs beside it and reports through a bounded channel, so a guest that talks
//! faster than it is listened to waits.

mod answer;
mod record;

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use evoke_core::answer::Answer;
use evoke_core::chain::{CDN_LOOP, Edge, Hop, Link};
use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::manifest::OnDisconnect;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{AttemptRecord, Cause, LogRecord, LogStream, RunRecord};
use evoke_core::runtime::{Call, Ended, Input, Report, ReportSender, Reports, reports};
use evoke_core::usage::Usage;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::HeaderValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::engine::Inner;
use crate::next::Next;
use crate::platform::{self, Step};
use crate::pool::{self, Slot};
use crate::recorder::Lines;
use crate::removal;
use crate::route::{App, Target};
use crate::trace::TraceParent;
use crate::under_way::Stop;

use answer::Whole;
pub(crate) use answer::{Caller, Head, NoAnswer, Remember, failure_of};
pub(crate) use record::Taken;

/// Reports an instance may have on the way.
const REPORTS: usize = 32;

/// What an attempt is about, and what it wants to change.
pub(crate) struct Attempt {
    pub inner: Arc<Inner>,
    pub app: Arc<App>,
    pub target: Arc<Target>,
    /// The run as it was before it; in its cause `span_id` is that of the causer.
    pub record: Arc<RunRecord>,
    pub number: u32,
    /// This attempt's own span.
    pub span: String,
    pub timeout: Duration,
    pub deadline: Instant,
    /// The deadline is its caller's.
    pub of_caller: bool,
    pub cancel: CancellationToken,
    /// Says whether somebody has ended it.
    pub stop: Option<Arc<Stop>>,
    pub effects: Effects,
    /// Events published so far, for their ids.
    pub published: usize,
    /// Waits so far, for their ids.
    pub waits: usize,
    /// It called another function, whose effects are its own.
    pub called: bool,
    /// What follows it on its route, when it is a decorator.
    pub next: Option<Next>,
    /// Why its last write under a condition was refused, in the words it was told.
    pub conflict: Option<String>,
    /// Once it has called a function: what was said of the first loop that such a call led to.
    pub looped: Option<Arc<OnceLock<String>>>,
    /// The newest position of the log when it began.
    pub after_seq: u64,
    /// Log lines so far, those that were dropped included.
    written: Lines,
    /// Those beyond what one attempt may write.
    dropped: Lines,
}

/// What came of it.
pub(crate) struct Executed {
    /// As the run's record has it.
    pub record: AttemptRecord,
    /// What it wants to change and nobody has committed: all of it, when nobody waited for the answer.
    pub effects: Effects,
    /// Of a batch: the ids of the events its handler named as failed.
    pub failed: Vec<String>,
    /// The answer to a request from a queue, as far as it is kept.
    pub answer: Option<Answer>,
    /// Who is still to be told, when a state conflict was all that kept the attempt from an answer.
    pub unanswered: Option<Caller>,
    /// It called another function.
    pub called: bool,
    /// The store did not say whether it kept what came before the answer.
    pub unknown: bool,
}

impl Attempt {
    /// Attempt `number` at the run of `record`, which may begin now. It has `timeout`, but no longer than `until`.
    pub fn new(
        inner: &Arc<Inner>,
        (app, target): (Arc<App>, Arc<Target>),
        record: Arc<RunRecord>,
        number: u32,
        timeout: Duration,
        until: Option<Instant>,
        cancel: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let deadline = now + timeout;
        let deadline = until.map_or(deadline, |until| until.min(deadline));
        Self {
            inner: inner.clone(),
            app,
            target,
            record,
            number,
            span: inner.new_span(),
            timeout: deadline.saturating_duration_since(now),
            deadline,
            of_caller: false,
            cancel,
            stop: None,
            effects: Effects::default(),
            published: 0,
            waits: 0,
            called: false,
            next: None,
            conflict: None,
            looped: None,
            after_seq: inner.waits.newest(),
            written: Lines::default(),
            dropped: Lines::default(),
        }
    }

    /// What this attempt causes has it as its parent.
    pub fn cause_of_children(&self) -> Cause {
        let (app, function) = (self.target.app.clone(), self.target.name.clone());
        let RunRecord { id, trigger, cause, .. } = &*self.record;
        let by = Edge::of(trigger);
        Cause {
            root: cause.root.clone(),
            parent: Some(id.clone()),
            depth: cause.depth + 1,
            chain: cause.chain.and(Link { app, function, by }),
            // What began with one of two versions stays with it.
            version: self.inner.directory.snapshot().pin(&self.app),
            trace_id: cause.trace_id.clone(),
            span_id: self.span.clone(),
            shadow: cause.shadow,
        }
    }

    /// Runs the handler to its end. The instance is given back before this returns.
    pub async fn execute(self, slot: Slot, taken: Taken, input: Input, caller: Option<Caller>) -> Executed {
        if self.target.can_send() {
            self.inner.spans.enter(self.cause_of_children());
        }
        let mut execution = Execution {
            caller,
            beside: None,
            whole: None,
            keeping: None,
            answer: None,
            status: None,
            refused: None,
            unknown: false,
            failed: Vec::new(),
            taken,
            started: Instant::now(),
            cold: slot.cold,
            usage: Usage::default(),
            attempt: self,
        };
        // Where it is: what is awaited is moved twice, and this is large.
        let outcome = execution.run(slot, input).await;
        execution.over(outcome)
    }

    /// `CDN-Loop` of the requests it sends.
    fn hops(&self, input: &Input) -> String {
        let before = match input {
            Input::Request(request) => {
                let fields = request.headers.get_all(CDN_LOOP).iter().filter_map(|field| field.to_str().ok());
                fields.collect::<Vec<_>>().join(", ")
            }
            Input::Event(_) | Input::Events(_) => String::new(),
        };
        let hop = Hop { span: self.span.clone(), depth: self.record.cause.depth + 1 };
        hop.after(Some(&before), &self.inner.name)
    }

    /// A handler that let a refusal through failed by that: the refusal's words are in its error. So the end of a loop is told
    /// as that to all who are part of it.
    fn name_refusal(&self, failure: Failure) -> Failure {
        if failure.code != FailureCode::FunctionError {
            return failure;
        }
        let by = |words: Option<&String>| words.filter(|words| failure.message.contains(*words)).cloned();
        if let Some(message) = by(self.looped.as_deref().and_then(OnceLock::get)) {
            return Failure { code: FailureCode::LoopDetected, message, ..failure };
        }
        match by(self.conflict.as_ref()) {
            Some(_) => Failure { code: FailureCode::StateConflict, ..failure },
            None => failure,
        }
    }

    fn log(&mut self, stream: LogStream, line: String) {
        let limits = &self.inner.limits;
        self.written.add(&line);
        if self.written.lines > limits.log_lines as u64 || self.written.bytes > limits.log_bytes {
            return self.dropped.add(&line);
        }
        self.inner.recorder.log(self.line(stream, line));
    }

    fn timed_out(&self) -> Outcome {
        Outcome::TimedOut { after_ms: self.timeout.as_millis() as u64, of_caller: self.of_caller }
    }

    /// What it failed with, if somebody has ended it.
    fn stopped(&self) -> Option<Failure> {
        self.stop.as_ref().and_then(|stop| stop.failure())
    }

    /// Whether it runs on when nobody is there any more to read its answer.
    fn finishes(&self) -> bool {
        self.target.settings.admission.on_disconnect == OnDisconnect::Finish
    }

    /// What was written beyond the bounds is told once, at the end.
    fn tell_dropped_lines(&mut self) {
        if self.written.is_none() {
            return;
        }
        let end = self.line(LogStream::Platform, String::new());
        if !self.dropped.is_none() {
            let Limits { log_lines, log_bytes, .. } = &self.inner.limits;
            let dropped = self.dropped.dropped_in_words();
            let line = format!("{dropped}: an attempt may write {log_lines} lines and {log_bytes} bytes");
            self.inner.recorder.keep(LogRecord { line, ..end.clone() });
        }
        self.inner.recorder.tell_dropped(&end);
    }

    fn line(&self, stream: LogStream, line: String) -> LogRecord {
        let (app, function) = (self.target.app.clone(), self.target.name.clone());
        let (at, run) = (self.inner.now(), self.record.id.clone());
        LogRecord { at, run, app, function, attempt: self.number, stream, line }
    }
}

/// An attempt while its handler runs.
struct Execution {
    attempt: Attempt,
    /// Who waits for the answer to a request. Nobody, for what comes from a queue.
    caller: Option<Caller>,
    /// Calls to other functions, once there was one.
    beside: Option<FuturesUnordered<BoxFuture<'static, ()>>>,
    /// A response on its way into memory, for a caller who gets it as a whole.
    whole: Option<BoxFuture<'static, Whole>>,
    /// A response that nobody waits for, on its way into memory as far as it is kept.
    keeping: Option<BoxFuture<'static, Option<Answer>>>,
    /// It, when it is there.
    answer: Option<Answer>,
    /// Status of the response.
    status: Option<u16>,
    /// Why the attempt fails, whatever its handler says.
    refused: Option<Outcome>,
    /// The store did not say whether it kept what came before the answer.
    unknown: bool,
    /// Of a batch: the ids of the events its handler named as failed.
    failed: Vec<String>,
    taken: Taken,
    started: Instant,
    cold: bool,
    /// What it used, once its handler has ended.
    usage: Usage,
}

impl Execution {
    /// Until the handler is at its end, and its caller is told.
    async fn run(&mut self, mut slot: Slot, input: Input) -> Outcome {
        let asks_for_response = matches!(input, Input::Request(_));
        let (up, reports) = reports(REPORTS);
        let call = self.call(input, up);
        let ended = {
            let mut running = slot.instance().call(call);
            loop {
                // In this order: what was reported is taken before the instance goes on.
                if let Some(report) = reports.try_recv() {
                    self.take(report).await;
                    continue;
                }
                tokio::select! {
                    biased;
                    () = one_of(&mut self.beside), if self.beside.is_some() => {}
                    whole = answer::arrived(&mut self.whole) => Box::pin(self.answer_whole(whole)).await,
                    answer = answer::arrived(&mut self.keeping) => self.answer = answer,
                    said = said(&mut running, &reports) => match said {
                        Said::Report(report) => self.take(report).await,
                        Said::End(ended) => break ended,
                    }
                }
            }
        };
        // What the instance said before its end is still in the channel.
        while let Some(report) = reports.try_recv() {
            self.take(report).await;
        }
        self.usage = slot.instance().usage();
        slot.give_back();
        // The instance has handed its response over; all of it is there by now.
        if let Some(whole) = self.whole.take() {
            let whole = whole.await;
            Box::pin(self.answer_whole(whole)).await;
        }
        if let Some(keeping) = self.keeping.take() {
            self.answer = keeping.await;
        }
        // Calls to other functions that are still under way are cancelled: their caller has ended.
        self.beside = None;
        self.attempt.tell_dropped_lines();
        let mut outcome = self.outcome(ended, asks_for_response);
        self.answer_caller(&mut outcome).await;
        outcome
    }

    /// What came of it.
    fn over(self, outcome: Outcome) -> Executed {
        let record = self.record(outcome);
        self.attempt.target.meter.add(record.ran_us, &record.usage);
        let unanswered = self.caller.filter(|caller| !caller.is_answered());
        let Attempt { effects, called, .. } = self.attempt;
        let (failed, answer, unknown) = (self.failed, self.answer, self.unknown);
        Executed { record, effects, failed, answer, unanswered, called, unknown }
    }

    fn call(&self, input: Input, up: ReportSender) -> Call {
        let attempt = &self.attempt;
        let RunRecord { id, cause, .. } = &*attempt.record;
        let cause = Cause { span_id: attempt.span.clone(), ..cause.clone() };
        let hops = attempt.target.can_send().then(|| attempt.hops(&input));
        let input = match input {
            Input::Request(mut request) => {
                if let Ok(traceparent) = HeaderValue::try_from(TraceParent::header(&cause)) {
                    request.headers.insert(TraceParent::FIELD, traceparent);
                }
                Input::Request(request)
            }
            event => event,
        };
        Call {
            run: id.clone(),
            attempt: attempt.number,
            cause,
            deadline: attempt.deadline,
            deadline_at: attempt.inner.now().after(attempt.deadline.saturating_duration_since(self.started)),
            timeout: attempt.timeout,
            input,
            decorates: attempt.next.is_some(),
            hops,
            up,
            cancel: attempt.cancel.clone(),
        }
    }

    /// Takes up what the instance said.
    async fn take(&mut self, report: Report) {
        match report {
            Report::Log { stream, line } => self.attempt.log(stream, line),
            // Nobody listens for the answer any more when the attempt has just ended.
            Report::Platform { request, answer } => {
                match Box::pin(platform::answer(&mut self.attempt, request)).await {
                    Step::Now(response) => drop(answer.send(response)),
                    Step::Later(response) => {
                        let beside = self.beside.get_or_insert_default();
                        beside.push(Box::pin(async move { drop(answer.send(response.await)) }));
                    }
                }
            }
            Report::Response(response) => self.take_response(response).await,
        }
    }

    /// What came of it, by what the handler said; the events it returned become effects.
    fn outcome(&mut self, ended: Ended, asks_for_response: bool) -> Outcome {
        if let Some(refused) = self.refused.take() {
            return refused;
        }
        if ended == Ended::Cancelled
            && let Some(failure) = self.attempt.stopped()
        {
            return Outcome::Failed(failure);
        }
        match ended {
            Ended::Returned { events } => match self.returned(events, asks_for_response) {
                Ok(()) => Outcome::Completed { status: self.status },
                Err(failure) => Outcome::Failed(failure),
            },
            Ended::Partly { events, failed } => match self.returned(events, asks_for_response) {
                Ok(()) => {
                    self.failed = failed;
                    Outcome::Completed { status: self.status }
                }
                Err(failure) => Outcome::Failed(failure),
            },
            Ended::Failed(failure) => Outcome::Failed(self.attempt.name_refusal(failure)),
            Ended::TimedOut => self.attempt.timed_out(),
            Ended::Cancelled if self.attempt.inner.ending.is_cancelled() => {
                Outcome::Rejected(pool::draining())
            }
            Ended::Cancelled if self.attempt.app.life.ending.is_cancelled() => {
                Outcome::Rejected(removal::cut_short(&self.attempt.target.app))
            }
            // Its caller was ended at the same moment, and took it along.
            Ended::Cancelled if self.attempt.of_caller && Instant::now() >= self.attempt.deadline => {
                self.attempt.timed_out()
            }
            Ended::Cancelled => Outcome::Failed(answer::caller_gone(&self.attempt.record.trigger)),
        }
    }

    fn returned(&mut self, events: Vec<Event>, asks_for_response: bool) -> Result<(), Failure> {
        let failed = |words: String| Err(Failure::new(FailureCode::FunctionError, words));
        match (self.status, &self.caller) {
            (None, _) if asks_for_response => failed("the handler returned no response".to_owned()),
            (Some(_), Some(caller)) if !caller.is_answered() => {
                failed("the handler's response broke off".to_owned())
            }
            // Somebody who waits sees the status. Nobody does here, so 5xx has to count as what it says.
            (Some(status), None) if status >= 500 => {
                failed(format!("the handler answered with status {status}"))
            }
            _ if events.is_empty() => Ok(()),
            _ => platform::publish(&mut self.attempt, events),
        }
    }
}

/// What an instance said.
enum Said {
    Report(Report),
    End(Ended),
}

/// Goes on with a call until it reports, or ends.
async fn said(running: &mut BoxFuture<'_, Ended>, reports: &Reports) -> Said {
    poll_fn(|cx| match running.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Said::End(ended)),
        Poll::Pending => reports.try_recv().map_or(Poll::Pending, |report| Poll::Ready(Said::Report(report))),
    })
    .await
}

/// Waits for the end of one of them.
async fn one_of(beside: &mut Option<FuturesUnordered<BoxFuture<'static, ()>>>) {
    if let Some(calls) = beside {
        calls.next().await;
        if calls.is_empty() {
            *beside = None;
        }
    }
}
