//! Taking invocations, and keeping them.

use evoke_core::id::RunId;
use evoke_core::record::AttemptRecord;
use evoke_core::store::{Lease, Leased, Queue};
use evoke_core::time::Timestamp;

use super::Work;
use super::tx::Tx;
use crate::input::Input;
use crate::number::{num, rows, time, us};
use crate::table::pending::Pending;
use crate::table::runs::Run;
use crate::trouble::{Stop, Trouble};

/// Leases up to `max` of a queue.
pub(crate) struct Take {
    pub queue: Queue,
    pub max: usize,
    pub now: Timestamp,
    pub until: Timestamp,
}

/// Moves the end of a lease.
pub(crate) struct Extend {
    pub lease: Lease,
    pub until: Timestamp,
}

/// A lease whose record and input are still to be decoded, on the caller's thread.
pub(crate) struct Taken {
    row: Pending,
    run: Run,
    input: Input,
}

impl Work for Take {
    type Answer = Vec<Taken>;
    const SYNCED: bool = false;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Taken>, Stop> {
        let queue = tx.queue(&self.queue)?;
        let available = Pending::available(tx.conn, queue, us(self.now), rows(self.max))?;
        available.into_iter().map(|row| self.take(tx, row).map_err(Stop::from)).collect()
    }
}

impl Take {
    fn take(&self, tx: &mut Tx<'_>, mut row: Pending) -> Result<Taken, Trouble> {
        let mut run = Run::read(tx.conn, row.n)?;
        if row.leased_at > 0 {
            let number = u32::try_from(row.attempts).unwrap_or(u32::MAX);
            let lost = AttemptRecord::lost(number, time(row.leased_at), self.now);
            let state = run.state;
            run.change(|record| record.run_again(Some(lost)))?;
            run.state = state;
            run.update(tx.conn)?;
        }
        row.token = tx.counters.next();
        row.attempts += 1;
        row.at = us(self.until);
        row.leased_at = us(self.now);
        row.update(tx.conn)?;
        let input = Input::read(tx.conn, row.request, row.n, run.seq)?;
        Ok(Taken { row, run, input })
    }
}

impl Taken {
    pub fn decode(self) -> Result<Leased, Trouble> {
        let Self { row, run, input } = self;
        let mut record = run.record()?;
        record.run_again(None);
        Ok(Leased {
            lease: Lease { run: RunId::from_text(run.id), token: num(row.token) },
            run: record,
            attempt: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            input: input.decode(row.n)?,
        })
    }
}

impl Work for Extend {
    type Answer = bool;
    const SYNCED: bool = false;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Stop> {
        let held = Pending::held(tx.conn, &self.lease.run, crate::number::int(self.lease.token))?;
        let Some(mut row) = held else { return Ok(false) };
        row.at = us(self.until);
        row.update(tx.conn)?;
        Ok(true)
    }
}
