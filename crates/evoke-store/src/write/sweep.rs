//! Deleting what nobody asks to keep, a little at a time.

use std::collections::BTreeMap;

use evoke_core::store::Retention;
use evoke_core::time::Timestamp;

mod archive;
mod bytes;
mod queues;

use super::Work;
use super::shrink::shrink;
use super::tx::Tx;
use crate::limit::SWEEP_ROWS;
use crate::number::{int, rows, us};
use crate::table::log::{Old, Which};
use crate::table::runs;
use crate::table::usage::Usage;
use crate::table::{entries, logs};
use crate::trouble::{Stop, Trouble};

/// What each queue has.
type AllUsage = BTreeMap<i64, Usage>;

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
        let usage = tx.usage()?;
        let gone = entries + self.calls(tx)? + self.archive(tx)?;
        let gone = gone + self.runs(tx, &usage)? + self.logs(tx, &usage)?;
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

    fn runs(&self, tx: &mut Tx<'_>, usage: &AllUsage) -> Result<usize, Trouble> {
        let mut gone = self.runs_of_apps(tx, usage)?;
        let horizon = us(self.now.before(self.keep.runs));
        let bytes: i64 = usage.values().map(|usage| usage.run_bytes).sum();
        let mut over = tx.counters.ended_runs - int(self.keep.runs_max);
        // What has just gone is counted in the next call.
        let mut over_bytes = if gone == 0 { bytes - int(self.keep.runs_bytes) } else { 0 };
        let old = runs::old::Old::after(tx.conn, tx.memory.swept_runs, rows(SWEEP_ROWS))?;
        let mut through = old.len() < SWEEP_ROWS;
        for row in &old {
            let too_much = over > 0 || over_bytes > 0;
            if row.created_at >= horizon && !too_much {
                through = true;
                break;
            }
            if !runs::is_ended(row.state) {
                continue;
            }
            let aged = row.ended_at.is_some_and(|at| at < horizon);
            if aged || too_much && !runs::old::is_needed(tx.conn, row.n, tx.counters.forgotten_before)? {
                tx.delete_run(row)?;
                over -= 1;
                over_bytes -= row.bytes;
                gone += 1;
            }
        }
        tx.memory.swept_runs = if through { 0 } else { old.last().map_or(0, |row| row.n) };
        Ok(gone)
    }

    fn logs(&self, tx: &mut Tx<'_>, usage: &AllUsage) -> Result<usize, Trouble> {
        let mut gone = self.lines_of_apps(tx, usage)?;
        let bytes: i64 = usage.values().map(|usage| usage.line_bytes).sum();
        let over = logs::Over {
            up_to: tx.counters.log_lines - int(self.keep.logs_max),
            before: us(self.now.before(self.keep.logs)),
            bytes: if gone == 0 { bytes - int(self.keep.logs_bytes) } else { 0 },
        };
        for (queue, (lines, bytes)) in logs::delete_oldest(tx.conn, over, rows(SWEEP_ROWS))? {
            if queue != logs::BLANK {
                tx.line(queue, -lines, -bytes);
            }
            gone += usize::try_from(lines).unwrap_or(0);
        }
        Ok(gone)
    }
}
