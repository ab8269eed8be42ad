//! What a removal does after it has begun. Each step can be made again: after a restart all of them are.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::store::{Entry, Expect, ListQuery, SettleError, Space, StoreError, Write};

use super::{Document, Life};
use crate::commit::commit;
use crate::deploy::read_json;
use crate::engine::{Inner, StartError};
use crate::{experiment, hook, lifecycle, secrets, subscription};

/// Pause before something is tried again that the store refused.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Documents that are read, and taken away, at once.
const PAGE: usize = 100;

/// Goes on with what an earlier server began.
pub(crate) async fn resume(inner: &Arc<Inner>) -> Result<(), StartError> {
    let mut query = ListQuery { space: Space::removals(), prefix: String::new(), after: None, limit: PAGE };
    loop {
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let document: Document = read_json(&entry.key, &entry.value)?;
            inner.removals.add(&document.app);
            tracing::info!(app = %document.app, "the removal of the app goes on");
            start(inner, document, None, Duration::ZERO);
        }
        match entries.last() {
            Some(last) if entries.len() == PAGE => query.after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Does all of it beside everything else. `life` is that of an app of which something may be under way here.
pub(super) fn start(inner: &Arc<Inner>, document: Document, life: Option<Life>, grace: Duration) {
    let removing = {
        let inner = inner.clone();
        async move {
            if let Some(life) = life {
                drain(&document, life, grace).await;
            }
            while let Err(error) = take_away(&inner, &document).await {
                tracing::warn!(%error, app = %document.app, "the removal of an app could not go on; it is tried again");
                tokio::time::sleep(AFTER_ERROR).await;
            }
            inner.removals.end(&document.app);
            tracing::info!(app = %document.app, "the app is removed");
        }
    };
    let stopping = inner.stopping.clone();
    inner.loops.spawn(async move { stopping.run_until_cancelled(removing).await });
}

/// Waits until nobody works with the app any more; after `grace` what is under way is ended.
async fn drain(document: &Document, life: Life, grace: Duration) {
    life.here.close();
    if tokio::time::timeout(grace, life.here.wait()).await.is_err() {
        let grace_s = grace.as_secs_f64();
        tracing::warn!(app = %document.app, grace_s, "what is under way in the app that is removed is ended");
        life.ending.cancel();
        life.here.wait().await;
    }
}

async fn take_away(inner: &Inner, document: &Document) -> Result<(), StoreError> {
    let app = &document.app;
    // What the last ones said is on its way to the store.
    inner.recorder.flush().await;
    later(inner, document).await?;
    for space in [
        Space::waits(),
        Space::replays(),
        Space::schedules(),
        Space::subscriptions(),
        Space::hooks(),
        Space::promotions(),
        Space::answers(),
        Space::results(),
        Space::secrets(),
        Space::revisions(),
        Space::deployments(),
    ] {
        documents(inner, space, document).await?;
    }
    inner.waits.forget(app);
    subscription::reload(inner).await?;
    hook::reload(inner).await?;
    experiment::reload(inner).await?;
    secrets::reload(inner).await?;
    inner.told.forget(app);
    inner.budgets.forget(app);
    while inner.store.erase(app).await? {
        tokio::task::yield_now().await;
    }
    finish(inner, document).await
}

/// Events that wait for their time: first each of them, which its id names, then the id.
async fn later(inner: &Inner, document: &Document) -> Result<(), StoreError> {
    while let ids @ [_, ..] = &*page(inner, Space::later_ids(), document).await? {
        let due = ids.iter().map(|entry| String::from_utf8_lossy(&entry.value.bytes).into_owned());
        let mut writes: Vec<Write> = due.map(|key| delete(Space::later(), key)).collect();
        writes.extend(ids.iter().map(|entry| delete(Space::later_ids(), entry.key.clone())));
        write(inner, writes).await?;
    }
    Ok(())
}

async fn documents(inner: &Inner, space: Space, document: &Document) -> Result<(), StoreError> {
    while let entries @ [_, ..] = &*page(inner, space.clone(), document).await? {
        write(inner, entries.iter().map(|entry| delete(space.clone(), entry.key.clone())).collect()).await?;
    }
    Ok(())
}

async fn page(inner: &Inner, space: Space, document: &Document) -> Result<Vec<Entry>, StoreError> {
    let prefix = format!("{}/", document.app);
    inner.store.list(&ListQuery { space, prefix, after: None, limit: PAGE }, inner.now()).await
}

fn delete(space: Space, key: String) -> Write {
    Write { space, key, value: None, expires_at: None, expect: Expect::Anything }
}

async fn write(inner: &Inner, writes: Vec<Write>) -> Result<(), StoreError> {
    inner.store.write(writes, inner.now()).await.map(drop).map_err(failure)
}

/// The transaction that ends it, with the events that tell of it.
async fn finish(inner: &Inner, document: &Document) -> Result<(), StoreError> {
    let now = inner.now();
    let writes = vec![delete(Space::removals(), document.app.to_string())];
    let accepting = inner.accepting().await;
    let appends = lifecycle::removed(inner, &accepting, document);
    commit(inner, writes, appends, now).await.map(drop).map_err(failure)
}

fn failure(error: SettleError) -> StoreError {
    match error {
        SettleError::Store(error) => error,
        other => StoreError::Unavailable(other.to_string()),
    }
}
