//! Ending attempts: the verdict, the state writes and the emitted events, or nothing.

use evoke_core::store::{Lease, SettleError, Settled, Settlement, Verdict, Write};
use evoke_core::time::Timestamp;

use super::append::Item;
use super::tx::Tx;
use super::{Work, record, state};
use crate::number::{int, us};
use crate::table::dead::Dead;
use crate::table::pending::Pending;
use crate::table::requests;
use crate::table::runs::{self, Encoded, Run};
use crate::trouble::{Stop, Trouble};

/// A settlement, encoded on the caller's thread.
pub(crate) struct Settle {
    lease: Option<Lease>,
    verdict: Verdict,
    run: Option<Encoded>,
    writes: Vec<Write>,
    appends: Vec<Item>,
    now: Timestamp,
}

impl Settle {
    pub fn encode(settlement: Settlement, now: Timestamp) -> Self {
        let Settlement { lease, verdict, run, writes, appends } = settlement;
        let run = run.map(|mut run| {
            if lease.is_some() {
                verdict.conclude(&mut run, now);
            }
            Encoded::new(&run)
        });
        let appends = appends.iter().map(|item| Item::encode(item, now)).collect();
        Self { lease, verdict, run, writes, appends, now }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let run = self.run.as_ref().map_or(0, Encoded::size);
        run + state::size(&self.writes) + self.appends.iter().map(Item::size).sum::<usize>()
    }

    /// The row the lease is of; refuses if it is no longer held.
    fn held(&self, tx: &Tx<'_>, lease: &Lease) -> Result<Pending, Stop> {
        let stale = || SettleError::StaleLease { run: lease.run.clone() };
        Ok(Pending::held(tx.conn, &lease.run, int(lease.token))?.ok_or_else(stale)?)
    }

    /// What becomes of the invocation and of its record.
    fn conclude(&self, tx: &mut Tx<'_>, mut row: Pending) -> Result<(), Trouble> {
        match &self.verdict {
            Verdict::Complete => {
                row.delete(tx.conn)?;
                if row.request {
                    requests::delete(tx.conn, row.n)?;
                }
            }
            Verdict::Defer { until } => {
                row.wait(us(*until));
                row.update(tx.conn)?;
            }
            Verdict::Release => {
                row.attempts -= 1;
                row.wait(us(self.now));
                row.update(tx.conn)?;
            }
            Verdict::DeadLetter { reason } => {
                row.delete(tx.conn)?;
                let Pending { n, request, .. } = row;
                Dead { n, at: us(self.now), reason: reason.clone(), request }.insert(tx.conn)?;
            }
        }
        let waits = matches!(self.verdict, Verdict::Defer { .. } | Verdict::Release);
        if waits && self.run.is_none() {
            return Ok(());
        }
        let mut run = Run::read(tx.conn, row.n)?;
        match &self.run {
            Some(record) => run.replace(record),
            None => drop(run.change(|record| self.verdict.conclude(record, self.now))?),
        }
        tx.counters.ended_runs += i64::from(runs::is_ended(run.state));
        run.update(tx.conn)
    }
}

impl Work for Settle {
    type Answer = Settled;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Settled, Stop> {
        let row = self.lease.as_ref().map(|lease| self.held(tx, lease)).transpose()?;
        state::check(tx, &self.writes, self.now)?;
        match (row, &self.run) {
            (Some(row), _) => self.conclude(tx, row)?,
            (None, Some(run)) => record::upsert(tx, run)?,
            (None, None) => {}
        }
        let revisions = state::apply(tx, &self.writes)?;
        let appended = self.appends.iter().map(|item| item.run(tx)).collect::<Result<_, _>>()?;
        Ok(Settled { revisions, appended })
    }
}
