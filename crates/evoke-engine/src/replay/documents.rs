//! How replays are kept.

use evoke_core::id::{AppName, ReplayId};
use evoke_core::store::{Entry, Expect, ListQuery, SettleError, Space, StoreError, Write};

use super::{REMEMBERED, Replay, State};
use crate::deploy::{json_value, read_json};
use crate::engine::Inner;

/// The documents of all replays whose key begins so, oldest first.
pub(super) async fn entries(inner: &Inner, prefix: &str) -> Result<Vec<Entry>, StoreError> {
    let (space, prefix, limit) = (Space::replays(), prefix.to_owned(), inner.limits.page);
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let query = ListQuery { space: space.clone(), prefix: prefix.clone(), after, limit };
        let page = inner.store.list(&query, inner.now()).await?;
        after = page.last().map(|last| last.key.clone());
        let is_last = page.len() < limit;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// What an entry says.
pub(super) fn read(entry: &Entry) -> Result<Replay, StoreError> {
    read_json(&entry.key, &entry.value)
}

/// Where the document of one is.
pub(super) fn key(app: &AppName, id: &ReplayId) -> String {
    format!("{app}/{id}")
}

/// The write of a document.
pub(super) fn document(replay: &Replay, expect: Expect) -> Write {
    let expires_at = match replay.state {
        State::Running => None,
        State::Done { at } | State::Cancelled { at } | State::Failed { at, .. } => Some(at.after(REMEMBERED)),
    };
    let value = Some(json_value(replay));
    Write { space: Space::replays(), key: key(&replay.app, &replay.id), value, expires_at, expect }
}

/// `false` when somebody else wrote it first.
pub(super) async fn write(inner: &Inner, replay: &Replay, expect: Expect) -> Result<bool, StoreError> {
    match inner.store.write(vec![document(replay, expect)], inner.now()).await {
        Ok(_) => Ok(true),
        Err(SettleError::Store(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Forgets one.
pub(super) fn remove(replay: &Replay) -> Write {
    Write { value: None, expires_at: None, ..document(replay, Expect::Anything) }
}
