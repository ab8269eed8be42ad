//! What is accepted to be done later: events, and calls whose sender does not wait.

use std::time::Duration;

use evoke_core::body::BodyError;
use evoke_core::event::{Attribute, CAUSATION_ID, CORRELATION_ID, Event, EventError, EventRef};
use evoke_core::filter::{Allowance, Decision};
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::lifecycle;
use evoke_core::manifest::{Subscription, units};
use evoke_core::record::{Cause, RunRecord, RunState, Trigger};
use evoke_core::runtime::Request;
use evoke_core::store::{Append, Dedup, NewInvocation, Queue, StoreError, StoredRequest};
use evoke_core::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Engine;
use crate::arrival::Arrival;
use crate::engine::Inner;
use crate::live::Accepting;
use crate::rollout::{NotLive, Wish};
use crate::route::App;
use crate::trace::TraceParent;

/// Events of a publish that are matched with subscriptions before others have a turn.
const EVENTS_IN_A_TURN: usize = 32;

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Position in the log.
    pub seq: u64,
    /// It had been accepted before.
    pub duplicate: bool,
    /// The runs it caused.
    pub runs: Vec<RunId>,
}

/// Why events were not accepted. None of the batch was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// No such app.
    #[error("app {app} is not deployed")]
    NotFound {
        /// The app.
        app: AppName,
    },
    /// One of them is not acceptable.
    #[error("event {index}: {cause}")]
    Invalid {
        /// Which, from 0.
        index: usize,
        /// Why.
        cause: EventError,
    },
    /// There are too many of them.
    #[error("{count} events in one publish, the limit is {limit}")]
    TooMany {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Their time is too far away.
    #[error("an event may be delivered at most {} from now", units::format_duration(*.limit))]
    TooFar {
        /// The limit.
        limit: Duration,
    },
    /// There are too many that wait for their time.
    #[error("{limit} events wait for their time, which is the limit")]
    TooManyWait {
        /// The limit.
        limit: usize,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A call to make later.
#[derive(Debug)]
pub struct LaterCall {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// The request it gets; its body is read to the end first.
    pub request: Request,
    /// How it came to be.
    pub trigger: Trigger,
    /// Where it came from.
    pub from: Arrival,
    /// The caller's `Idempotency-Key`: the same key within a day names the same run.
    pub idempotency_key: Option<String>,
}

/// A call that was accepted for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its run.
    pub run: RunId,
    /// It had been accepted before under the same `Idempotency-Key`.
    pub duplicate: bool,
}

/// Why a call was not accepted for later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaterError {
    /// Nothing of that name is deployed.
    #[error("app {app} has no function {function}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The function.
        function: FunctionName,
    },
    /// A version was asked for that does no work.
    #[error("version {version} of app {app} does no work, so that no call can be left to it")]
    NoVersion {
        /// The app.
        app: AppName,
        /// Which.
        version: u64,
    },
    /// The request body is too large.
    #[error("request body is larger than the limit of {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The client stopped sending.
    #[error("{0}")]
    BodyAborted(String),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store did not say whether it accepted the call.
    #[error("whether the call of function {function} was accepted is unknown")]
    Unknown {
        /// Its run: there, when it was accepted.
        run: RunId,
        /// The function.
        function: FunctionName,
        /// The call has an idempotency key: sent again it is made once.
        keyed: bool,
    },
    /// The store failed; nothing was accepted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Accepts events from outside. Attributes a sender may leave to Evoke (`time`, the correlation extension) are
    /// filled in. Durable when it returns.
    pub async fn publish(
        &self,
        app: &AppName,
        events: Vec<Event>,
        from: Arrival,
    ) -> Result<Vec<Published>, PublishError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(PublishError::Draining)?;
        let accepting = inner.accepting().await;
        let Some(to) = accepting.snapshot.apps.get(app) else {
            return Err(PublishError::NotFound { app: app.clone() });
        };
        inner.check_events(&events)?;
        for (index, event) in events.iter().enumerate() {
            if to.deployment.manifest.is_unknown_queue(event.ty()) {
                let cause = EventError::new(format!("app {app} has no {}", event.ty()));
                return Err(PublishError::Invalid { index, cause });
            }
        }
        let now = inner.now();
        let mut allowance = inner.allowance();
        let mut items: Vec<Append> = Vec::with_capacity(events.len());
        for event in events {
            if !items.is_empty() && items.len().is_multiple_of(EVENTS_IN_A_TURN) {
                // With many subscriptions a large batch takes a while; others are not kept waiting for it.
                tokio::task::yield_now().await;
            }
            let cause = inner.cause_of_arrival(event.extension_str(CORRELATION_ID), &from);
            items.push(append_event(inner, (&accepting, to), event, &cause, &mut allowance, now));
        }
        let names: Vec<EventRef> =
            items.iter().filter_map(|item| item.event.as_ref().map(Event::reference)).collect();
        let due: Vec<Queue> = queues_of(&items);
        let waits = inner.waits.before(&[], &items);
        let appended = inner.store.append(items, now).await;
        inner.waits.after(waits, appended.as_deref().ok());
        // Also after an error: whether it happened may be unknown.
        inner.agenda.wake(due, now);
        let published = names.into_iter().zip(appended?).map(|(EventRef { source, id }, done)| Published {
            source,
            id,
            seq: done.seq,
            duplicate: done.duplicate,
            runs: done.runs,
        });
        Ok(published.collect())
    }

    /// A fresh event id, for senders that gave none.
    pub fn new_event_id(&self) -> String {
        self.0.chance.lock().ids.event(self.0.now())
    }

    /// Accepts a call to be made later. Durable when it returns.
    pub async fn call_later(&self, call: LaterCall) -> Result<Accepted, LaterError> {
        let LaterCall { app, function, request, trigger, from, idempotency_key } = call;
        let inner = &self.0;
        if inner.stopping.is_cancelled() {
            return Err(LaterError::Draining);
        }
        // A hook takes events only.
        let snapshot = inner.directory.snapshot();
        if snapshot.target(&app, &function).is_none_or(|target| target.settings.hook.is_some()) {
            return Err(LaterError::NotFound { app, function });
        }
        let request = store_request(request, inner.limits.body_bytes).await.map_err(|error| match error {
            BodyError::TooLarge { limit_bytes } => LaterError::BodyTooLarge { limit_bytes },
            aborted @ (BodyError::Aborted(_) | BodyError::HandedOn) => {
                LaterError::BodyAborted(aborted.to_string())
            }
        })?;
        // Only now: a drain does not wait for a client that takes its time.
        let _work = inner.begin().ok_or(LaterError::Draining)?;
        let now = inner.now();
        let id = inner.new_run_id();
        let mut cause = inner.cause_of_run(&id, &from);
        if cause.parent.is_none() && from.wish != Wish::Any {
            cause.version = inner
                .directory
                .snapshot()
                .assign(&app, &from.wish, id.as_str())
                .map_err(|NotLive { version, .. }| LaterError::NoVersion { app: app.clone(), version })?;
        }
        let (accepted, keyed) = (id.clone(), idempotency_key.is_some());
        let run = queued(id, app.clone(), function.clone(), trigger, cause, now);
        let queue = Queue::calls(app.clone(), function.clone());
        let item = Append {
            app,
            // The blank keeps it apart from every event: their sources are URIs.
            dedup: idempotency_key.map(|key| Dedup { scope: format!("call {function}"), id: key }),
            event: None,
            invocations: vec![NewInvocation { run, due_at: now, request: Some(request) }],
            version: None,
            again: None,
        };
        let done = inner.store.append(vec![item], now).await;
        inner.agenda.wake([queue], now);
        let mut done = done.map_err(|error| match error {
            StoreError::Outcome(cause) => {
                tracing::error!(run = %accepted, %function, cause, "the store did not say whether it accepted a call");
                LaterError::Unknown { run: accepted, function, keyed }
            }
            error => LaterError::Store(error),
        })?;
        let done = done.pop();
        let run = done.as_ref().and_then(|done| done.runs.first()).cloned();
        let run = run.ok_or_else(|| {
            StoreError::Unavailable("the store named no run for an accepted call".to_owned())
        })?;
        Ok(Accepted { run, duplicate: done.is_some_and(|done| done.duplicate) })
    }
}

