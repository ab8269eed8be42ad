//! Letting dead letters go.

use evoke_core::id::{AppName, RunId};
use evoke_core::time::Timestamp;

use super::Work;
use super::tx::Tx;
use crate::table::dead::Dead;
use crate::table::requests;
use crate::table::runs::{DEAD, Run};
use crate::trouble::{Stop, Trouble};

/// Dead letters of an app, never to be tried again.
pub(crate) struct Purge {
    pub app: AppName,
    pub runs: Vec<RunId>,
    pub now: Timestamp,
}

impl Work for Purge {
    type Answer = Vec<RunId>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<RunId>, Stop> {
        let mut purged = Vec::new();
        for run in &self.runs {
            if self.purge(tx, run)? {
                purged.push(run.clone());
            }
        }
        Ok(purged)
    }
}

impl Purge {
    fn purge(&self, tx: &mut Tx<'_>, id: &RunId) -> Result<bool, Trouble> {
        let Some(mut run) = Run::find(tx.conn, id)?.filter(|run| run.state == DEAD) else { return Ok(false) };
        if run.record()?.app != self.app {
            return Ok(false);
        }
        let Some(dead) = Dead::read(tx.conn, run.n)? else { return Err(Trouble::missing("dead", run.n)) };
        dead.delete(tx.conn)?;
        if dead.request {
            requests::delete(tx.conn, run.n)?;
        }
        run.change(|record| record.purge(self.now))?;
        run.update(tx.conn)?;
        tx.count_ended(&run)?;
        Ok(true)
    }
}
