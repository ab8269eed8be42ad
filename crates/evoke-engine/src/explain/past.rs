//! What was deployed once.

use evoke_core::id::AppName;
use evoke_core::store::{ListQuery, Space, StoreError};

use super::{Subscriber, Then, find};
use crate::deploy::{Deployment, read_json};
use crate::engine::Inner;

/// Documents read at once.
const PAGE: usize = 16;

/// For those that were not there: which deployment after `version` added them.
pub(super) async fn note_additions(
    inner: &Inner,
    app: &AppName,
    version: u64,
    subscriptions: &mut [Subscriber],
) -> Result<(), StoreError> {
    let mut after = Space::deployment_key(app.as_str(), version);
    let is_open = |one: &Subscriber| one.then == (Then::NotThere { added: None });
    while subscriptions.iter().any(is_open) {
        let (space, prefix) = (Space::deployments(), format!("{app}/"));
        let query = ListQuery { space, prefix, after: Some(after.clone()), limit: PAGE };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let deployment: Deployment = read_json(&entry.key, &entry.value)?;
            for one in subscriptions.iter_mut().filter(|one| is_open(one)) {
                if find(&deployment.manifest, &one.function, &one.name).is_some() {
                    one.then = Then::NotThere { added: Some((deployment.version, deployment.deployed_at)) };
                }
            }
        }
        match entries.last() {
            Some(last) => after.clone_from(&last.key),
            None => break,
        }
    }
    Ok(())
}
