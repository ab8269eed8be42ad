//! Why a delivery that is due is not attempted.

use evoke_core::id::RunId;
use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::{Queue, RunQuery, StoreError};

use crate::engine::Inner;

/// Runs that are looked through for an earlier one of the same key, in each of the two states it can be in.
const LOOKS: usize = 1_000;

/// What a delivery waits for, beside its turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Hold {
    /// The subscription is paused.
    Paused,
    /// An earlier event of the same key has to be done first.
    Behind {
        /// The key.
        key: String,
        /// The run that is before it.
        run: RunId,
    },
}

/// What holds up a delivery that is queued.
pub(super) async fn of(inner: &Inner, record: &RunRecord) -> Result<Option<Hold>, StoreError> {
    let queue = Queue::of(record);
    if inner.pauses.contains(&queue) {
        return Ok(Some(Hold::Paused));
    }
    let Some(key) = &record.key else { return Ok(None) };
    for state in [RunState::Running, RunState::Queued] {
        let query = RunQuery {
            app: Some(record.app.clone()),
            function: Some(record.function.clone()),
            state: Some(state),
            // What runs has had its turn before; of what is queued the ids tell, to the millisecond.
            before: (state == RunState::Queued).then(|| record.id.clone()),
            limit: LOOKS,
            ..RunQuery::default()
        };
        let earlier = inner.store.runs(&query).await?;
        let before =
            |run: &&RunRecord| run.key.as_ref() == Some(key) && run.subscription == record.subscription;
        if let Some(run) = earlier.iter().find(before) {
            return Ok(Some(Hold::Behind { key: key.clone(), run: run.id.clone() }));
        }
    }
    Ok(None)
}
