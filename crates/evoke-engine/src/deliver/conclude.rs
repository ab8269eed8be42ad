//! The end of attempts in the store: one transaction for all of a batch, with what the attempt changed.

use std::time::Duration;

use evoke_core::answer::Answer;
use evoke_core::destination::Ended;
use evoke_core::id::RunId;
use evoke_core::manifest::Fate;
use evoke_core::record::AttemptRecord;
use evoke_core::store::{
    Append, Conclusion, Leased, Queue, SettleError, Settled, Settlement, StoreError, Verdict, Write,
};
use evoke_core::time::Timestamp;

use crate::engine::Inner;
use crate::live::Accepting;
use crate::{destination, ingest, later, lifecycle, result};

/// Pauses before a settlement that the store did not take is tried again, far shorter together than a lease. When that
/// did not help either, the lease runs out and the attempt is made again.
const SETTLE_PAUSES_MS: [u64; 5] = [50, 100, 200, 400, 800];

/// What becomes of one invocation.
pub(super) struct End<'a> {
    pub leased: &'a Leased,
    /// The attempt, unless the store has noted it already or there was none.
    pub record: Option<AttemptRecord>,
    pub verdict: Verdict,
    /// What the function answered, to a request.
    pub answer: Option<&'a Answer>,
}

/// Carries the verdicts out, and has the queues looked at to which that adds. Effects go with one that is complete.
pub(super) async fn conclude(
    inner: &Inner,
    accepting: &Accepting<'_>,
    mut ends: Vec<End<'_>>,
    (mut writes, mut appends): (Vec<Write>, Vec<Append>),
    now: Timestamp,
) -> Result<(), SettleError> {
    // The seam has effects with completion only, and events with dead letters; of a batch they go with the first that is.
    let is_dead = |end: &End<'_>| matches!(end.verdict, Verdict::DeadLetter { .. });
    let complete = ends.iter().position(|end| end.verdict == Verdict::Complete);
    let first = complete.or_else(|| ends.iter().position(is_dead)).unwrap_or(0);
    ends.swap(0, first);
    appends.extend(ends.iter().filter_map(|end| end.dead_letter(inner, accepting, now)));
    appends.extend(ends.iter().filter_map(|end| end.destination(inner, accepting, now)));
    let until = now.after(inner.limits.results_kept);
    writes.extend(ends.iter().filter_map(|end| end.kept(until)));
    let mut queues = ingest::queues_of(&appends);
    let mut again = Vec::new();
    for end in &ends {
        match &end.verdict {
            Verdict::Defer { until } => again.push((Queue::of(&end.leased.run), *until)),
            Verdict::Release => queues.push(Queue::of(&end.leased.run)),
            // The next of its key can be had now.
            Verdict::Complete | Verdict::DeadLetter { .. } if end.leased.run.key.is_some() => {
                queues.push(Queue::of(&end.leased.run));
            }
            Verdict::Complete | Verdict::DeadLetter { .. } => {}
        }
    }
    let over = |verdict: &Verdict| matches!(verdict, Verdict::Complete | Verdict::DeadLetter { .. });
    let ended: Vec<RunId> =
        ends.iter().filter(|end| over(&end.verdict)).map(|end| end.leased.run.id.clone()).collect();
    let mut conclusions = ends.into_iter().map(End::conclusion);
    let Some(Conclusion { lease, verdict, run }) = conclusions.next() else { return Ok(()) };
    let others = conclusions.collect();
    let delays = later::is_among(&writes);
    let settlement = Settlement { lease: Some(lease), verdict, run, others, writes, appends };
    let waits = inner.waits.before(&settlement.writes, &settlement.appends);
    let settled = settle(inner, settlement, now).await;
    inner.waits.after(waits, settled.as_ref().ok().map(|settled| settled.appended.as_slice()));
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(queues, now);
    if delays {
        inner.later.wake();
    }
    for (queue, until) in again {
        inner.agenda.wake([queue], until);
    }
    ended.iter().for_each(|run| inner.endings.tell(run));
    settled.map(drop)
}

impl End<'_> {
    /// The event that tells of it, if it is given up.
    fn dead_letter(&self, inner: &Inner, accepting: &Accepting<'_>, now: Timestamp) -> Option<Append> {
        let Verdict::DeadLetter { reason } = &self.verdict else { return None };
        let mut run = self.leased.run.clone();
        run.attempts.extend(self.record.clone());
        lifecycle::dead_letter(inner, &run, reason, now)?.append(inner, accepting)
    }

    /// What tells a destination of it, if it is over and somebody is to be told.
    fn destination(&self, inner: &Inner, accepting: &Accepting<'_>, now: Timestamp) -> Option<Append> {
        let fate = match (&self.verdict, &self.record) {
            (Verdict::Complete, Some(record)) if record.outcome.is_completed() => Fate::Success,
            (Verdict::DeadLetter { .. }, _) => Fate::Failure,
            _ => return None,
        };
        let mut run = self.leased.run.clone();
        run.attempts.extend(self.record.clone());
        let (input, answer) = (Some(&self.leased.input), self.answer);
        destination::tell(inner, accepting, &Ended { run: &run, fate, input, answer, at: now })
    }

    /// Keeps what the function answered, if that was the end of it.
    fn kept(&self, until: Timestamp) -> Option<Write> {
        let complete = self.verdict == Verdict::Complete;
        self.answer.filter(|_| complete).map(|answer| result::keep(&self.leased.run, answer, until))
    }

    fn conclusion(self) -> Conclusion {
        let mut run = self.leased.run.clone();
        // An attempt that was given back does not count and leaves no trace.
        if let Some(record) = self.record.filter(|_| self.verdict != Verdict::Release) {
            run.push_attempt(record);
        }
        Conclusion { lease: self.leased.lease.clone(), verdict: self.verdict, run: Some(run) }
    }
}

/// Settles, and again as long as the store says that this can help.
async fn settle(inner: &Inner, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError> {
    let mut pauses_ms = SETTLE_PAUSES_MS.into_iter();
    let mut may_have_happened = false;
    loop {
        match inner.store.settle(settlement.clone(), now).await {
            Err(SettleError::Store(error)) if error.retryable() => {
                may_have_happened |= matches!(error, StoreError::Outcome(_));
                let Some(pause_ms) = pauses_ms.next() else { return Err(error.into()) };
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            Err(SettleError::StaleLease { .. }) if may_have_happened => return Ok(Settled::default()),
            done => return done,
        }
    }
}

/// The lease runs out and the invocation is attempted again; nothing is lost, only repeated.
pub(super) fn unsettled(leased: &Leased, error: &SettleError) {
    tracing::warn!(%error, run = %leased.run.id, function = %leased.run.function, "an attempt could not be settled");
}
