//! Queues that nothing is in any more: their names go.

use super::Sweep;
use crate::limit::SWEEP_QUEUES;
use crate::number::rows;
use crate::table::queues;
use crate::trouble::Trouble;
use crate::write::tx::Tx;

impl Sweep {
    /// Looks at a few, and goes on with the next ones in the next call. They are nothing that anybody sees, and are not counted.
    pub(super) fn queues(tx: &mut Tx<'_>) -> Result<(), Trouble> {
        let looked = queues::after(tx.conn, tx.memory.swept_queues, rows(SWEEP_QUEUES))?;
        for id in &looked {
            if !queues::is_used(tx.conn, *id)? {
                queues::delete(tx.conn, *id)?;
                tx.memory.forget_queue(*id);
            }
        }
        tx.memory.swept_queues =
            if looked.len() < SWEEP_QUEUES { 0 } else { looked.last().copied().unwrap_or(0) };
        Ok(())
    }
}
