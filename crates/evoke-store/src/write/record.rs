//! Records of synchronous runs, and log lines.

use std::sync::Arc;

use evoke_core::record::LogRecord;
use evoke_core::store::Queue;

use super::Work;
use super::inbox::Inbox;
use super::tx::Tx;
use crate::number::rows;
use crate::table::logs;
use crate::table::runs::{AddNew, Encoded, Run, is_ended};
use crate::trouble::{Stop, Trouble};

/// What `record` was given, encoded on the caller's thread.
pub(crate) struct Record {
    runs: Vec<Encoded>,
    logs: Vec<LogRecord>,
    inbox: Arc<Inbox>,
}

/// Nothing; its answer says that everything before it can be read.
pub(crate) struct Flush;

impl Record {
    /// Counts as buffered in the inbox as long as it lives.
    pub fn new(runs: Vec<Encoded>, logs: Vec<LogRecord>, inbox: Arc<Inbox>) -> Self {
        inbox.buffer();
        Self { runs, logs, inbox }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let lines: usize = self.logs.iter().map(|line| line.line.len() + 64).sum();
        lines + self.runs.iter().map(Encoded::size).sum::<usize>()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.inbox.unbuffer();
    }
}

impl Work for Record {
    type Answer = ();
    const SYNCED: bool = false;

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Stop> {
        let mut new = AddNew::prepare(tx.conn)?;
        for run in &self.runs {
            put(tx, &mut new, run)?;
        }
        for line in &self.logs {
            let queue = tx.queue(&Queue::calls(line.app.clone(), line.function.clone()))?;
            tx.counters.log_lines += 1;
            logs::insert(tx.conn, tx.counters.log_lines, queue, line)?;
            tx.line(queue, 1, rows(line.line.len()));
        }
        Ok(())
    }
}

impl Work for Flush {
    type Answer = ();
    const SYNCED: bool = false;

    fn run(&self, _: &mut Tx<'_>) -> Result<(), Stop> {
        Ok(())
    }
}

/// Adds or replaces the record of a run that is in no queue; one that is in a queue is left alone.
pub(crate) fn upsert(tx: &mut Tx<'_>, record: &Encoded) -> Result<(), Trouble> {
    put(tx, &mut AddNew::prepare(tx.conn)?, record)
}

fn put(tx: &mut Tx<'_>, new: &mut AddNew<'_>, record: &Encoded) -> Result<(), Trouble> {
    // Nearly all are new.
    let (n, queue) = (tx.counters.next(), tx.queue(&record.queue)?);
    if new.add(record, n, queue)? {
        if is_ended(record.state) {
            tx.ended(queue, record.state, record.id.as_str(), rows(record.size()))?;
        }
        return Ok(());
    }
    let mut run = Run::find(tx.conn, &record.id)?.ok_or_else(|| Trouble::missing("runs", n))?;
    if run.seq != 0 && !is_ended(run.state) {
        return Ok(());
    }
    if is_ended(run.state) {
        tx.no_longer_ended(run.queue, run.state, &run.id, rows(run.body.len()));
    }
    run.replace(record);
    run.update(tx.conn)?;
    tx.count_ended(&run)
}
