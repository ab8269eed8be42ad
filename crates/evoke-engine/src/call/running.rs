//! A call that was let in, from its first attempt to its record.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::manifest::OnDisconnect;
use evoke_core::outcome::Outcome;
use evoke_core::record::{AttemptRecord, RunRecord, RunState};
use evoke_core::runtime::{Input, Request};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::once::Keyed;
use super::repeat::{self, Again};
use crate::admission::Permit;
use crate::attempt::{Attempt, Caller, Executed, Head, NoAnswer, Taken};
use crate::engine::Inner;
use crate::next::Next;
use crate::route::{App, Target};
use crate::under_way::Calling;
use crate::{lifecycle, rollout};

/// A call that was let in.
pub(super) struct Running {
    pub inner: Arc<Inner>,
    pub app: Arc<App>,
    pub target: Arc<Target>,
    pub calling: Calling,
    /// The caller's own.
    pub deadline: Option<Instant>,
    pub next: Option<Next>,
    pub cancel: CancellationToken,
    pub taken: Taken,
    pub patience: Instant,
}

impl Running {
    pub async fn run(self, permit: Permit, request: Request, head: Head, keyed: Option<Keyed>) {
        let Self { inner, app, target, calling, deadline, next, mut cancel, taken, patience } = self;
        // The key is in use until this run is over, whether or not its caller is still there.
        let (remember, _in_use) = keyed.map(|keyed| (keyed.remember, keyed.in_use)).unzip();
        let mut record = calling.note(|record| record.state = RunState::Running);
        let mut again = Again::new(&target, &request, deadline);
        let (mut request, mut head, mut taken, mut patience) = (request, head, taken, patience);
        let (attempt, unknown) = loop {
            let slot = match target.pool.take(&inner, Some(patience), &cancel).await {
                Ok(slot) => slot,
                Err(failure) => {
                    let outcome = Outcome::Rejected(calling.stop.failure().unwrap_or(failure));
                    // Nobody may be there to hear it.
                    let _ = head.send(Err(NoAnswer::Outcome(outcome.clone(), Duration::ZERO)));
                    break (taken.unstarted(&inner, again.number(), Some(&target), outcome), false);
                }
            };
            let (until, found) = (again.begin(), (app.clone(), target.clone()));
            let (number, timeout) = (again.number(), target.settings.timeout);
            let mut attempt =
                Attempt::new(&inner, found, record.clone(), number, timeout, until, cancel.clone());
            attempt.next.clone_from(&next);
            attempt.stop = Some(calling.stop.clone());
            attempt.of_caller = deadline.is_some_and(|deadline| deadline <= attempt.deadline);
            let caller = Caller::new(head, remember.clone(), again.is_possible());
            let executed = attempt.execute(slot, taken, Input::Request(request), Some(caller)).await;
            let Executed { record: attempt, called, unanswered, unknown, .. } = executed;
            let Some(unheard) = unanswered.and_then(Caller::into_head) else { break (attempt, unknown) };
            let finishes = target.settings.admission.on_disconnect == OnDisconnect::Finish;
            let abandoned = unheard.is_closed() && !finishes;
            let ended = app.life.ending.is_cancelled() || calling.is_stopped();
            let next = match called || abandoned || ended {
                true => None,
                false => Box::pin(again.next(&inner)).await,
            };
            let Some(next) = next else {
                let ran = Duration::from_micros(attempt.ran_us);
                let _ = unheard.send(Err(NoAnswer::Outcome(attempt.outcome.clone(), ran)));
                break (attempt, false);
            };
            Arc::make_mut(&mut record).push_attempt(attempt);
            (request, head, taken) = (next, unheard, Taken::now(&inner));
            patience = again.patience(taken.since + inner.limits.waiting);
            // The attempt may have ended itself, which is not to end the next one.
            cancel = app.life.ending.child_token();
            calling.go_on(&cancel);
        };
        drop(permit);
        lifecycle::attempted(&inner, &app, &target, &record, &attempt);
        rollout::attempted(&inner, &app, &target, &attempt);
        let attempts = Arc::unwrap_or_clone(record).attempts;
        let unknown = unknown && Box::pin(repeat::is_kept(&inner, calling.run())).await;
        let ended = calling.note(|record| {
            record.attempts = attempts;
            end(record, attempt);
            if unknown {
                record.state = RunState::Completed;
            }
        });
        if unknown {
            return;
        }
        let run = calling.run().clone();
        inner.recorder.run(ended);
        // Who looks for it finds it in one of the two.
        drop(calling);
        inner.endings.tell(&run);
    }
}

/// The record of a call after its only attempt.
pub(super) fn ended(mut record: RunRecord, attempt: AttemptRecord) -> RunRecord {
    end(&mut record, attempt);
    record
}

pub(super) fn end(record: &mut RunRecord, attempt: AttemptRecord) {
    record.state = if attempt.outcome.is_completed() { RunState::Completed } else { RunState::Failed };
    record.ended_at = Some(attempt.ended_at);
    record.push_attempt(attempt);
}
