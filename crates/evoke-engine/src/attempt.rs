//! One execution: hands the input to an instance, answers what it asks, and keeps what it wants to change.
//!
//! One task owns all of it. The instance runs beside it and reports through a bounded channel, so a guest that talks
//! faster than it is listened to waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use evoke_core::id::RunId;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{AttemptRecord, Cause, LogRecord, LogStream, RunRecord};
use evoke_core::runtime::{Call, Ended, Input, PlatformResponse, Report, Response};
use evoke_core::store::{SettleError, Settlement, Verdict, Write};
use evoke_core::time::Timestamp;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::engine::Inner;
use crate::platform::{self, Step};
use crate::pool::Slot;
use crate::route::{App, Target};
use crate::{ingest, pool};

/// Reports an instance may have on the way.
const REPORTS: usize = 32;

/// What an attempt is about.
pub(crate) struct Attempt {
    pub inner: Arc<Inner>,
    pub app: Arc<App>,
    pub target: Arc<Target>,
    pub run: RunId,
    pub number: u32,
    /// Who caused the run; `span_id` is that of the causer.
    pub cause: Cause,
    /// This attempt's own span.
    pub span: String,
    pub timeout: Duration,
    pub deadline: Instant,
    pub cancel: CancellationToken,
    pub effects: Effects,
    /// Events published so far, for their ids.
    pub published: usize,
    logged: usize,
}

/// Who waits for the answer to a request.
pub(crate) enum Caller {
    /// Somebody; the response goes there as soon as its effects are durable.
    Waiting {
        head: oneshot::Sender<Result<Response, NoAnswer>>,
        /// Turns the whole answer into the write that remembers it, for a call with an idempotency key.
        remember: Option<Remember>,
        /// The run's record without this attempt.
        record: Box<RunRecord>,
    },
    /// Nobody: the response is read to its end and dropped.
    Nobody,
}

/// Makes the write that remembers an answer.
pub(crate) type Remember = Box<dyn FnOnce(&Response, &Bytes) -> Write + Send>;

/// Why the caller gets no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The function did not give one.
    Outcome(Outcome, Duration),
    /// The store did not take the effects.
    Settle(SettleError),
}

/// What came of it.
pub(crate) struct Executed {
    pub outcome: Outcome,
    pub effects: Effects,
    pub started_at: Timestamp,
    pub ran: Duration,
    pub cold: bool,
}

impl Executed {
    /// As the run's record has it.
    pub fn record(&self, attempt: u32, target: &Target, waited: Duration, now: Timestamp) -> AttemptRecord {
        AttemptRecord {
            number: attempt,
            revision: Some(target.pool.spec.revision.clone()),
            started_at: self.started_at,
            ended_at: now,
            waited_us: waited.as_micros() as u64,
            ran_us: self.ran.as_micros() as u64,
            cold: self.cold,
            outcome: self.outcome.clone(),
        }
    }
}

/// Work that goes on beside the instance.
enum Beside {
    Nothing,
    Collected(Response, Result<Bytes, BodyError>),
}

impl Attempt {
    pub fn new(
        inner: &Arc<Inner>,
        (app, target): (Arc<App>, Arc<Target>),
        run: RunId,
        number: u32,
        cause: Cause,
        timeout: Duration,
    ) -> Self {
        Self {
            inner: inner.clone(),
            app,
            target,
            run,
            number,
            cause,
            span: inner.new_span(),
            timeout,
            deadline: Instant::now() + timeout,
            cancel: inner.ending.child_token(),
            effects: Effects::default(),
            published: 0,
            logged: 0,
        }
    }

    /// What this attempt causes has it as its parent.
    pub fn cause_of_children(&self) -> Cause {
        Cause {
            root: self.cause.root.clone(),
            parent: Some(self.run.clone()),
            depth: self.cause.depth + 1,
            trace_id: self.cause.trace_id.clone(),
            span_id: self.span.clone(),
        }
    }