impl Inner {
    /// What filters may take for the events that are accepted at once.
    pub fn allowance(&self) -> Allowance {
        Allowance::new(self.limits.filter_work)
    }

    /// Whether these may be published at once: by number, the rules of the specification, and size.
    pub fn check_events(&self, events: &[Event]) -> Result<(), PublishError> {
        let (count, limit) = (events.len(), self.limits.publish_events);
        if count > limit {
            return Err(PublishError::TooMany { count, limit });
        }
        for (index, event) in events.iter().enumerate() {
            let checked = event.check().and_then(|()| event.check_size(self.limits.event_bytes));
            let checked = checked.and_then(|()| lifecycle::reserved(event).map_or(Ok(()), Err));
            checked.map_err(|cause| PublishError::Invalid { index, cause })?;
        }
        Ok(())
    }
}

/// An event with the invocations it causes in `app`; `cause` is theirs. Fills in what the sender left to Evoke. Events that
/// are accepted together share an `allowance`. `accepting` is held until they are.
pub(crate) fn append_event(
    inner: &Inner,
    (accepting, app): (&Accepting<'_>, &App),
    mut event: Event,
    cause: &Cause,
    allowance: &mut Allowance,
    now: Timestamp,
) -> Append {
    if event.time().is_none() {
        event = event.with_time(now.to_rfc3339());
    }
    let text = |text: &str| Attribute::String(text.to_owned());
    event = event.with_extension(CORRELATION_ID, text(cause.root.as_str()));
    if let Some(parent) = &cause.parent {
        event = event.with_extension(CAUSATION_ID, text(parent.as_str()));
    }
    if event.extension_str(TraceParent::NAME).is_none() {
        event = event.with_extension(TraceParent::NAME, text(&TraceParent::header(cause)));
    }
    let mut invocations = Vec::new();
    for (target, at, decision) in app.subscribers(&event, allowance) {
        let trigger =
            Trigger::Event { event: event.reference(), ty: event.ty().to_owned(), subscription: at };
        let (app, function) = (target.app.clone(), target.name.clone());
        let mut run = queued(inner.new_run_id(), app, function, trigger, cause.clone(), now);
        let on = target.settings.on.get(at as usize);
        run.subscription = on.map(Subscription::name);
        run.undecided = decision == Decision::Open;
        run.key = on.and_then(|on| on.order.as_ref()).and_then(|order| order.of(&event));
        let queue = Queue::of(&run);
        if !accepting.is_live(&queue) {
            // It is catching up, and comes to this event in its turn.
            continue;
        }
        match inner.pauses.admit(&queue) {
            Ok(()) => invocations.push(NewInvocation { run, due_at: now, request: None }),
            Err(full) => inner.recorder.run(full.skip(run, now)),
        }
    }
    let dedup = Some(Dedup { scope: event.source().to_owned(), id: event.id().to_owned() });
    let version = Some(app.deployment.version);
    Append {
        app: app.deployment.manifest.app.clone(),
        dedup,
        event: Some(event),
        invocations,
        version,
        again: None,
    }
}

/// The queues that `items` add to.
pub(crate) fn queues_of(items: &[Append]) -> Vec<Queue> {
    let runs = items.iter().flat_map(|item| &item.invocations).map(|invocation| &invocation.run);
    runs.map(Queue::of).collect()
}

/// The record of an invocation nobody has attempted yet.
pub(crate) fn queued(
    id: RunId,
    app: AppName,
    function: FunctionName,
    trigger: Trigger,
    cause: Cause,
    now: Timestamp,
) -> RunRecord {
    let state = RunState::Queued;
    RunRecord {
        id,
        app,
        function,
        subscription: None,
        key: None,
        undecided: false,
        trigger,
        replay: None,
        cause,
        state,
        created_at: now,
        ended_at: None,
        due_at: None,
        attempts: Vec::new(),
    }
}

async fn store_request(request: Request, limit_bytes: u64) -> Result<StoredRequest, BodyError> {
    Ok(StoredRequest {
        method: request.method.as_str().to_owned(),
        uri: request.uri,
        headers: header_texts(&request.headers),
        params: request.params,
        body: request.body.collect(limit_bytes).await?,
    })
}

/// Header fields as texts: values are bytes, each becomes the character of the same number.
pub(crate) fn header_texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let latin1 = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), latin1(value))).collect()
}

/// The inverse of [`header_texts`].
pub(crate) fn header_map(texts: &[(String, String)]) -> HeaderMap {
    let field = |(name, value): &(String, String)| {
        let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&bytes).ok()?))
    };
    let mut headers = HeaderMap::with_capacity(texts.len());
    for (name, value) in texts.iter().filter_map(field) {
        headers.append(name, value);
    }
    headers
}
