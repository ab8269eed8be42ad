//! Events of the log, looked through for those that somebody asks for.

use evoke_core::archive::Selection;
use evoke_core::store::{EventQuery, StoreError, StoredEvent};

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
        let (limit, store) = (query.limit, self.store());
        let mut query = EventQuery { ty: selection.only_type().map(str::to_owned), ..query };
        let end = position::end(&self.0).await?;
        // Where the clock was set back, times are not in order: what is left out here is checked all the same.
        let from = match selection.since {
            Some(since) => position::at(&self.0, since, end).await?,
            None => 0,
        };
        if let Some(until) = selection.until {
            let until = position::at(&self.0, until, end).await?;
            query.before = Some(query.before.map_or(until, |before| before.min(until)));
        }
        let mut chosen = Chosen { events: Vec::new(), next: None };
        let (mut looked, mut last) = (0, query.before);
        loop {
            query.limit = PAGE.min(looks - looked);
            let page = store.events(&query).await?;
            looked += page.len();
            let is_last = page.len() < query.limit;
            for stored in page {
                if stored.seq < from {
                    return Ok(chosen);
                }
                if chosen.events.len() == limit {
                    chosen.next = last;
                    return Ok(chosen);
                }
                last = Some(stored.seq);
                if selection.takes(&stored) {
                    chosen.events.push(stored);
                }
            }
            if is_last {
                return Ok(chosen);
            }
            if looked >= looks {
                chosen.next = last;
                return Ok(chosen);
            }
            query.before = last;
            tokio::task::yield_now().await;
        }
    }
}
