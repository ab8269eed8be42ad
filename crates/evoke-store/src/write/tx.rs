//! What a piece of work sees of its transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use evoke_core::id::AppName;
use evoke_core::manifest::TypePattern;
use evoke_core::store::{Queue, Space};
use rusqlite::Connection;

use crate::number::{num, rows};
use crate::table::counters::Counters;
use crate::table::runs::old::Old;
use crate::table::runs::{Run, is_ended};
use crate::table::usage::{self, Usage};
use crate::table::{archive, queues, slices};
use crate::trouble::Trouble;

/// A transaction under way.
pub(crate) struct Tx<'w> {
    pub conn: &'w Connection,
    pub counters: Counters,
    before: Counters,
    pub memory: &'w mut Memory,
    touched: Vec<(Space, u64)>,
    /// Events of each type that came and went, and their bytes.
    archived: BTreeMap<(String, String), (i64, i64)>,
    /// Ended runs and lines of each queue that came and went.
    used: BTreeMap<i64, Usage>,
    /// Slices that ended runs of a queue and a state have left.
    left: BTreeSet<(i64, i64, String)>,
}

/// What the writer remembers between transactions.
#[derive(Default)]
pub(crate) struct Memory {
    queues: HashMap<Queue, i64>,
    /// The slice in which a run of a queue and a state ended last: it is noted.
    slices: BTreeMap<(i64, i64), String>,
    /// Where the sweeps go on: of the places of calls in the log, of the events by their types and beyond bounds on bytes, of
    /// the runs and of the queues.
    pub swept_log: i64,
    pub swept_types: Place,
    pub swept_bytes: HashMap<(AppName, Option<TypePattern>), i64>,
    pub swept_runs: i64,
    pub swept_queues: i64,
    /// Where taking away what an app has goes on in the log.
    pub erased: Option<(AppName, i64)>,
}

/// A position in the log, among the events of a row of `archive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub of: i64,
    pub after: i64,
}

impl Memory {
    /// Forgets what may not be so after a rollback.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// A queue is gone.
    pub fn forget_queue(&mut self, id: i64) {
        self.queues.retain(|_, known| *known != id);
    }

    /// The queues of an app are gone.
    pub fn forget_queues(&mut self, app: &AppName) {
        self.queues.retain(|queue, _| queue.app != *app);
    }
}

impl<'w> Tx<'w> {
    pub fn new(conn: &'w Connection, counters: Counters, memory: &'w mut Memory) -> Self {
        let (touched, archived, used, left) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { conn, counters, before: counters, memory, touched, archived, used, left }
    }

    /// A queue's number.
    pub fn queue(&mut self, queue: &Queue) -> Result<i64, Trouble> {
        if let Some(id) = self.memory.queues.get(queue) {
            return Ok(*id);
        }
        let id = queues::intern(self.conn, queue)?;
        self.memory.queues.insert(queue.clone(), id);
        Ok(id)
    }

    /// Notes that events of a type came (or went, below 0), with their bytes.
    pub fn archive(&mut self, app: &str, ty: &str, events: i64, bytes: i64) {
        let held = self.archived.entry((app.to_owned(), ty.to_owned())).or_default();
        held.0 += events;
        held.1 += bytes;
    }

    /// Bytes of the events of an app that came in this transaction (or went, below 0), of the types that `counts` names.
    pub fn archived(&self, app: &str, counts: impl Fn(&str) -> bool) -> i64 {
        let of_app = self.archived.iter().filter(|((of, ty), _)| of == app && counts(ty));
        of_app.map(|(_, (_, bytes))| bytes).sum()
    }

    /// Notes that a run has ended, in a state that is an end, with the bytes of its body.
    pub fn ended(&mut self, queue: i64, state: i64, id: &str, bytes: i64) -> Result<(), Trouble> {
        self.count_runs(queue, 1, bytes);
        let slice = slices::of(id);
        if self.memory.slices.get(&(queue, state)).is_none_or(|last| last != slice) {
            slices::add(self.conn, queue, state, slice)?;
            self.memory.slices.insert((queue, state), slice.to_owned());
        }
        Ok(())
    }

    /// Notes that a run has ended, if it has.
    pub fn count_ended(&mut self, run: &Run) -> Result<(), Trouble> {
        if is_ended(run.state) {
            self.ended(run.queue, run.state, &run.id, rows(run.body.len()))?;
        }
        Ok(())
    }

    /// Notes that a run that had ended goes, or changes.
    pub fn no_longer_ended(&mut self, queue: i64, state: i64, id: &str, bytes: i64) {
        self.count_runs(queue, -1, -bytes);
        self.left.insert((queue, state, slices::of(id).to_owned()));
    }

    /// Deletes a run.
    pub fn delete_run(&mut self, old: &Old) -> Result<(), Trouble> {
        Run::delete(self.conn, old.n)?;
        if is_ended(old.state) {
            self.no_longer_ended(old.queue, old.state, &old.id, old.bytes);
        }
        Ok(())
    }

    fn count_runs(&mut self, queue: i64, runs: i64, run_bytes: i64) {
        self.counters.ended_runs += runs;
        let used = self.used.entry(queue).or_default();
        *used = used.and(Usage { runs, run_bytes, ..Usage::default() });
    }

    /// Notes that lines of a queue came or went, with their bytes.
    pub fn line(&mut self, queue: i64, lines: i64, line_bytes: i64) {
        let used = self.used.entry(queue).or_default();
        *used = used.and(Usage { lines, line_bytes, ..Usage::default() });
    }

    /// What each queue has now.
    pub fn usage(&self) -> Result<BTreeMap<i64, Usage>, Trouble> {
        let mut all = usage::all(self.conn)?;
        for (queue, more) in &self.used {
            let one = all.entry(*queue).or_default();
            *one = one.and(*more);
        }
        Ok(all)
    }

    /// Notes that a space was written.
    pub fn touch(&mut self, space: &Space, revision: i64) {
        match self.touched.iter_mut().find(|(touched, _)| touched == space) {
            Some((_, newest)) => *newest = num(revision),
            None => self.touched.push((space.clone(), num(revision))),
        }
    }

    /// Writes what is counted, where it changed.
    pub fn end(self) -> Result<(Counters, Vec<(Space, u64)>), Trouble> {
        for ((app, ty), (events, bytes)) in &self.archived {
            if (*events, *bytes) != (0, 0) {
                archive::add(self.conn, app, ty, *events, *bytes)?;
            }
        }
        for (queue, more) in &self.used {
            if *more != Usage::default() {
                usage::add(self.conn, *queue, *more)?;
            }
        }
        for (queue, state, slice) in &self.left {
            if slices::forget_empty(self.conn, *queue, *state, slice)? {
                self.memory.slices.remove(&(*queue, *state));
            }
        }
        if self.counters != self.before {
            self.counters.update(self.conn)?;
        }
        Ok((self.counters, self.touched))
    }
}
