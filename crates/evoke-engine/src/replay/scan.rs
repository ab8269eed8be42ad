//! Looking through the log: what a replay would take.

use evoke_core::id::AppName;
use evoke_core::store::{EventQuery, StoreError, StoredEvent};

use super::page::query;
use super::sieve::Sieve;
use super::{Order, Preview, Take};
use crate::engine::Inner;
use crate::explain::find;

/// Events looked at for one preview.
const EVENTS_MAX: u64 = 20_000;
/// Of those, read at once.
const PAGE: usize = 200;
/// How often filters may use up what those of one publish may take, beyond once a page.
const PORTIONS_MAX: usize = 100;

/// The oldest event of an app that is kept.
pub(super) async fn oldest(inner: &Inner, app: &AppName) -> Result<Option<StoredEvent>, StoreError> {
    let query = EventQuery { app: Some(app.clone()), after: Some(0), limit: 1, ..EventQuery::default() };
    Ok(inner.store.events(&query).await?.pop())
}

/// What would be delivered, as far as it is looked at.
pub(super) async fn preview(
    inner: &Inner,
    app: &AppName,
    order: &Order,
    take: &Take,
) -> Result<Preview, StoreError> {
    let mut preview = Preview {
        seen: 0,
        archive_from: take.archive_from,
        count: 0,
        bytes: 0,
        first: None,
        last: None,
        next: None,
    };
    let Some(deployment) = inner.directory.snapshot().apps.get(app).map(|app| app.deployment.clone()) else {
        return Ok(preview);
    };
    let Some(on) = find(&deployment.manifest, &order.function, &order.subscription) else {
        return Ok(preview);
    };
    let mut after = take.from.saturating_sub(1);
    let mut portions = 0;
    loop {
        let query = query(app, on, take, (after, PAGE));
        let page = inner.store.events(&query).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map_or(after, |last| last.seq);
        let mut sieve = Sieve::new(inner, on, take);
        for stored in page {
            let event = &stored.event;
            let taken = loop {
                match sieve.takes(event).await {
                    Some(taken) => break taken,
                    None if portions < PORTIONS_MAX => {
                        portions += 1;
                        sieve = Sieve::new(inner, on, take);
                        tokio::task::yield_now().await;
                    }
                    None => {
                        preview.next = Some(stored.seq);
                        return Ok(preview);
                    }
                }
            };
            preview.seen += 1;
            if taken {
                preview.count += 1;
                preview.bytes += event.json_bytes();
                preview.first.get_or_insert_with(|| stored.clone());
                preview.last = Some(stored);
            }
        }
        if is_last {
            return Ok(preview);
        }
        if preview.seen >= EVENTS_MAX {
            preview.next = Some(after + 1);
            return Ok(preview);
        }
        tokio::task::yield_now().await;
    }
}
