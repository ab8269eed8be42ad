//! Events of the log, looked through for those that somebody asks for.

use evoke_core::archive::Selection;
use evoke_core::store::{EventQuery, StoreError, StoredEvent};

use crate::choose::{Bounds, choose};
use crate::{Engine, position};

/// Events read at once.
const PAGE: usize = 200;

/// Events that were chosen.
#[derive(Debug)]
pub struct Chosen {
    /// They, newest first.
    pub events: Vec<StoredEvent>,
    /// There may be more: go on before this position.
    pub next: Option<u64>,
}

impl Engine {
    /// Events that `query` and `selection` take, newest first: at most `query.limit`, of at most `looks` that are looked at.
    /// By app, type and time the log is indexed; what else is asked for is found by looking.
    pub async fn events(
        &self,
        query: EventQuery,
        selection: &Selection,
        looks: usize,
    ) -> Result<Chosen, StoreError> {
        let mut query = EventQuery { ty: selection.only_type().map(str::to_owned), ..query };
        // Where the clock was set back, times are not in order: what is left out here is checked all the same.
        let mut from = 0;
        if selection.since.is_some() || selection.until.is_some() {
            let end = position::end(&self.0).await?;
            if let Some(since) = selection.since {
                from = position::at(&self.0, since, end).await?;
            }
            if let Some(until) = selection.until {
                let until = position::at(&self.0, until, end).await?;
                query.before = Some(query.before.map_or(until, |before| before.min(until)));
            }
        }
        let bounds = Bounds { limit: query.limit, looks, page: PAGE };
        let read = |before, limit| {
            let query = EventQuery { before, limit, ..query.clone() };
            async move {
                let mut page = self.store().events(&query).await?;
                // One that is not full is the last.
                page.retain(|stored| stored.seq >= from);
                Ok(page)
            }
        };
        let takes = |stored: &StoredEvent| selection.takes(stored);
        let (events, next) = choose(bounds, query.before, read, |stored| stored.seq, takes).await?;
        Ok(Chosen { events, next })
    }
}
