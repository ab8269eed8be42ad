//! The log and the queues: append, lease, settle, redrive.

use super::All;
use crate::event::Event;
use crate::id::{AppName, RunId};
use crate::record::{AttemptRecord, RunRecord};
use crate::store::{
    Append, Appended, Cancellation, Conclusion, Lease, Leased, NewInvocation, Queue, QueueDue, SettleError,
    Settled, Settlement, StoredInput, StoredRequest, Verdict, Waiting,
};
use crate::time::Timestamp;

/// One position of the log.
#[derive(Debug)]
pub(super) struct Accepted {
    pub app: AppName,
    pub at: Timestamp,
    pub event: Option<Event>,
    pub runs: Vec<RunId>,
    pub version: Option<u64>,
    pub again: Vec<RunId>,
    pub expired: Option<Expired>,
}

/// What became of an event that is kept no longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expired {
    pub at: Timestamp,
    /// Invocations were given up for it.
    pub gave_up: bool,
}

impl Accepted {
    /// All runs it caused.
    pub fn caused(&self) -> impl Iterator<Item = &RunId> {
        self.runs.iter().chain(&self.again)
    }
}

/// An invocation that is not over.
#[derive(Debug)]
pub(super) struct Invocation {
    pub queue: Queue,
    pub seq: u64,
    pub request: Option<StoredRequest>,
    /// Attempts taken since it was queued or redriven.
    pub attempts: u32,
    /// Its key, and when it was accepted among all.
    pub order: Option<(String, u64)>,
    pub place: Place,
}

#[derive(Debug)]
pub(super) enum Place {
    Waiting {
        due_at: Timestamp,
    },
    /// Behind another of its key.
    Behind {
        due_at: Timestamp,
    },
    Held {
        token: u64,
        since: Timestamp,
        until: Timestamp,
    },
    /// Leased by a process that is gone.
    Lost {
        since: Timestamp,
    },
    Dead {
        reason: String,
        at: Timestamp,
    },
}

impl Place {
    fn available_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting { due_at } => Some(*due_at),
            Self::Held { until, .. } => Some(*until),
            Self::Lost { since } => Some(*since),
            Self::Behind { .. } | Self::Dead { .. } => None,
        }
    }

    fn is_held_by(&self, lease: &Lease) -> bool {
        matches!(self, Self::Held { token, .. } if *token == lease.token)
    }
}

impl All {
    pub(super) fn append(&mut self, item: Append, now: Timestamp) -> Appended {
        if let Some(first) = self.first(&item) {
            return first;
        }
        if let Some(seq) = item.again {
            return self.deliver_again(seq, item.invocations);
        }
        let seq = self.next();
        let Append { app, dedup, event, invocations, version, again: _ } = item;
        if let Some(dedup) = dedup {
            self.seen.insert((app.clone(), dedup), seq);
        }
        let runs: Vec<RunId> = invocations.iter().map(|new| new.run.id.clone()).collect();
        invocations.into_iter().for_each(|new| self.enqueue(new, seq));
        self.log.insert(
            seq,
            Accepted { app, at: now, event, runs: runs.clone(), version, again: Vec::new(), expired: None },
        );
        Appended { seq, duplicate: false, runs }
    }

    fn deliver_again(&mut self, seq: u64, invocations: Vec<NewInvocation>) -> Appended {
        let mut runs: Vec<RunId> = invocations.iter().map(|new| new.run.id.clone()).collect();
        match self.log.get_mut(&seq).filter(|accepted| accepted.event.is_some() && accepted.expired.is_none())
        {
            Some(accepted) => accepted.again.extend(runs.iter().cloned()),
            None => runs.clear(),
        }
        if !runs.is_empty() {
            invocations.into_iter().for_each(|new| self.enqueue(new, seq));
        }
        Appended { seq, duplicate: false, runs }
    }

