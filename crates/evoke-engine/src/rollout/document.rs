//! What the store has of an app's versions that are on their way, in `sys/rollouts`.

use std::collections::BTreeMap;

use evoke_core::id::{AppName, FunctionName};
use evoke_core::rollout::{Portion, Tally};
use evoke_core::store::{Expect, ListQuery, Space, StoreError, Write};
use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::versions;
use crate::deploy::{Withdrawn, json_value, read_json};
use crate::engine::Inner;

/// The document of an app. One that was never written says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Rollout {
    /// The newest version there was, also as a canary: no number is given twice.
    #[serde(default)]
    pub newest: u64,
    /// Who has a part of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Beside>,
    /// Who is watched since it was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

/// A canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    pub version: u64,
    pub weight: Portion,
}

/// A version that goes if it fails too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub version: u64,
    /// What comes back then.
    pub back_to: u64,
    pub until: Timestamp,
    /// How attempts of the functions ended that it has taken the place of, lately.
    pub before: BTreeMap<FunctionName, Tally>,
}

impl Rollout {
    /// That of an app, and the revision of its document; 0 when there is none.
    pub async fn read(inner: &Inner, app: &AppName) -> Result<(Self, u64), StoreError> {
        match inner.store.get(&Space::rollouts(), app.as_str(), inner.now()).await? {
            Some(entry) => Ok((read_json(&entry.key, &entry.value)?, entry.revision)),
            None => Ok((Self::default(), 0)),
        }
    }

    /// Those of all apps, by name.
    pub async fn all(inner: &Inner) -> Result<BTreeMap<String, (Self, u64)>, StoreError> {
        let (mut all, mut after, limit) = (BTreeMap::new(), None, inner.limits.page);
        loop {
            let query = ListQuery { space: Space::rollouts(), prefix: String::new(), after, limit };
            let entries = inner.store.list(&query, inner.now()).await?;
            for entry in &entries {
                all.insert(entry.key.clone(), (read_json(&entry.key, &entry.value)?, entry.revision));
            }
            match entries.last() {
                Some(last) if entries.len() == limit => after = Some(last.key.clone()),
                _ => return Ok(all),
            }
        }
    }

    /// Writes it over the one of `revision`, or where there was none.
    pub fn write(&self, app: &AppName, revision: u64) -> Write {
        let expect = if revision == 0 { Expect::Absent } else { Expect::Revision(revision) };
        Write {
            space: Space::rollouts(),
            key: app.to_string(),
            value: Some(json_value(self)),
            expires_at: None,
            expect,
        }
    }

    /// The watch over this version, if it is still on at `now`.
    pub fn watch_of(&self, version: u64, now: Timestamp) -> Option<&Watch> {
        self.watch.as_ref().filter(|watch| watch.version == version && now < watch.until)
    }
}

/// Notes of a version that it was taken back, and why; nothing, when it is not kept any more.
pub(crate) async fn withdrawal(
    inner: &Inner,
    app: &AppName,
    version: u64,
    withdrawn: Withdrawn,
) -> Result<Option<Write>, StoreError> {
    let Some(mut deployment) = versions::read(inner, app, version).await? else { return Ok(None) };
    deployment.withdrawn = Some(withdrawn);
    Ok(Some(Write {
        space: Space::deployments(),
        key: Space::deployment_key(app.as_str(), version),
        value: Some(json_value(&deployment)),
        expires_at: None,
        expect: Expect::Anything,
    }))
}
