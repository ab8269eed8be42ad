//! Putting dead letters back.

use evoke_core::id::{AppName, RunId};
use evoke_core::store::Queue;
use evoke_core::time::Timestamp;

use super::Work;
use super::tx::Tx;
use crate::number::us;
use crate::table::dead::Dead;
use crate::table::order;
use crate::table::pending::Pending;
use crate::table::runs::{DEAD, Run};
use crate::trouble::{Stop, Trouble};

/// Dead letters of an app, to be tried again.
pub(crate) struct Redrive {
    pub app: AppName,
    pub runs: Vec<RunId>,
    pub now: Timestamp,
}

impl Work for Redrive {
    type Answer = Vec<RunId>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<RunId>, Stop> {
        let mut redriven = Vec::new();
        for run in &self.runs {
            if self.redrive(tx, run)? {
                redriven.push(run.clone());
            }
        }
        Ok(redriven)
    }
}

impl Redrive {
    fn redrive(&self, tx: &mut Tx<'_>, id: &RunId) -> Result<bool, Trouble> {
        let Some(mut run) = Run::find(tx.conn, id)?.filter(|run| run.state == DEAD) else { return Ok(false) };
        if run.record()?.app != self.app {
            return Ok(false);
        }
        let Some(dead) = Dead::read(tx.conn, run.n)? else { return Err(Trouble::missing("dead", run.n)) };
        dead.delete(tx.conn)?;
        let record = run.change(|record| record.wait(self.now))?;
        run.update(tx.conn)?;
        let (n, queue, request) = (run.n, tx.queue(&Queue::of(&record))?, dead.request);
        let at = match record.key.as_deref() {
            Some(key) => order::join(tx, queue, &order::key(key), n, us(self.now))?,
            None => us(self.now),
        };
        Pending { n, queue, at, attempts: 0, token: 0, leased_at: 0, request }.insert(tx.conn)?;
        Ok(true)
    }
}