    /// The answer to a duplicate. The position is 0 when only the run record is left of the first.
    fn first(&self, item: &Append) -> Option<Appended> {
        let answer = |seq: u64, runs: &[RunId]| Appended { seq, duplicate: true, runs: runs.to_vec() };
        let seen = item.dedup.as_ref().and_then(|dedup| self.seen.get(&(item.app.clone(), dedup.clone())));
        if let Some((seq, first)) = seen.and_then(|seq| Some((*seq, self.log.get(seq)?))) {
            return Some(answer(seq, &first.runs));
        }
        let known = &item.invocations.iter().find(|new| self.runs.contains_key(&new.run.id))?.run.id;
        let first = self.log.iter().find(|(_, accepted)| accepted.caused().any(|run| run == known));
        Some(
            first.map_or_else(
                || answer(0, std::slice::from_ref(known)),
                |(seq, first)| answer(*seq, &first.runs),
            ),
        )
    }

    fn enqueue(&mut self, new: NewInvocation, seq: u64) {
        let NewInvocation { mut run, due_at, request } = new;
        run.wait(due_at);
        let (queue, place) = (Queue::of(&run), self.place_in_order(&run, due_at));
        if let Some(at) = place.available_at() {
            self.available.insert((queue.clone(), at, run.id.clone()));
        }
        self.accepted += 1;
        let order = run.key.clone().map(|key| (key, self.accepted));
        let invocation = Invocation { queue, seq, request, attempts: 0, order, place };
        self.invocations.insert(run.id.clone(), invocation);
        self.runs.insert(run.id.clone(), run);
    }

    /// Behind those of its key, if there are any.
    fn place_in_order(&self, run: &RunRecord, due_at: Timestamp) -> Place {
        let has_other =
            run.key.is_some() && self.of_key(&Queue::of(run), run.key.as_deref()).next().is_some();
        if has_other { Place::Behind { due_at } } else { Place::Waiting { due_at } }
    }

