//! Taking away all that an app has, a little at a time. After each transaction the rest makes sense: first go the runs, each
//! with what it waits in, then what they were caused by, at last the names of their queues.

use evoke_core::id::AppName;
use evoke_core::store::Space;

use super::Work;
use super::tx::Tx;
use crate::limit::{SWEEP_LOOKS, SWEEP_ROWS};
use crate::number::rows;
use crate::table::dead::Dead;
use crate::table::pending::Pending;
use crate::table::runs::old::Old;
use crate::table::{entries, log, logs, queues, requests};
use crate::trouble::{Stop, Trouble};

/// One round.
pub(crate) struct Erase(pub AppName);

impl Work for Erase {
    /// Whether there may be more.
    type Answer = bool;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Stop> {
        let queues = queues::matching(tx.conn, Some(&self.0), None)?;
        let more = self.order(tx, &queues)?
            || self.runs(tx, &queues)?
            || self.lines(tx, &queues)?
            || self.log(tx)?
            || self.state(tx)?;
        if !more {
            for queue in queues {
                queues::delete(tx.conn, queue)?;
            }
            tx.memory.forget_queues(&self.0);
            tx.memory.erased = None;
        }
        Ok(more)
    }
}

impl Erase {
    /// Nobody waits behind anybody any more.
    fn order(&self, tx: &Tx<'_>, queues: &[i64]) -> Result<bool, Trouble> {
        let order = Space::order().0;
        for queue in queues {
            if entries::delete_keys(tx.conn, &order, &format!("{queue}/"), rows(SWEEP_ROWS))? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn runs(&self, tx: &mut Tx<'_>, queues: &[i64]) -> Result<bool, Trouble> {
        let mut budget = SWEEP_ROWS;
        for queue in queues {
            for run in Old::of_queue(tx.conn, *queue, rows(budget))? {
                Pending::delete_of(tx.conn, run.n)?;
                Dead::delete_of(tx.conn, run.n)?;
                requests::delete(tx.conn, run.n)?;
                tx.delete_run(&run)?;
                budget -= 1;
            }
            if budget == 0 {
                break;
            }
        }
        Ok(budget < SWEEP_ROWS)
    }

    fn lines(&self, tx: &mut Tx<'_>, queues: &[i64]) -> Result<bool, Trouble> {
        for queue in queues {
            let lines = logs::oldest(tx.conn, *queue, rows(SWEEP_ROWS))?;
            for (position, bytes) in &lines {
                logs::blank(tx.conn, *position)?;
                tx.line(*queue, -1, -bytes);
            }
            if !lines.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The log has no order by app: all of it is looked at, once.
    fn log(&self, tx: &mut Tx<'_>) -> Result<bool, Trouble> {
        let begun = tx.memory.erased.take().filter(|(app, _)| *app == self.0);
        let after = begun.map_or(0, |(_, after)| after);
        let looked = log::Place::after(tx.conn, after, rows(SWEEP_LOOKS))?;
        let Some(last) = looked.last().map(|row| row.seq) else { return Ok(false) };
        let mut budget = SWEEP_ROWS;
        for row in looked.iter().filter(|row| row.app == self.0.as_str()) {
            row.delete(tx.conn)?;
            if let Some(ty) = &row.ty {
                tx.archive(&row.app, ty, -1, -row.bytes);
            }
            budget -= 1;
            if budget == 0 {
                tx.memory.erased = Some((self.0.clone(), row.seq));
                return Ok(true);
            }
        }
        tx.memory.erased = Some((self.0.clone(), last));
        Ok(true)
    }

    fn state(&self, tx: &Tx<'_>) -> Result<bool, Trouble> {
        Ok(entries::delete_spaces(tx.conn, &format!("app/{}/", self.0), rows(SWEEP_ROWS))? > 0)
    }
}
