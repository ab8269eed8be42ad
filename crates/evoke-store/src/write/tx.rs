//! What a piece of work sees of its transaction.

use std::collections::HashMap;

use evoke_core::store::{Queue, Space};
use rusqlite::Connection;

use crate::number::num;
use crate::table::counters::Counters;
use crate::table::queues;
use crate::trouble::Trouble;

/// A transaction under way.
pub(crate) struct Tx<'w> {
    pub conn: &'w Connection,
    pub counters: Counters,
    before: Counters,
    pub memory: &'w mut Memory,
    touched: Vec<(Space, u64)>,
}

/// What the writer remembers between transactions.
#[derive(Default)]
pub(crate) struct Memory {
    queues: HashMap<Queue, i64>,
    /// Where the sweeps of the log and of the runs go on.
    pub swept_log: i64,
    pub swept_runs: i64,
}

impl Memory {
    /// Forgets what may not be so after a rollback.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl<'w> Tx<'w> {
    pub fn new(conn: &'w Connection, counters: Counters, memory: &'w mut Memory) -> Self {
        Self { conn, counters, before: counters, memory, touched: Vec::new() }
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

    /// Notes that a space was written.
    pub fn touch(&mut self, space: &Space, revision: i64) {
        match self.touched.iter_mut().find(|(touched, _)| touched == space) {
            Some((_, newest)) => *newest = num(revision),
            None => self.touched.push((space.clone(), num(revision))),
        }
    }

    /// Writes the counters, if they changed.
    pub fn end(self) -> Result<(Counters, Vec<(Space, u64)>), Trouble> {
        if self.counters != self.before {
            self.counters.update(self.conn)?;
        }
        Ok((self.counters, self.touched))
    }
}