    /// Runs the handler to its end. The instance is given back before this returns.
    pub async fn execute(mut self, mut slot: Slot, input: Input, mut caller: Caller) -> Executed {
        let started = Instant::now();
        let started_at = self.inner.now();
        let cold = slot.cold;
        let (up, mut reports) = mpsc::channel(REPORTS);
        let call = Call {
            run: self.run.clone(),
            attempt: self.number,
            cause: Cause { span_id: self.span.clone(), ..self.cause.clone() },
            deadline: self.deadline,
            deadline_at: started_at.after(self.deadline.saturating_duration_since(started)),
            timeout: self.timeout,
            input,
            up,
            cancel: self.cancel.clone(),
        };
        let asks_for_response = matches!(call.input, Input::Request(_));
        let mut beside: FuturesUnordered<BoxFuture<'static, Beside>> = FuturesUnordered::new();
        let mut status = None;
        let mut refused = None;
        let ended = {
            let mut running = slot.instance().call(call);
            loop {
                tokio::select! {
                    biased;
                    Some(report) = reports.recv() => {
                        self.handle(report, &mut beside, &mut caller, &mut status, &mut refused, started).await;
                    }
                    Some(done) = beside.next(), if !beside.is_empty() => {
                        if let Beside::Collected(response, body) = done {
                            self.answer_whole(response, body, &mut caller, &mut refused, started).await;
                        }
                    }
                    ended = &mut running => break ended,
                }
            }
        };
        // What the instance said before its end is still in the channel.
        while let Ok(report) = reports.try_recv() {
            self.handle(report, &mut beside, &mut caller, &mut status, &mut refused, started).await;
        }
        slot.give_back();
        self.finish_reading(beside, &mut caller, &mut refused, started).await;
        self.report_dropped_lines();

        let ran = started.elapsed();
        let mut outcome = match (refused, ended) {
            (Some(refused), _) => refused,
            (None, Ended::Returned { events }) if !events.is_empty() => {
                match platform::publish(&mut self, events) {
                    Ok(_) => Outcome::Completed { status },
                    Err(failure) => Outcome::Failed(failure),
                }
            }
            (None, ended) => self.judge(ended, asks_for_response, status, matches!(caller, Caller::Nobody)),
        };
        if let Caller::Waiting { head, record, .. } = caller {
            // The response never came, or came with effects that were made after its head.
            if outcome.is_completed() {
                if let Err(error) = self.commit(*record, status, started).await {
                    outcome = Outcome::Failed(failure_of(&error));
                }
            } else if !head.is_closed() {
                let _ = head.send(Err(NoAnswer::Outcome(outcome.clone(), ran)));
            }
        }
        Executed { outcome, effects: self.effects, started_at, ran, cold }
    }

    async fn handle(
        &mut self,
        report: Report,
        beside: &mut FuturesUnordered<BoxFuture<'static, Beside>>,
        caller: &mut Caller,
        status: &mut Option<u16>,
        refused: &mut Option<Outcome>,
        started: Instant,
    ) {
        match report {
            Report::Log { stream, line } => self.log(stream, line),
            Report::Platform { request, answer } => match platform::answer(self, request).await {
                // Nobody listens any more when the attempt has just ended.
                Step::Now(response) => drop(answer.send(response)),
                Step::Later(response) => beside.push(Box::pin(send_later(response, answer))),
            },
            Report::Response(response) => {
                *status = Some(response.status.as_u16());
                match caller {
                    Caller::Nobody => beside.push(Box::pin(read_to_end(response))),
                    Caller::Waiting { remember: Some(_), .. } => {
                        beside.push(Box::pin(collect(response, self.inner.limits.body_bytes)));
                    }
                    Caller::Waiting { .. } => self.answer(response, caller, refused, started).await,
                }
            }
        }
    }

    /// Commits what the attempt did so far and sends the response on.
    async fn answer(
        &mut self,
        response: Response,
        caller: &mut Caller,
        refused: &mut Option<Outcome>,
        started: Instant,
    ) {
        let Caller::Waiting { head, record, .. } = std::mem::replace(caller, Caller::Nobody) else { return };
        match self.commit((*record).clone(), Some(response.status.as_u16()), started).await {
            Ok(()) => {
                // A failed send says that the caller went away; its guard cancels this attempt.
                let _ = head.send(Ok(response));
                let (head, _) = oneshot::channel();
                *caller = Caller::Waiting { head, remember: None, record };
            }
            Err(error) => {
                *refused = Some(Outcome::Failed(failure_of(&error)));
                let _ = head.send(Err(NoAnswer::Settle(error)));
                self.cancel.cancel();
            }
        }
    }

    async fn answer_whole(
        &mut self,
        mut response: Response,
        body: Result<Bytes, BodyError>,
        caller: &mut Caller,
        refused: &mut Option<Outcome>,
        started: Instant,
    ) {
        match body {
            Ok(body) => {
                if let Caller::Waiting { remember, .. } = caller
                    && let Some(remember) = remember.take()
                {
                    let write = remember(&response, &body);
                    self.effects.push(write);
                }
                response.body = Body::Full(body);
                self.answer(response, caller, refused, started).await;
            }
            Err(error) => {
                let words =
                    format!("the response of a call with an idempotency key is kept whole, but {error}");
                let outcome = Outcome::Failed(Failure::new(FailureCode::FunctionError, words));
                *refused = Some(outcome);
                self.cancel.cancel();
            }
        }
    }