    /// Pending ones of a queue with a key.
    fn of_key<'a>(
        &'a self,
        queue: &'a Queue,
        key: Option<&'a str>,
    ) -> impl Iterator<Item = (u64, &'a RunId)> {
        self.invocations.iter().filter_map(move |(run, other)| {
            let (of, accepted) = other.order.as_ref()?;
            let same = other.queue == *queue && Some(of.as_str()) == key;
            (same && !matches!(other.place, Place::Dead { .. })).then_some((*accepted, run))
        })
    }

    /// Lets the next of a key go, now that one is over.
    fn let_next(&mut self, queue: &Queue, key: &str) {
        let Some((_, next)) = self.of_key(queue, Some(key)).min() else { return };
        let next = next.clone();
        if let Some(Place::Behind { due_at }) = self.invocations.get(&next).map(|other| &other.place) {
            self.put(&next, Place::Waiting { due_at: *due_at });
        }
    }

    pub(super) fn due(&self) -> Vec<QueueDue> {
        let mut queues: Vec<QueueDue> = Vec::new();
        for (queue, at, _) in &self.available {
            if queues.last().is_none_or(|last| last.queue != *queue) {
                queues.push(QueueDue { queue: queue.clone(), at: *at });
            }
        }
        queues
    }

    pub(super) fn waiting(&self, queue: &Queue, now: Timestamp, max: u64) -> Waiting {
        let counted = |(_, one): &(&RunId, &Invocation)| {
            one.queue == *queue && !matches!(one.place, Place::Dead { .. })
        };
        let counted = self.invocations.iter().filter(counted);
        let created = |run: &RunId| self.runs.get(run).map(|run| run.created_at);
        let oldest = counted.clone().filter_map(|(run, _)| created(run)).min();
        let pending = counted.map(|(_, one)| one);
        let is_leased = |one: &&Invocation| matches!(one.place, Place::Held { until, .. } if until > now);
        let leased = pending.clone().filter(is_leased).count() as u64;
        let retrying = pending.clone().filter(|one| one.attempts > 0 && !is_leased(one)).count() as u64;
        let mut available: Vec<Timestamp> =
            pending.clone().filter_map(|one| one.place.available_at().filter(|at| *at <= now)).collect();
        available.sort_unstable();
        Waiting {
            pending: (pending.count() as u64).min(max),
            available: (available.len() as u64).min(max),
            since: available.first().copied(),
            leased: leased.min(max),
            retrying: retrying.min(max),
            oldest,
        }
    }

    pub(super) fn lease(
        &mut self,
        queue: &Queue,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Vec<Leased> {
        let first = (queue.clone(), Timestamp(0), RunId::from_text(""));
        let take = |(of, at, _): &&(Queue, Timestamp, RunId)| of == queue && *at <= now;
        let runs: Vec<RunId> =
            self.available.range(first..).take_while(take).take(max).map(|(_, _, run)| run.clone()).collect();
        runs.iter().filter_map(|run| self.take(run, now, until)).collect()
    }

    fn take(&mut self, run: &RunId, now: Timestamp, until: Timestamp) -> Option<Leased> {
        let token = self.next();
        let invocation = self.invocations.get_mut(run)?;
        let lost = match invocation.place {
            Place::Held { since, .. } | Place::Lost { since } => {
                Some(AttemptRecord::lost(invocation.attempts, since, now))
            }
            _ => None,
        };
        invocation.attempts += 1;
        let attempt = invocation.attempts;
        let input = self.input(run)?;
        self.put(run, Place::Held { token, since: now, until });
        let record = self.runs.get_mut(run)?;
        record.run_again(lost);
        Some(Leased { lease: Lease { run: run.clone(), token }, run: record.clone(), attempt, input })
    }

    pub(super) fn input(&self, run: &RunId) -> Option<StoredInput> {
        let invocation = self.invocations.get(run)?;
        match &invocation.request {
            Some(request) => Some(StoredInput::Request(request.clone())),
            None => self.log.get(&invocation.seq)?.event.clone().map(StoredInput::Event),
        }
    }

    /// Moves an invocation to another place and keeps the index of what is available true.
    fn put(&mut self, run: &RunId, place: Place) {
        let Some(invocation) = self.invocations.get_mut(run) else { return };
        if let Some(at) = invocation.place.available_at() {
            self.available.remove(&(invocation.queue.clone(), at, run.clone()));
        }
        if let Some(at) = place.available_at() {
            self.available.insert((invocation.queue.clone(), at, run.clone()));
        }
        invocation.place = place;
    }

    fn is_held_by(&self, lease: &Lease) -> bool {
        self.invocations.get(&lease.run).is_some_and(|invocation| invocation.place.is_held_by(lease))
    }

    pub(super) fn extend(&mut self, lease: &Lease, until: Timestamp) -> bool {
        let Some(invocation) = self.invocations.get(&lease.run) else { return false };
        match invocation.place {
            Place::Held { token, since, .. } if token == lease.token => {
                self.put(&lease.run, Place::Held { token, since, until });
                true
            }
            _ => false,
        }
    }

    pub(super) fn settle(&mut self, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError> {
        let Settlement { lease, verdict, run, others, writes, appends } = settlement;
        let leases = lease.iter().chain(others.iter().map(|other| &other.lease));
        if let Some(lease) = leases.into_iter().find(|lease| !self.is_held_by(lease)) {
            return Err(SettleError::StaleLease { run: lease.run.clone() });
        }
        self.check_writes(&writes, now)?;
        if let Some(run) = run {
            self.runs.insert(run.id.clone(), run);
        }
        if let Some(lease) = lease {
            self.conclude(&lease.run, verdict, now);
        }
        for Conclusion { lease, verdict, run } in others {
            if let Some(run) = run {
                self.runs.insert(run.id.clone(), run);
            }
            self.conclude(&lease.run, verdict, now);
        }
        let revisions = self.apply_writes(writes);
        let appended = appends.into_iter().map(|item| self.append(item, now)).collect();
        Ok(Settled { revisions, appended })
    }

    pub(super) fn is_leased(&self, run: &RunId, now: Timestamp) -> bool {
        let leased = |one: &Invocation| matches!(one.place, Place::Held { until, .. } if until > now);
        self.invocations.get(run).is_some_and(leased)
    }

    pub(super) fn conclude(&mut self, run: &RunId, verdict: Verdict, now: Timestamp) {
        if let Some(record) = self.runs.get_mut(run) {
            verdict.conclude(record, now);
        }
        match verdict {
            Verdict::Complete => self.leave(run),
            Verdict::Defer { until } => self.put(run, Place::Waiting { due_at: until }),
            Verdict::Release => {
                if let Some(invocation) = self.invocations.get_mut(run) {
                    invocation.attempts -= 1;
                }
                self.put(run, Place::Waiting { due_at: now });
            }
            Verdict::DeadLetter { reason } => {
                self.put(run, Place::Dead { reason, at: now });
                let Some(invocation) = self.invocations.get(run) else { return };
                if let (queue, Some((key, _))) = (invocation.queue.clone(), invocation.order.clone()) {
                    self.let_next(&queue, &key);
                }
            }
        }
    }

    pub(super) fn redrive(&mut self, app: &AppName, run: &RunId, now: Timestamp) -> bool {
        let dead = |invocation: &&mut Invocation| {
            invocation.queue.app == *app && matches!(invocation.place, Place::Dead { .. })
        };
        let Some(invocation) = self.invocations.get_mut(run).filter(dead) else { return false };
        invocation.attempts = 0;
        let record = self.runs.get(run).cloned();
        let place = record.map_or(Place::Waiting { due_at: now }, |run| self.place_in_order(&run, now));
        self.put(run, place);
        if let Some(record) = self.runs.get_mut(run) {
            record.wait(now);
        }
        true
    }

    pub(super) fn purge(&mut self, app: &AppName, run: &RunId, now: Timestamp) -> bool {
        let is_dead = |invocation: &Invocation| {
            invocation.queue.app == *app && matches!(invocation.place, Place::Dead { .. })
        };
        if !self.invocations.get(run).is_some_and(is_dead) {
            return false;
        }
        self.invocations.remove(run);
        if let Some(record) = self.runs.get_mut(run) {
            record.purge(now);
        }
        true
    }

    pub(super) fn cancel(&mut self, cancellation: Cancellation, now: Timestamp) -> Option<Vec<Appended>> {
        let Cancellation { app, run, reason, appends } = cancellation;
        let is_pending = |one: &&Invocation| one.queue.app == app && !matches!(one.place, Place::Dead { .. });
        let one = self.invocations.get(&run).filter(is_pending)?;
        let (open, held) = match one.place {
            Place::Held { since, .. } => (Some((one.attempts, since)), true),
            Place::Lost { since } => (Some((one.attempts, since)), false),
            _ => (None, false),
        };
        if let Some(record) = self.runs.get_mut(&run) {
            record.cancel(&reason, open, held, now);
        }
        self.leave(&run);
        Some(appends.into_iter().map(|item| self.append(item, now)).collect())
    }

    /// Takes an invocation that is over out of its queue.
    fn leave(&mut self, run: &RunId) {
        let Some(invocation) = self.invocations.remove(run) else { return };
        if let Some(at) = invocation.place.available_at() {
            self.available.remove(&(invocation.queue.clone(), at, run.clone()));
        }
        if let Some((key, _)) = &invocation.order {
            self.let_next(&invocation.queue, key);
        }
    }

    pub(super) fn void_leases(&mut self) {
        let held = |(run, invocation): (&RunId, &Invocation)| match invocation.place {
            Place::Held { since, .. } => Some((run.clone(), since)),
            _ => None,
        };
        let held: Vec<(RunId, Timestamp)> = self.invocations.iter().filter_map(held).collect();
        for (run, since) in held {
            self.put(&run, Place::Lost { since });
            if let Some(record) = self.runs.get_mut(&run) {
                record.wait(since);
            }
        }
    }
}
