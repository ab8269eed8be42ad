//! Deleting what nobody asks to keep, a little at a time.

use evoke_core::store::Retention;
use evoke_core::time::Timestamp;

mod archive;
mod queues;

use super::Work;
use super::shrink::shrink;
use super::tx::Tx;
use crate::limit::SWEEP_ROWS;
use crate::number::{int, rows, us};
use crate::table::log::{Old, Which};
use crate::table::runs::{self, Run};
use crate::table::{entries, logs};
use crate::trouble::{Stop, Trouble};

/// One round.
pub(crate) struct Sweep {
    pub keep: Retention,
    pub now: Timestamp,
}

impl Work for Sweep {
    type Answer = u64;
    const SYNCED: bool = false;

    fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Stop> {
        // De-duplication entries are not looked for one by one: what is older than this counts as unknown, and the
        // row goes with its position in the log.
        let forgotten = us(self.now.before(self.keep.dedup));
        tx.counters.forgotten_before = tx.counters.forgotten_before.max(forgotten);
        let entries = entries::delete_expired(tx.conn, self.now, SWEEP_ROWS)?;
        let gone = entries + self.calls(tx)? + self.archive(tx)? + self.runs(tx)? + self.logs(tx)?;
        Self::queues(tx)?;
        tx.memory.swept_bytes.retain(|(app, _), _| self.keep.archives.contains_key(app));
        // Only where nothing went, so that one call does not do both.
        let given_back = if gone == 0 { shrink(tx.conn)? } else { 0 };
        Ok((gone + given_back) as u64)
    }
}

impl Sweep {
    /// The places of calls in the log.
    fn calls(&self, tx: &mut Tx<'_>) -> Result<usize, Trouble> {
        let horizon = us(self.now.before(self.keep.events.max(self.keep.dedup)));
        let old = Old::after(tx.conn, Which::Calls, tx.memory.swept_log, SWEEP_ROWS)?;
        let through = old.len() < SWEEP_ROWS || old.iter().any(|row| row.accepted_at >= horizon);
        // What is still needed is passed over, and looked at again in the next round, which begins at the front.
        tx.memory.swept_log = if through { 0 } else { old.last().map_or(0, |row| row.seq) };
        let mut gone = 0;
        for row in old.iter().take_while(|row| row.accepted_at < horizon) {
            if archive::open_runs(tx, row)?.is_empty() {
                row.delete(tx.conn)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn runs(&self, tx: &mut Tx<'_>) -> Result<usize, Trouble> {
        let horizon = us(self.now.before(self.keep.runs));
        let mut over = tx.counters.ended_runs - int(self.keep.runs_max);
        let old = runs::Old::after(tx.conn, tx.memory.swept_runs, rows(SWEEP_ROWS))?;
        let mut gone = 0;
        let mut through = old.len() < SWEEP_ROWS;
        for row in &old {
            if row.created_at >= horizon && over <= 0 {
                through = true;
                break;
            }
            let aged = row.ended_at.is_some_and(|at| at < horizon);
            if runs::is_ended(row.state) && (aged || over > 0) {
                Run::delete(tx.conn, row.n)?;
                tx.counters.ended_runs -= 1;
                over -= 1;
                gone += 1;
            }
        }
        tx.memory.swept_runs = if through { 0 } else { old.last().map_or(0, |row| row.n) };
        Ok(gone)
    }

    fn logs(&self, tx: &Tx<'_>) -> Result<usize, Trouble> {
        let too_many = tx.counters.log_lines - int(self.keep.logs_max);
        logs::delete_oldest(tx.conn, too_many, us(self.now.before(self.keep.logs)), rows(SWEEP_ROWS))
    }
}
