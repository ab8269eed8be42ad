//! Ending attempts: the verdict, the state writes and the emitted events, or nothing.

use evoke_core::store::{Conclusion, Lease, SettleError, Settled, Settlement, Verdict, Write};
use evoke_core::time::Timestamp;

use super::append::Item;
use super::tx::Tx;
use super::{Work, record, state};
use crate::number::{int, us};
use crate::table::dead::Dead;
use crate::table::pending::Pending;
use crate::table::runs::{Encoded, Run};
use crate::table::{order, requests};
use crate::trouble::{Stop, Trouble};

/// A settlement, encoded on the caller's thread.
pub(crate) struct Settle {
    /// Of a synchronous call: its record.
    call: Option<Encoded>,
    /// Of leased invocations: what becomes of each.
    ends: Vec<End>,
    writes: Vec<Write>,
    appends: Vec<Item>,
    now: Timestamp,
}

/// What becomes of one invocation.
struct End {
    lease: Lease,
    verdict: Verdict,
    run: Option<Encoded>,
}

impl Settle {
    pub fn encode(settlement: Settlement, now: Timestamp) -> Self {
        let Settlement { lease, verdict, run, others, writes, appends } = settlement;
        let appends = appends.iter().map(|item| Item::encode(item, now)).collect();
        let (call, first) = match lease {
            Some(lease) => (None, Some(Conclusion { lease, verdict, run })),
            None => (run.as_ref().map(Encoded::new), None),
        };
        let ends = first.into_iter().chain(others).map(|one| End::encode(one, now)).collect();
        Self { call, ends, writes, appends, now }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let runs = self.call.iter().chain(self.ends.iter().filter_map(|end| end.run.as_ref()));
        let runs: usize = runs.map(Encoded::size).sum();
        runs + state::size(&self.writes) + self.appends.iter().map(Item::size).sum::<usize>()
    }
}

impl End {
    fn encode(Conclusion { lease, verdict, run }: Conclusion, now: Timestamp) -> Self {
        let run = run.map(|mut run| {
            verdict.conclude(&mut run, now);
            Encoded::new(&run)
        });
        Self { lease, verdict, run }
    }

    /// The row the lease is of; refuses if it is no longer held.
    fn held(&self, tx: &Tx<'_>) -> Result<Pending, Stop> {
        let stale = || SettleError::StaleLease { run: self.lease.run.clone() };
        Ok(Pending::held(tx.conn, &self.lease.run, int(self.lease.token))?.ok_or_else(stale)?)
    }

    /// What becomes of the invocation and of its record.
    fn conclude(&self, tx: &mut Tx<'_>, mut row: Pending, now: Timestamp) -> Result<(), Trouble> {
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
                row.wait(us(now));
                row.update(tx.conn)?;
            }
            Verdict::DeadLetter { reason } => {
                row.delete(tx.conn)?;
                let Pending { n, request, .. } = row;
                Dead { n, at: us(now), reason: reason.clone(), request }.insert(tx.conn)?;
            }
        }
        let waits = matches!(self.verdict, Verdict::Defer { .. } | Verdict::Release);
        if waits && self.run.is_none() {
            return Ok(());
        }
        let mut run = Run::read(tx.conn, row.n)?;
        let key = match &self.run {
            Some(record) => {
                run.replace(record);
                record.key
            }
            None => run.change(|record| self.verdict.conclude(record, now))?.key.as_deref().map(order::key),
        };
        if let Some(key) = key.filter(|_| !waits) {
            order::leave(tx, row.queue, &key, row.n)?;
        }
        tx.count_ended(&run)?;
        run.update(tx.conn)
    }
}

impl Work for Settle {
    type Answer = Settled;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Settled, Stop> {
        let held: Vec<Pending> = self.ends.iter().map(|end| end.held(tx)).collect::<Result<_, _>>()?;
        state::check(tx, &self.writes, self.now)?;
        for (end, row) in self.ends.iter().zip(held) {
            end.conclude(tx, row, self.now)?;
        }
        if let Some(run) = &self.call {
            record::upsert(tx, run)?;
        }
        let revisions = state::apply(tx, &self.writes)?;
        let appended = self.appends.iter().map(|item| item.run(tx)).collect::<Result<_, _>>()?;
        Ok(Settled { revisions, appended })
    }
}
