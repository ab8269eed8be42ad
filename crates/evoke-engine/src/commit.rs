//! What the platform writes of itself and the events that tell of it, in one transaction; who has work by that is woken.

use evoke_core::store::{Append, SettleError, Settled, Settlement, Verdict, Write};
use evoke_core::time::Timestamp;

use crate::engine::Inner;
use crate::ingest::queues_of;

/// Commits them. Whoever made `appends` still holds what kept subscriptions as they were meanwhile (`Inner::accepting`).
pub(crate) async fn commit(
    inner: &Inner,
    writes: Vec<Write>,
    appends: Vec<Append>,
    now: Timestamp,
) -> Result<Settled, SettleError> {
    let queues = queues_of(&appends);
    let waits = inner.waits.before(&writes, &appends);
    let (lease, run, verdict) = (None, None, Verdict::Complete);
    let settlement = Settlement { lease, verdict, run, others: Vec::new(), writes, appends };
    let settled = inner.store.settle(settlement, now).await;
    inner.waits.after(waits, settled.as_ref().ok().map(|settled| settled.appended.as_slice()));
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(queues, now);
    settled
}
