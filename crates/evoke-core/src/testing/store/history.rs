//! What can be looked at afterwards: dead letters, events, runs, logs; and how long.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::All;
use super::queue::{Accepted, Place};
use crate::id::{AppName, RunId};
use crate::record::{LogRecord, RunRecord, RunState};
use crate::store::{
    DeadLetter, DeadLetterQuery, EventQuery, LogQuery, Retention, RunQuery, Space, StoredEvent,
};
use crate::time::Timestamp;

impl All {
    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        self.invocations
            .iter()
            .rev()
            .filter(|(run, _)| query.run.as_ref().is_none_or(|only| only == *run))
            .filter(|(run, _)| query.before.as_ref().is_none_or(|before| *run < before))
            .filter(|(_, invocation)| query.app.as_ref().is_none_or(|app| *app == invocation.queue.app))
            .filter(|(_, invocation)| {
                query.function.as_ref().is_none_or(|function| *function == invocation.queue.function)
            })
            .filter_map(|(run, invocation)| match &invocation.place {
                Place::Dead { reason, at } => Some(DeadLetter {
                    run: self.runs.get(run)?.clone(),
                    reason: reason.clone(),
                    at: *at,
                    input: self.input(run)?,
                }),
                _ => None,
            })
            .take(query.limit)
            .collect()
    }

    pub(super) fn events(&self, query: &EventQuery) -> Vec<StoredEvent> {
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.log.range((after, Bound::Excluded(query.before.unwrap_or(u64::MAX))));
        let ordered: Box<dyn Iterator<Item = _>> =
            if query.after.is_some() { Box::new(range) } else { Box::new(range.rev()) };
        let listed = |accepted: &Accepted| accepted.expired.is_none() || query.id.is_some();
        ordered
            .filter(|(_, accepted)| listed(accepted))
            .filter(|(_, accepted)| query.app.as_ref().is_none_or(|app| *app == accepted.app))
            .filter_map(|(seq, accepted)| {
                Some(StoredEvent {
                    seq: *seq,
                    app: accepted.app.clone(),
                    accepted_at: accepted.at,
                    event: accepted.event.clone()?,
                    runs: accepted.runs.clone(),
                    version: accepted.version,
                    again: accepted.again.clone(),
                    expired_at: accepted.expired.map(|expired| expired.at),
                })
            })
            .filter(|stored| query.ty.as_ref().is_none_or(|ty| ty == stored.event.ty()))
            .filter(|stored| query.id.as_ref().is_none_or(|id| id == stored.event.id()))
            .filter(|stored| {
                let correlation = stored.event.extension_str("correlationid");
                query.root.as_ref().is_none_or(|root| correlation == Some(root.as_str()))
            })
            .take(query.limit)
            .collect()
    }

    pub(super) fn record(&mut self, runs: Vec<RunRecord>, logs: Vec<LogRecord>) {
        for run in runs {
            if !self.invocations.contains_key(&run.id) {
                self.runs.insert(run.id.clone(), run);
            }
        }
        for line in logs {
            self.log_lines += 1;
            self.logs.push_back((self.log_lines, line));
        }
    }

    pub(super) fn find_runs(&self, query: &RunQuery) -> Vec<RunRecord> {
        self.runs
            .values()
            .rev()
            .filter(|run| query.app.as_ref().is_none_or(|app| *app == run.app))
            .filter(|run| query.function.as_ref().is_none_or(|function| *function == run.function))
            .filter(|run| query.state.is_none_or(|state| state == run.state))
            .filter(|run| query.id.as_ref().is_none_or(|id| *id == run.id))
            .filter(|run| query.root.as_ref().is_none_or(|root| *root == run.cause.root))
            .filter(|run| query.before.as_ref().is_none_or(|before| run.id < *before))
            .take(query.limit)
            .cloned()
            .collect()
    }

    pub(super) fn find_logs(&self, query: &LogQuery) -> Vec<(u64, LogRecord)> {
        let wanted = |(position, line): &&(u64, LogRecord)| {
            query.app.as_ref().is_none_or(|app| *app == line.app)
                && query.function.as_ref().is_none_or(|function| *function == line.function)
                && query.run.as_ref().is_none_or(|run| *run == line.run)
                && query.after.is_none_or(|after| *position > after)
        };
        if query.after.is_some() {
            return self.logs.iter().filter(wanted).take(query.limit).cloned().collect();
        }
        let mut newest: Vec<_> = self.logs.iter().rev().filter(wanted).take(query.limit).cloned().collect();
        newest.reverse();
        newest
    }

    pub(super) fn sweep(&mut self, keep: &Retention, now: Timestamp) -> u64 {
        let before = self.size();
        let older = |at: Timestamp, keep: Duration| at < now.before(keep);
        let log = &self.log;
        self.seen.retain(|_, seq| log.get(seq).is_some_and(|accepted| !older(accepted.at, keep.dedup)));
        let archived = self.sweep_archive(keep, now);
        self.entries.retain(|_, entry| entry.expires_at.is_none_or(|at| at > now));
        self.runs
            .retain(|_, run| !(is_over(run) && older(run.ended_at.unwrap_or(run.created_at), keep.runs)));
        while self.logs.front().is_some_and(|(_, line)| older(line.at, keep.logs)) {
            self.logs.pop_front();
        }
        self.sweep_over(keep);
        (before - self.size()) as u64 + archived
    }

    pub(super) fn sweep_objects(&mut self, grace: Duration, now: Timestamp) -> u64 {
        let bundle = |bytes: &[u8]| {
            let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            Some(document.get("bundle")?.as_str()?.to_owned())
        };
        let own = self.entries.iter().filter(|((space, _), _)| space.0.starts_with("sys/"));
        let needed: Vec<String> = own.filter_map(|(_, entry)| bundle(&entry.value.bytes)).collect();
        self.idle.retain(|digest, _| !needed.contains(digest));
        let idle = &mut self.idle;
        let before = self.objects.len();
        self.objects.retain(|digest, _| {
            needed.contains(digest) || now.before(grace) < *idle.entry(digest.clone()).or_insert(now)
        });
        let objects = &self.objects;
        self.idle.retain(|digest, _| objects.contains_key(digest));
        (before - objects.len()) as u64
    }

    /// The oldest go beyond bounds on number and bytes.
    fn sweep_over(&mut self, keep: &Retention) {
        let (mut count, mut all) = (0_u64, 0_u64);
        let mut own: BTreeMap<AppName, u64> = BTreeMap::new();
        let mut ended = Vec::new();
        for run in self.runs.values().filter(|run| is_over(run)) {
            let bytes = serde_json::to_vec(run).map_or(0, |body| body.len() as u64);
            count += 1;
            all += bytes;
            *own.entry(run.app.clone()).or_default() += bytes;
            ended.push((run.id.clone(), run.app.clone(), bytes));
        }
        for (run, app, bytes) in ended {
            let of_app = own.get(&app).copied().unwrap_or(0);
            let too_much = count > keep.runs_max || all > keep.runs_bytes || of_app > keep.app_runs_bytes;
            if too_much && !self.is_asked_for(&app, &run) {
                self.runs.remove(&run);
                count -= 1;
                all -= bytes;
                own.insert(app, of_app - bytes);
            }
        }
        let apps: BTreeSet<AppName> = self.logs.iter().map(|(_, line)| line.app.clone()).collect();
        for app in apps {
            let own = self.logs.iter().filter(|(_, line)| line.app == app);
            let mut own: u64 = own.map(|(_, line)| line.line.len() as u64).sum();
            self.logs.retain(|(_, line)| {
                let goes = line.app == app && own > keep.app_logs_bytes;
                own -= if goes { line.line.len() as u64 } else { 0 };
                !goes
            });
        }
        let mut all: u64 = self.logs.iter().map(|(_, line)| line.line.len() as u64).sum();
        while self.logs.len() as u64 > keep.logs_max || all > keep.logs_bytes {
            all -= self.logs.pop_front().map_or(0, |(_, line)| line.line.len() as u64);
        }
    }

    /// Whether an ended run is that of a call with a de-duplication entry, or has a wait.
    fn is_asked_for(&self, app: &AppName, run: &RunId) -> bool {
        let caused = self.log.iter().find(|(_, one)| one.event.is_none() && one.caused().any(|of| of == run));
        let waits = format!("{app}/{run}.w");
        caused.is_some_and(|(seq, _)| self.seen.values().any(|of| of == seq))
            || self.entries.keys().any(|(space, key)| *space == Space::waits() && key.starts_with(&waits))
    }

    fn size(&self) -> usize {
        self.seen.len() + self.log.len() + self.entries.len() + self.runs.len() + self.logs.len()
    }
}

fn is_over(run: &RunRecord) -> bool {
    matches!(run.state, RunState::Completed | RunState::Failed)
}
