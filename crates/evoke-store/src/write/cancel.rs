//! Ending invocations before their time.

use evoke_core::id::{AppName, RunId};
use evoke_core::store::{Appended, Cancellation};
use evoke_core::time::Timestamp;

use super::Work;
use super::append::Item;
use super::tx::Tx;
use crate::number::time;
use crate::table::pending::Pending;
use crate::table::runs::Run;
use crate::table::{order, requests};
use crate::trouble::Stop;

/// A cancellation, encoded on the caller's thread.
pub(crate) struct Cancel {
    app: AppName,
    run: RunId,
    reason: String,
    appends: Vec<Item>,
    now: Timestamp,
}

impl Cancel {
    pub fn encode(cancellation: Cancellation, now: Timestamp) -> Self {
        let Cancellation { app, run, reason, appends } = cancellation;
        let appends = appends.iter().map(|item| Item::encode(item, now)).collect();
        Self { app, run, reason, appends, now }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.reason.len() + self.appends.iter().map(Item::size).sum::<usize>()
    }
}

impl Work for Cancel {
    type Answer = Option<Vec<Appended>>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Stop> {
        let Some(mut run) = Run::find(tx.conn, &self.run)? else { return Ok(None) };
        let Some(row) = Pending::read(tx.conn, run.n)? else { return Ok(None) };
        if run.record()?.app != self.app {
            return Ok(None);
        }
        row.delete(tx.conn)?;
        if row.request {
            requests::delete(tx.conn, row.n)?;
        }
        let open = (row.leased_at > 0)
            .then(|| (u32::try_from(row.attempts).unwrap_or(u32::MAX), time(row.leased_at)));
        let record = run.change(|record| record.cancel(&self.reason, open, row.token > 0, self.now))?;
        if let Some(key) = record.key.as_deref() {
            order::leave(tx, row.queue, &order::key(key), row.n)?;
        }
        tx.count_ended(&run)?;
        run.update(tx.conn)?;
        Ok(Some(self.appends.iter().map(|item| item.run(tx)).collect::<Result<_, _>>()?))
    }
}