    /// Reads what is left of a response nobody streams. Calls to other functions that are still under way are dropped,
    /// and so cancelled: their caller has ended.
    async fn finish_reading(
        &mut self,
        mut beside: FuturesUnordered<BoxFuture<'static, Beside>>,
        caller: &mut Caller,
        refused: &mut Option<Outcome>,
        started: Instant,
    ) {
        let collecting = matches!(caller, Caller::Waiting { remember: Some(_), .. });
        while collecting && let Some(done) = beside.next().await {
            if let Beside::Collected(response, body) = done {
                return self.answer_whole(response, body, caller, refused, started).await;
            }
        }
    }

    /// One transaction with all that the attempt did since the last one. Nothing to do is done at once.
    async fn commit(
        &mut self,
        mut record: RunRecord,
        status: Option<u16>,
        started: Instant,
    ) -> Result<(), SettleError> {
        if self.effects.is_empty() {
            return Ok(());
        }
        let now = self.inner.now();
        let ran = started.elapsed();
        record.state = evoke_core::record::RunState::Completed;
        record.ended_at = Some(now);
        record.push_attempt(AttemptRecord {
            number: self.number,
            revision: Some(self.target.pool.spec.revision.clone()),
            started_at: now.before(ran),
            ended_at: now,
            waited_us: 0,
            ran_us: ran.as_micros() as u64,
            cold: false,
            outcome: Outcome::Completed { status },
        });
        let (writes, events) = self.effects.take();
        let cause = self.cause_of_children();
        let appends: Vec<_> = events
            .into_iter()
            .map(|event| ingest::append_event(&self.inner, &self.app, event, &cause, now))
            .collect();
        let queues = ingest::queues_of(&appends);
        let settlement =
            Settlement { lease: None, verdict: Verdict::Complete, run: Some(record), writes, appends };
        self.inner.store.settle(settlement, now).await?;
        self.inner.agenda.wake(queues, now);
        Ok(())
    }

    fn judge(
        &self,
        ended: Ended,
        asks_for_response: bool,
        status: Option<u16>,
        nobody_waits: bool,
    ) -> Outcome {
        match ended {
            Ended::Returned { .. } if asks_for_response && status.is_none() => {
                Outcome::Failed(Failure::new(FailureCode::FunctionError, "the handler returned no response"))
            }
            // Somebody who waits sees the status. Nobody does here, so 5xx has to count as what it says.
            Ended::Returned { .. } if nobody_waits && status.is_some_and(|status| status >= 500) => {
                let words = format!("the handler answered with status {}", status.unwrap_or_default());
                Outcome::Failed(Failure::new(FailureCode::FunctionError, words))
            }
            Ended::Returned { .. } => Outcome::Completed { status },
            Ended::Failed(failure) => Outcome::Failed(failure),
            Ended::TimedOut => Outcome::TimedOut { after_ms: self.timeout.as_millis() as u64 },
            Ended::Cancelled if self.inner.ending.is_cancelled() => Outcome::Rejected(pool::draining()),
            Ended::Cancelled => Outcome::Failed(Failure::new(FailureCode::Cancelled, "the caller went away")),
        }
    }

    fn log(&mut self, stream: LogStream, line: String) {
        self.logged += 1;
        if self.logged > self.inner.limits.log_lines {
            return;
        }
        let (app, function) = (self.target.app.clone(), self.target.name.clone());
        let (at, run) = (self.inner.now(), self.run.clone());
        self.inner.recorder.log(LogRecord { at, run, app, function, attempt: self.number, stream, line });
    }

    fn report_dropped_lines(&mut self) {
        let limit = self.inner.limits.log_lines;
        if let Some(dropped) = self.logged.checked_sub(limit).filter(|dropped| *dropped > 0) {
            self.logged = 0;
            self.log(
                LogStream::Platform,
                format!("{dropped} further lines were dropped: an attempt may write {limit}"),
            );
        }
    }
}

/// What the run's record says when the store refused the effects.
pub(crate) fn failure_of(error: &SettleError) -> Failure {
    match error {
        SettleError::Conflict { .. } => Failure::new(FailureCode::StateConflict, error.to_string()),
        SettleError::StaleLease { .. } | SettleError::Store(_) => {
            Failure::new(FailureCode::Overloaded, format!("its effects could not be kept: {error}"))
        }
    }
}

async fn send_later(
    response: BoxFuture<'static, PlatformResponse>,
    answer: oneshot::Sender<PlatformResponse>,
) -> Beside {
    let _ = answer.send(response.await);
    Beside::Nothing
}

async fn read_to_end(mut response: Response) -> Beside {
    while let Some(Ok(_)) = response.body.chunk().await {}
    Beside::Nothing
}

async fn collect(mut response: Response, limit_bytes: u64) -> Beside {
    let body = std::mem::take(&mut response.body).collect(limit_bytes).await;
    Beside::Collected(response, body)
}
