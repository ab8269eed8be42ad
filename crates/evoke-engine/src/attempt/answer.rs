//! The answer to whoever waits for a call: its effects are committed, then its head is sent; what the handler changes
//! after that is committed at its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::{Body, BodyError, Chunks};
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::record::{RunRecord, RunState, Trigger};
use evoke_core::runtime::Response;
use evoke_core::store::{SettleError, Settlement, Space, StoreError, Verdict, Write};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Execution;
use crate::engine::Inner;
use crate::{ingest, later, result};

/// What a run gets to come to its end after its reader has left: one that knows the length does not wait for the end.
const LEAVING: Duration = Duration::from_secs(1);

/// Somebody who waits for the answer to a request.
pub(crate) struct Caller {
    /// Where the head goes, once.
    head: Option<Head>,
    /// Makes the write that remembers the whole answer, for a call with an idempotency key.
    remember: Option<Remember>,
    /// After a state conflict there may be another attempt, so its end is waited for.
    may_repeat: bool,
}

/// Where the head of the answer goes.
pub(crate) type Head = oneshot::Sender<Result<Response, NoAnswer>>;

/// Makes the write that remembers an answer.
pub(crate) type Remember = Arc<dyn Fn(&Response, &Bytes) -> Write + Send + Sync>;

/// Why the caller gets no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The function did not give one; it took so long.
    Outcome(Outcome, Duration),
    /// The store did not take the effects.
    Settle(SettleError),
}

/// A response with all of its body.
pub(super) struct Whole {
    response: Response,
    body: Result<Bytes, BodyError>,
}

impl Caller {
    pub fn new(head: Head, remember: Option<Remember>, may_repeat: bool) -> Self {
        Self { head: Some(head), remember, may_repeat }
    }

    /// Where the head goes, unless it was sent.
    pub fn into_head(self) -> Option<Head> {
        self.head
    }

    pub(super) fn is_answered(&self) -> bool {
        self.head.is_none()
    }
}

impl Execution {
    pub(super) async fn take_response(&mut self, mut response: Response) {
        self.status = Some(response.status.as_u16());
        match &self.caller {
            None => self.keeping = Some(result::read(response, &self.attempt.inner.limits)),
            Some(caller) if caller.remember.is_some() => {
                let limit = self.attempt.inner.limits.body_bytes;
                self.whole = Some(Box::pin(async move {
                    let body = std::mem::take(&mut response.body).collect(limit).await;
                    Whole { response, body }
                }));
            }
            Some(_) => self.answer(response).await,
        }
    }

    /// Commits what the attempt did so far and sends the response on.
    async fn answer(&mut self, response: Response) {
        let Some(head) = self.caller.as_mut().and_then(|caller| caller.head.take()) else { return };
        if head.is_closed() && !self.attempt.finishes() {
            self.refused = Some(Outcome::Failed(caller_gone(&self.attempt.record.trigger)));
            return;
        }
        if let Err(error) = self.commit().await {
            self.refused = Some(Outcome::Failed(failure_of(&error)));
            self.unknown = matches!(error, SettleError::Store(StoreError::Outcome(_)));
            // Nobody reads the rest. A handler that has said all comes to its end, and its instance can be used again.
            if matches!(response.body, Body::Stream(_)) {
                self.attempt.cancel.cancel();
            }
            match self.caller.as_mut() {
                Some(caller) if caller.may_repeat && !self.attempt.called && is_own_conflict(&error) => {
                    caller.head = Some(head);
                }
                _ => drop(head.send(Err(NoAnswer::Settle(error)))),
            }
            return;
        }
        let body = self.hand_on(response.body);
        // A failed send says that the caller went away in this moment; its guard cancels the attempt.
        let _ = head.send(Ok(Response { body, ..response }));
    }

    pub(super) async fn answer_whole(&mut self, whole: Whole) {
        let Whole { response, body } = whole;
        match body {
            Ok(body) => {
                if let Some(remember) = self.caller.as_mut().and_then(|caller| caller.remember.take()) {
                    self.attempt.effects.push(remember(&response, &body));
                }
                self.answer(Response { body: Body::Full(body), ..response }).await;
            }
            Err(error @ BodyError::TooLarge { .. }) => {
                let words =
                    format!("the response of a call with an idempotency key is kept whole, but {error}");
                self.refused = Some(Outcome::Failed(Failure::new(FailureCode::FunctionError, words)));
                self.attempt.cancel.cancel();
            }
            // What the instance ended by says why.
            Err(BodyError::Aborted(_) | BodyError::HandedOn) => {}
        }
    }

