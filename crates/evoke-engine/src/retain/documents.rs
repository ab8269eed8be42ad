//! Documents of an app in Evoke's own spaces: read and deleted a few at once.

use evoke_core::id::AppName;
use evoke_core::store::{Entry, Expect, ListQuery, SettleError, Space, StoreError, Write};

use crate::engine::Inner;

/// Documents read, and deleted, at once.
const PAGE: usize = 50;

/// All entries of a space that are of an app.
pub(crate) async fn each(
    inner: &Inner,
    space: Space,
    app: &AppName,
    mut each: impl FnMut(&Entry) -> Result<(), StoreError> + Send,
) -> Result<(), StoreError> {
    let mut query = ListQuery { space, prefix: format!("{app}/"), after: None, limit: PAGE };
    loop {
        let entries = inner.store.list(&query, inner.now()).await?;
        entries.iter().try_for_each(&mut each)?;
        match entries.last() {
            Some(last) => query.after = Some(last.key.clone()),
            None => return Ok(()),
        }
    }
}

/// Deletes these; how many.
pub(super) async fn delete(inner: &Inner, space: Space, keys: Vec<String>) -> Result<usize, StoreError> {
    for some in keys.chunks(PAGE) {
        let delete = |key: &String| Write {
            space: space.clone(),
            key: key.clone(),
            value: None,
            expires_at: None,
            expect: Expect::Anything,
        };
        match inner.store.write(some.iter().map(delete).collect(), inner.now()).await {
            Ok(_) => {}
            Err(SettleError::Store(error)) => return Err(error),
            Err(refused) => return Err(StoreError::Unavailable(refused.to_string())),
        }
    }
    Ok(keys.len())
}
