//! What is promoted: in the store, and in memory as requests look it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evoke_core::id::{AppName, FunctionName, VariantName};
use evoke_core::manifest::Manifest;
use evoke_core::store::{Expect, ListQuery, SettleError, Space, StoreError, Value, Write};
use evoke_core::time::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Promotion;
use crate::StartError;
use crate::deploy::{json_value, read_json};
use crate::engine::Inner;

/// What is promoted, by app, route and experiment.
#[derive(Default)]
pub(crate) struct Promotions {
    promoted: RwLock<ByApp>,
    any: AtomicBool,
}

type ByApp = BTreeMap<AppName, BTreeMap<String, BTreeMap<FunctionName, Promotion>>>;

/// What the store has of one.
#[derive(Serialize, Deserialize)]
struct Document {
    variant: VariantName,
    promoted_at: Timestamp,
}

impl Promotions {
    /// Whether there is nothing to look up.
    pub fn are_none(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    pub fn of(&self, app: &AppName, route: &str, experiment: &FunctionName) -> Option<Promotion> {
        self.promoted.read().get(app)?.get(route)?.get(experiment).cloned()
    }

    pub fn of_app(&self, app: &AppName) -> Vec<Promotion> {
        let promoted = self.promoted.read();
        promoted
            .get(app)
            .into_iter()
            .flat_map(|routes| routes.values())
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }
}

/// Experiments have no slash in their name, routes may.
fn key(app: &AppName, promotion: &Promotion) -> String {
    format!("{app}/{}/{}", promotion.experiment, promotion.route)
}

pub(super) async fn put(inner: &Inner, app: &AppName, promotion: &Promotion) -> Result<(), StoreError> {
    let document = Document { variant: promotion.variant.clone(), promoted_at: promotion.promoted_at };
    write(inner, app, promotion, Some(json_value(&document))).await
}

pub(super) async fn remove(inner: &Inner, app: &AppName, promotion: &Promotion) -> Result<(), StoreError> {
    write(inner, app, promotion, None).await
}

async fn write(
    inner: &Inner,
    app: &AppName,
    promotion: &Promotion,
    value: Option<Value>,
) -> Result<(), StoreError> {
    let (space, key) = (Space::promotions(), key(app, promotion));
    let write = Write { space, key, value, expires_at: None, expect: Expect::Anything };
    match inner.store.write(vec![write], inner.now()).await {
        Ok(_) => reload(inner).await,
        Err(SettleError::Store(error)) => Err(error),
        Err(other) => Err(StoreError::Unavailable(other.to_string())),
    }
}

/// What a deployment of `manifest` ends, as writes, and what it should be told of those that go on.
pub(crate) fn ended(inner: &Inner, manifest: &Manifest) -> (Vec<Write>, Vec<String>) {
    let (mut writes, mut warnings) = (Vec::new(), Vec::new());
    for promotion in inner.promotions.of_app(&manifest.app) {
        let Promotion { route, experiment, variant, .. } = &promotion;
        let on_route = manifest.routes.iter().find(|one| one.id() == *route);
        let is_there =
            on_route.is_some_and(|route| route.experiments(manifest).any(|name| name == experiment));
        let has_variant = || manifest.experiments[experiment].position(variant).is_some();
        if is_there && has_variant() {
            warnings.push(format!(
                "route {route}: experiment {experiment} still has all its variants in evoke.toml, and {variant} goes on to be \
                 the only one: it was promoted. `evoke routes promote` shows the change to commit, `evoke routes demote` undoes it"
            ));
            continue;
        }
        if is_there {
            warnings.push(format!(
                "route {route}: experiment {experiment} no longer has the variant {variant} that was promoted, so its weights \
                 count again"
            ));
        } else if on_route.is_none() && manifest.experiments.contains_key(experiment) {
            warnings.push(format!(
                "route {route} is gone, and with it that variant {variant} of experiment {experiment} was promoted there; a \
                 route keeps it with a name of its own"
            ));
        }
        let (space, key) = (Space::promotions(), key(&manifest.app, &promotion));
        writes.push(Write { space, key, value: None, expires_at: None, expect: Expect::Anything });
    }
    (writes, warnings)
}

/// Reads what is promoted.
pub(crate) async fn load(inner: &Inner) -> Result<(), StartError> {
    Ok(reload(inner).await?)
}

/// Takes over what another node promotes.
pub(crate) async fn follow(inner: Arc<Inner>, mut changes: watch::Receiver<u64>) {
    while let Some(Ok(())) = inner.ended.run_until_cancelled(changes.changed()).await {
        if let Err(error) = reload(&inner).await {
            tracing::warn!(%error, "what is promoted could not be read anew");
        }
    }
}

pub(crate) async fn reload(inner: &Inner) -> Result<(), StoreError> {
    let mut promoted = ByApp::new();
    let (mut after, limit) = (None, inner.limits.page);
    loop {
        let query = ListQuery { space: Space::promotions(), prefix: String::new(), after, limit };
        let entries = inner.store.list(&query, inner.now()).await?;
        for entry in &entries {
            let Document { variant, promoted_at } = read_json(&entry.key, &entry.value)?;
            let mut parts = entry.key.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default();
            let (Ok(app), Ok(experiment), route) = (AppName::new(part()), FunctionName::new(part()), part())
            else {
                continue;
            };
            let promotion =
                Promotion { route: route.to_owned(), experiment: experiment.clone(), variant, promoted_at };
            promoted
                .entry(app)
                .or_default()
                .entry(route.to_owned())
                .or_default()
                .insert(experiment, promotion);
        }
        match entries.last() {
            Some(last) if entries.len() == limit => after = Some(last.key.clone()),
            _ => break,
        }
    }
    let any = !promoted.is_empty();
    *inner.promotions.promoted.write() = promoted;
    inner.promotions.any.store(any, Ordering::Relaxed);
    Ok(())
}
