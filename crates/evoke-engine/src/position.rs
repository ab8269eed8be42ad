//! Positions of the log, by time.

use evoke_core::store::{EventQuery, StoreError};
use evoke_core::time::Timestamp;

use crate::engine::Inner;

/// The position after the last event.
pub(crate) async fn end(inner: &Inner) -> Result<u64, StoreError> {
    let query = EventQuery { limit: 1, ..EventQuery::default() };
    Ok(inner.store.events(&query).await?.first().map_or(1, |last| last.seq + 1))
}

/// The first position whose event was accepted at `time` or later; `end` if there is none. The log is in the order in which events
/// were accepted, so it is halved until it is found; where the clock was set back, times are not in order, and it is one of
/// the places that qualify.
pub(crate) async fn at(inner: &Inner, time: Timestamp, end: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (1, end);
    while low < high {
        let middle = low + (high - low) / 2;
        // The nearest event from there on, as positions are also those of other things.
        let query =
            EventQuery { after: Some(middle - 1), before: Some(high), limit: 1, ..EventQuery::default() };
        match inner.store.events(&query).await?.first() {
            Some(stored) if stored.accepted_at < time => low = stored.seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
