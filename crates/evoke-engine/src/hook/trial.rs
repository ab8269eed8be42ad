//! Trying a hook: a sample event, sent and signed as any other, and what the endpoint answers.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::outcome::Outcome;
use evoke_core::record::{AttemptRecord, RunRecord, RunState, Trigger};
use evoke_core::runtime::Input;
use serde_json::json;
use tokio::sync::oneshot;

use crate::admission::{Kind, Permit, Visitor};
use crate::arrival::Arrival;
use crate::attempt::{Attempt, Caller, Taken};
use crate::engine::Inner;
use crate::route::{App, Target};
use crate::{Engine, ingest};

/// The type of a sample event.
const TYPE: &str = "evoke.hook.test";
/// Bytes of an answer that are shown at most; a hook's instance hands over less.
const ANSWER_BYTES: u64 = 64 << 10;

/// What came of a trial.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Its run.
    pub run: RunId,
    /// The event's id, which is the `webhook-id`.
    pub event: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The first bytes of the answer, where it was delivered.
    pub answer: String,
    /// How long it took.
    pub took: Duration,
}

/// Why a hook was not tried.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrialError {
    /// There is none of that name.
    #[error("app {app} has no hook {name}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The name.
        name: FunctionName,
    },
    /// As many requests are under way as the hook may have.
    #[error("hook {name} has as many requests under way as it may have, {concurrency}, and others wait")]
    Busy {
        /// The hook.
        name: FunctionName,
        /// Its `concurrency`.
        concurrency: u32,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

impl Engine {
    /// Sends a sample event to a hook, also to one that is disabled, once, and waits for the end of it. It is a run like
    /// any other; what the endpoint answers has no consequences.
    pub async fn try_hook(&self, app: &AppName, name: &FunctionName) -> Result<Tried, TrialError> {
        let inner = &self.0;
        let work = inner.begin().ok_or(TrialError::Draining)?;
        let found = inner.directory.snapshot().find(app, name);
        let found = found.filter(|(_, target)| target.settings.hook.is_some());
        let not_found = || TrialError::NotFound { app: app.clone(), name: name.clone() };
        let (app, target) = found.ok_or_else(not_found)?;
        let taken = Taken::now(inner);
        let patience = taken.since + inner.limits.waiting;
        let visitor = Visitor { kind: Kind::Event, inner: None, patience, deadline: None, bytes: 0 };
        let permit = target.door.enter(visitor).await;
        let concurrency = target.settings.concurrency;
        let permit = permit.map_err(|_| TrialError::Busy { name: name.clone(), concurrency })?;
        // Whether or not somebody still waits for it, there is a record of it.
        let trial = Trial { inner: inner.clone(), app, target, taken };
        let done = inner.work.spawn(async move {
            let _work = work;
            trial.run(permit).await
        });
        done.await.map_err(|_| TrialError::Draining)
    }
}

struct Trial {
    inner: Arc<Inner>,
    app: Arc<App>,
    target: Arc<Target>,
    taken: Taken,
}

impl Trial {
    async fn run(self, permit: Permit) -> Tried {
        let Self { inner, app, target, taken } = self;
        let mut record = Arc::new(record(&inner, &target, taken));
        let run = record.id.clone();
        let event = sample(&inner, &target);
        let event_id = event.id().to_owned();
        let (head, answer) = oneshot::channel();
        let cancel = app.life.ending.child_token();
        let patience = Some(taken.since + inner.limits.waiting);
        let attempt = match target.pool.take(&inner, patience, &cancel).await {
            Ok(slot) => {
                let timeout = target.settings.timeout;
                let attempt =
                    Attempt::new(&inner, (app, target.clone()), record.clone(), 1, timeout, None, cancel);
                let caller = Caller::new(head, None, false);
                attempt.execute(slot, taken, Input::Event(event), Some(caller)).await.record
            }
            Err(failure) => taken.unstarted(&inner, 1, Some(&target), Outcome::Rejected(failure)),
        };
        drop(permit);
        let answer = match answer.await {
            Ok(Ok(response)) => response.body.collect(ANSWER_BYTES).await.unwrap_or_default(),
            Ok(Err(_)) | Err(_) => Default::default(),
        };
        let AttemptRecord { outcome, ended_at, ran_us, .. } = attempt.clone();
        let ended = Arc::make_mut(&mut record);
        ended.state = if outcome.is_completed() { RunState::Completed } else { RunState::Failed };
        ended.ended_at = Some(ended_at);
        ended.push_attempt(attempt);
        inner.recorder.run(record);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Tried { run, event: event_id, outcome, answer, took: Duration::from_micros(ran_us) }
    }
}

fn record(inner: &Inner, target: &Target, taken: Taken) -> RunRecord {
    let id = inner.new_run_id();
    let cause = inner.cause_of_run(&id, &Arrival::default());
    let path = format!("/v1/apps/{}/hooks/{}/test", target.app, target.name);
    let trigger = Trigger::Http { method: "POST".to_owned(), path };
    ingest::queued(id, target.app.clone(), target.name.clone(), trigger, cause, taken.at)
}

fn sample(inner: &Inner, target: &Target) -> Event {
    let id = inner.chance.lock().ids.event(inner.now());
    let source = format!("/evoke/apps/{}/hooks/{}", target.app, target.name);
    let data = json!({ "app": target.app, "hook": target.name, "note": "sent by `evoke hooks test`" });
    Event::new(id, source, TYPE).with_time(inner.now().to_rfc3339()).with_json(data)
}
