//! What was noted of subscriptions, hooks and schedules that no deployment has any more: that they are paused or disabled, and how
//! far they got. As long as a deployment is remembered that has them, it may come back, and finds it.

use std::collections::BTreeSet;

use evoke_core::id::AppName;
use evoke_core::manifest::Manifest;
use evoke_core::store::{Space, StoreError};

use super::documents::{delete, each};
use crate::engine::Inner;

/// The names that deployments of an app have, as the keys have them after `app/`.
#[derive(Default)]
pub(super) struct Names {
    subscriptions: BTreeSet<String>,
    hooks: BTreeSet<String>,
    schedules: BTreeSet<String>,
}

impl Names {
    /// Those of one more deployment.
    pub fn add(&mut self, manifest: &Manifest) {
        for (function, settings) in &manifest.functions {
            self.subscriptions.extend(settings.on.iter().map(|on| format!("{function}/{}", on.name())));
        }
        self.hooks.extend(manifest.hooks().map(|(name, ..)| name.to_string()));
        self.schedules.extend(manifest.schedules.keys().map(ToString::to_string));
    }

    /// Deletes what is noted of others; how much. `is_current` is asked before, once it is known what there is.
    pub async fn prune(
        &self,
        inner: &Inner,
        app: &AppName,
        is_current: impl Fn() -> bool + Send,
    ) -> Result<usize, StoreError> {
        let mut gone = 0;
        let kept = [
            (Space::subscriptions(), &self.subscriptions),
            (Space::hooks(), &self.hooks),
            (Space::schedules(), &self.schedules),
        ];
        for (space, names) in kept {
            let mut over = Vec::new();
            each(inner, space.clone(), app, |entry| {
                let name = entry.key.split_once('/').map_or("", |(_, name)| name);
                if !names.contains(name) {
                    over.push(entry.key.clone());
                }
                Ok(())
            })
            .await?;
            // One that was deployed meanwhile may have them.
            if is_current() {
                gone += delete(inner, space, over).await?;
            }
        }
        Ok(gone)
    }
}