    /// Commits what came after the head, or tells the caller why there is none. Not everything that ended well can be
    /// kept: `outcome` says so then. A caller whose call may be made again is left to whoever makes it.
    pub(super) async fn answer_caller(&mut self, outcome: &mut Outcome) {
        let Some(caller) = &self.caller else { return };
        if caller.may_repeat && outcome.is_state_conflict() {
            return;
        }
        if outcome.is_completed()
            && let Err(error) = self.commit().await
        {
            *outcome = Outcome::Failed(failure_of(&error));
        }
        if let Some(head) = self.caller.as_mut().and_then(|caller| caller.head.take()) {
            let _ = head.send(Err(NoAnswer::Outcome(outcome.clone(), self.started.elapsed())));
        }
    }

    /// One transaction with all that the attempt did since the last one. Nothing to do is done at once.
    async fn commit(&mut self) -> Result<(), SettleError> {
        if self.caller.is_none() || self.attempt.effects.is_empty() {
            return Ok(());
        }
        // What most calls never come to takes no place in all of them.
        Box::pin(self.commit_effects()).await
    }

    async fn commit_effects(&mut self) -> Result<(), SettleError> {
        let mut record = RunRecord::clone(&self.attempt.record);
        record.state = RunState::Completed;
        record.push_attempt(self.record(Outcome::Completed { status: self.status }));
        let attempt = &mut self.attempt;
        let (inner, now) = (attempt.inner.clone(), attempt.inner.now());
        record.ended_at = Some(now);
        let cause = attempt.cause_of_children();
        let (writes, events) = attempt.effects.take();
        let mut allowance = inner.allowance();
        let accepting = inner.accepting().await;
        let to = (&accepting, accepting.current(&attempt.app));
        let append = |event| ingest::append_event(&inner, to, event, &cause, &mut allowance, now);
        let appends: Vec<_> = events.into_iter().map(append).collect();
        let queues = ingest::queues_of(&appends);
        let delays = later::is_among(&writes);
        let waits = inner.waits.before(&writes, &appends);
        let settlement = Settlement {
            lease: None,
            verdict: Verdict::Complete,
            run: Some(record),
            others: Vec::new(),
            writes,
            appends,
        };
        let settled = inner.store.settle(settlement, now).await;
        inner.waits.after(waits, settled.as_ref().ok().map(|settled| settled.appended.as_slice()));
        // Also after an error: whether it happened may be unknown.
        inner.agenda.wake(queues, now);
        if delays {
            inner.later.wake();
        }
        self.attempt.effects.committed(&settled?.revisions);
        Ok(())
    }

    /// The body as the caller gets it. One that arrives in chunks is watched: when its reader leaves before the end,
    /// the run is cancelled.
    fn hand_on(&self, body: Body) -> Body {
        let Body::Stream(_) = body else { return body };
        let inner = self.attempt.inner.clone();
        let cancel = (!self.attempt.finishes()).then(|| self.attempt.cancel.clone());
        body.watched(move |rest| {
            if Handle::try_current().is_ok() {
                let work = inner.work.clone();
                work.spawn(async move { read_out(&inner, rest, cancel).await });
            }
        })
    }
}

/// Reads what the reader has left, and cancels the run that is still not at its end after a while.
async fn read_out(inner: &Inner, mut rest: Chunks, cancel: Option<CancellationToken>) {
    let reading = async { while rest.recv().await.is_some() {} };
    match cancel {
        None => drop(inner.ending.run_until_cancelled(reading).await),
        Some(cancel) => {
            if tokio::time::timeout(LEAVING, reading).await.is_err() {
                cancel.cancel();
            }
        }
    }
}

/// The response that is on its way into memory, when it is there; never, when none is.
pub(super) async fn arrived<T>(on_its_way: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(arriving) = on_its_way else { return std::future::pending().await };
    let arrived = arriving.await;
    *on_its_way = None;
    arrived
}

/// Whether the function's own state changed under it, rather than the answer kept for its key.
fn is_own_conflict(error: &SettleError) -> bool {
    matches!(error, SettleError::Conflict { space, .. } if *space != Space::answers())
}

/// For a run that `trigger` started, and of which nobody waits for the answer any more.
pub(crate) fn caller_gone(trigger: &Trigger) -> Failure {
    match trigger {
        Trigger::Call { by } => {
            Failure::new(FailureCode::CallerEnded, format!("function {by}, which called it, has ended"))
        }
        _ => Failure::new(FailureCode::Cancelled, "the caller went away"),
    }
}

/// What the run's record says when the store refused the effects.
pub(crate) fn failure_of(error: &SettleError) -> Failure {
    match error {
        SettleError::Conflict { .. } => Failure::new(FailureCode::StateConflict, error.to_string()),
        SettleError::Store(StoreError::Outcome(_)) => Failure::new(
            FailureCode::StoreFailed,
            format!("whether its effects were kept is unknown: {error}"),
        ),
        SettleError::StaleLease { .. } | SettleError::Store(_) => {
            Failure::new(FailureCode::StoreFailed, format!("its effects could not be kept: {error}"))
        }
    }
}
